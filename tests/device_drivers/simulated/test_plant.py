import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.setpoint import Power, ProductionLimit
from device_drivers.simulated.plant import SimulatedPlant

DAY = ((100.0, 2000.0), (200.0, 6000.0), (300.0, 0.0))


def test_plant_produces_what_is_available_up_to_its_rating(clock):
    plant = SimulatedPlant(5000, DAY, clock)
    seen = []
    for _ in range(4):
        seen.append((plant.read().power_w, plant.energy_wh() * 3600))
        clock.advance(100)
    assert seen == [(0, 0), (-2000, 0), (-5000, -200_000), (0, -700_000)]


def test_one_long_stretch_counts_every_step_in_it(clock):
    plant = SimulatedPlant(5000, DAY, clock)
    clock.advance(10_000)
    assert plant.energy_wh() == -700_000 / 3600


def test_limit_holds_from_when_it_is_told(clock):
    plant = SimulatedPlant(5000, DAY, clock)
    clock.advance(150)
    plant.apply(ProductionLimit(limit_w=1000))
    assert plant.read().power_w == -1000
    clock.advance(100)
    plant.apply(ProductionLimit(limit_w=9000))
    assert plant.read().power_w == -5000
    clock.advance(1000)
    assert plant.energy_wh() * 3600 == pytest.approx(-(50 * 2000 + 100 * 1000 + 50 * 5000))


def test_reading_is_of_nothing_but_power(clock):
    reading = SimulatedPlant(5000, DAY, clock).read()
    assert (reading.relay_closed, reading.closed_s, reading.stored_wh) == (None, 0, None)


def test_plant_takes_nothing_but_a_limit(clock):
    with pytest.raises(DeviceError, match="wanted a production limit"):
        SimulatedPlant(5000, DAY, clock).apply(Power(power_w=-1))


@pytest.mark.parametrize(
    ("rated_w", "steps"),
    [
        (-1, ()),
        (1, ((0.0, 1.0), (0.0, 2.0))),
        (1, ((1.0, 1.0), (0.0, 2.0))),
        (1, ((0.0, -1.0),)),
        (1, ((0.0, float("nan")),)),
    ],
)
def test_impossible_plant_is_refused(clock, rated_w, steps):
    with pytest.raises(InvalidValueError):
        SimulatedPlant(rated_w, steps, clock)


class _Clock:
    seconds = 0.0

    def now(self):
        return self.seconds


@settings(max_examples=60, deadline=None)
@given(
    steps=st.dictionaries(st.integers(-20, 120), st.integers(0, 6000), max_size=8),
    schedule=st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 60)), min_size=1, max_size=5),
)
def test_plant_follows_its_second_by_second_twin(steps, schedule):
    clock = _Clock()
    plant = SimulatedPlant(5000, sorted(steps.items()), clock)
    produced_ws, second = 0, 0
    for limit_w, seconds in schedule:
        plant.apply(ProductionLimit(limit_w=limit_w))
        clock.seconds += seconds
        for _ in range(seconds):
            begun = [start for start in steps if start <= second]
            produced_ws += min(limit_w, 5000, steps[max(begun)] if begun else 0)
            second += 1
    assert plant.energy_wh() * 3600 == pytest.approx(-produced_ws, rel=1e-12)
