import pytest

from device_drivers.guard import Allowed, check
from device_drivers.refusal import Refused
from device_drivers.setpoint import Bounds, Power, ProductionLimit, RelayState

BATTERY = Bounds(lower_w=-2000, upper_w=3000)
UNBOUND = Bounds(lower_w=None, upper_w=None)


@pytest.mark.parametrize("power_w", [-2000, 0, 3000])
def test_power_within_the_bounds_is_allowed(power_w):
    assert check(Power(power_w=power_w), BATTERY) == Allowed(target=Power(power_w=power_w))


@pytest.mark.parametrize("power_w", [-2001, 3001, -(2**63), 2**63 - 1])
def test_power_beyond_the_bounds_is_refused(power_w):
    refused = check(Power(power_w=power_w), BATTERY)
    assert refused == Refused(reason=f"power: got {power_w} W, wanted within [-2000, 3000] W")


@pytest.mark.parametrize("power_w", [-(10**9), 10**9])
def test_absent_bounds_do_not_bind(power_w):
    assert check(Power(power_w=power_w), UNBOUND) == Allowed(target=Power(power_w=power_w))


@pytest.mark.parametrize(
    ("bounds", "limit_w", "wanted_w"),
    [
        (Bounds(lower_w=-5000, upper_w=0), 0, 0),
        (Bounds(lower_w=-5000, upper_w=0), 5000, 5000),
        (Bounds(lower_w=-5000, upper_w=0), 9000, 5000),
        (Bounds(lower_w=100, upper_w=200), 9000, 0),
        (UNBOUND, 9000, 9000),
    ],
)
def test_production_limit_is_narrowed_to_the_bounds(bounds, limit_w, wanted_w):
    narrowed = Allowed(target=ProductionLimit(limit_w=wanted_w))
    assert check(ProductionLimit(limit_w=limit_w), bounds) == narrowed


@pytest.mark.parametrize("closed", [True, False])
def test_bounds_have_no_say_in_a_relay(closed):
    assert check(RelayState(closed=closed), BATTERY) == Allowed(target=RelayState(closed=closed))
