import pytest

from controller.fleet import FleetDevice, Registered
from controller.microgrid import DeviceSetpoint, SetpointKind, Window

MTU_S = 900


@pytest.fixture
def device():
    """A device with a plan for three MTUs, which was asked for once."""
    device = FleetDevice()
    device.registered = Registered(mtu_seconds=MTU_S)
    for mtu, value in enumerate((1, 2, 3)):
        plan(device, mtu, value)
    assert coming(device, 0) == [(0, 1), (900, 2), (1800, 3)]
    return device


def plan(device, mtu, value, *, now=0):
    window = Window(name="w", start=0, end=3600)
    setpoint = DeviceSetpoint(device="eve/battery", mtu_start=mtu * MTU_S, kind=SetpointKind.POWER, value=value)
    device.plan(window, (setpoint,), now)


def coming(device, now):
    return [(stretch.start, stretch.target.value) for stretch in device.coming(now)]


class TestWhatComes:
    def test_a_later_decision_takes_the_place_of_an_earlier_one(self, device):
        plan(device, 1, 7)
        assert coming(device, 0) == [(0, 1), (900, 7), (1800, 3)]

    def test_what_is_withdrawn_is_gone(self, device):
        device.withdraw(900, 1800)
        assert coming(device, 0) == [(0, 1), (1800, 3)]

    def test_what_is_over_is_forgotten_even_where_the_clock_goes_back(self, device):
        assert coming(device, 899.9) == [(0, 1), (900, 2), (1800, 3)]
        assert coming(device, 900) == [(900, 2), (1800, 3)]
        assert coming(device, 0) == [(900, 2), (1800, 3)]

    def test_nothing_is_left_of_forgotten_plans(self, device):
        device.forget_plans()
        assert coming(device, 0) == []

    def test_a_plan_after_everything_was_over_counts(self, device):
        assert coming(device, 2700) == []
        plan(device, 3, 4)
        assert coming(device, 2700) == [(2700, 4)]

    def test_of_an_unknown_device_nothing_does(self):
        unknown = FleetDevice()
        plan(unknown, 0, 1)
        assert coming(unknown, 0) == []

    def test_nothing_that_is_over_is_kept_of_a_device_that_nobody_asks_for(self):
        away = FleetDevice()
        away.registered = Registered(mtu_seconds=MTU_S)
        for mtu in range(96):
            plan(away, mtu, mtu, now=mtu * MTU_S)
        assert list(away.planned) == [95 * MTU_S]

    @pytest.mark.parametrize(("now", "value"), [(0, 1), (899, 1), (900, 2), (2699, 3), (2700, None)])
    def test_what_is_planned_now_is_found_and_what_is_over_forgotten(self, device, now, value):
        found = device.planned_at(now)
        assert (None if found is None else found.value) == value
        assert all(start + MTU_S > now for start in device.planned)

    def test_before_a_plan_begins_nothing_is_planned(self):
        device = FleetDevice()
        device.registered = Registered(mtu_seconds=MTU_S)
        plan(device, 1, 5)
        assert device.planned_at(899) is None
