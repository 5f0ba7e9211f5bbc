import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.setpoint import Power, RelayState
from device_drivers.simulated.battery import SimulatedBattery

FIELDS = {
    "capacity_wh": 4000,
    "max_charge_w": 2000,
    "max_discharge_w": 3000,
    "stored_wh": 1000,
    "charge_efficiency": 0.8,
    "discharge_efficiency": 0.5,
}


@pytest.fixture
def make_battery(clock):
    return lambda **changes: SimulatedBattery(**(FIELDS | changes), clock=clock)


def test_battery_rests_at_first(make_battery, clock):
    battery = make_battery()
    clock.advance(3600)
    reading = battery.read()
    assert (reading.power_w, reading.stored_wh, reading.relay_closed, reading.closed_s) == (0, 1000, None, 0)


def test_charging_stores_less_than_it_takes(make_battery, clock):
    battery = make_battery()
    battery.apply(Power(power_w=1000))
    clock.advance(3600)
    assert battery.read().power_w == 1000
    assert battery.energy_wh() == 1000
    assert battery.stored_wh() == 1800


def test_discharging_takes_more_than_it_gives(make_battery, clock):
    battery = make_battery()
    battery.apply(Power(power_w=-400))
    clock.advance(3600)
    assert battery.read().power_w == -400
    assert battery.energy_wh() == -400
    assert battery.stored_wh() == 200


def test_energy_is_exact_when_the_battery_fills_in_the_middle(make_battery, clock):
    battery = make_battery(stored_wh=3900)
    battery.apply(Power(power_w=2000))
    clock.advance(3600)
    # 100 Wh of room take 125 Wh: 225 s of the hour.
    assert battery.energy_wh() == pytest.approx(125, rel=1e-12)
    assert battery.stored_wh() == 4000
    assert battery.read().power_w == 0


def test_energy_is_exact_when_the_battery_empties_in_the_middle(make_battery, clock):
    battery = make_battery(stored_wh=100)
    battery.apply(Power(power_w=-3000))
    clock.advance(3600)
    assert battery.energy_wh() == pytest.approx(-50, rel=1e-12)
    assert battery.stored_wh() == 0
    assert battery.read().power_w == 0


def test_full_battery_discharges_when_told_to_turn_round(make_battery, clock):
    battery = make_battery(stored_wh=4000)
    battery.apply(Power(power_w=2000))
    assert battery.read().power_w == 0
    battery.apply(Power(power_w=-100))
    clock.advance(3600)
    assert battery.read().power_w == -100
    assert battery.stored_wh() == 3800


def test_stored_energy_is_rounded_down_but_for_noise(make_battery, clock):
    battery = make_battery(charge_efficiency=0.7, stored_wh=0)
    battery.apply(Power(power_w=9))
    for _ in range(3600):
        clock.advance(10)
        battery.read()
    # 10 h of 9 W, seven tenths of it stored: 63 Wh, which the sum of floats misses by a hair.
    assert battery.stored_wh() < 63
    assert battery.read().stored_wh == 63
    clock.advance(571)
    assert battery.read().stored_wh == 63
    clock.advance(1)
    assert battery.read().stored_wh == 64


@pytest.mark.parametrize("power_w", [-3001, 2001])
def test_battery_refuses_more_than_it_can(make_battery, power_w):
    battery = make_battery()
    with pytest.raises(DeviceError, match=rf"got {power_w} W, wanted within \[-3000, 2000\] W"):
        battery.apply(Power(power_w=power_w))
    assert battery.read().power_w == 0


def test_battery_takes_nothing_but_a_power(make_battery):
    with pytest.raises(DeviceError, match="wanted a power"):
        make_battery().apply(RelayState(closed=True))


@pytest.mark.parametrize(
    "change",
    [
        {"stored_wh": -1},
        {"stored_wh": 4001},
        {"stored_wh": float("nan")},
        {"capacity_wh": float("inf")},
        {"max_charge_w": -1},
        {"max_discharge_w": -1},
        {"charge_efficiency": 0},
        {"discharge_efficiency": 1.01},
        {"charge_efficiency": float("nan")},
    ],
)
def test_impossible_battery_is_refused(make_battery, change):
    with pytest.raises(InvalidValueError):
        make_battery(**change)


class StepByStep:
    """The battery as anybody would write it: a little at a time, and never beyond full or empty."""

    def __init__(self, capacity_wh, stored_wh, efficiencies, step_s):
        self.capacity_wh, self.stored_wh, self.efficiencies = capacity_wh, stored_wh, efficiencies
        self.step_s, self.energy_wh = step_s, 0.0

    def hold(self, power_w, seconds):
        charge, discharge = self.efficiencies
        rate = charge if power_w > 0 else 1 / discharge
        for _ in range(round(seconds / self.step_s)):
            energy_wh = power_w * self.step_s / 3600
            if 0 <= self.stored_wh + energy_wh * rate <= self.capacity_wh:
                self.stored_wh += energy_wh * rate
                self.energy_wh += energy_wh


@settings(max_examples=40, deadline=None)
@given(
    stored_wh=st.integers(0, 40),
    efficiencies=st.tuples(st.sampled_from([0.5, 0.93, 1.0]), st.sampled_from([0.5, 0.93, 1.0])),
    schedule=st.lists(st.tuples(st.integers(-3000, 2000), st.integers(1, 60)), min_size=1, max_size=6),
)
def test_battery_follows_its_step_by_step_twin(stored_wh, efficiencies, schedule):
    clock = _Clock()
    battery = SimulatedBattery(
        **FIELDS
        | {
            "capacity_wh": 40,
            "stored_wh": stored_wh,
            "charge_efficiency": efficiencies[0],
            "discharge_efficiency": efficiencies[1],
        },
        clock=clock,
    )
    twin = StepByStep(40, stored_wh, efficiencies, step_s=1 / 64)
    for power_w, seconds in schedule:
        battery.apply(Power(power_w=power_w))
        clock.seconds += seconds
        twin.hold(power_w, seconds)
    # The twin stops short of full or empty by less than one step; once for each setpoint.
    slack_wh = len(schedule) * 2 * 3000 / 64 / 3600
    assert battery.stored_wh() == pytest.approx(twin.stored_wh, abs=slack_wh)
    assert battery.energy_wh() == pytest.approx(twin.energy_wh, abs=2 * slack_wh)
    assert 0 <= battery.stored_wh() <= 40


class _Clock:
    seconds = 0.0

    def now(self):
        return self.seconds
