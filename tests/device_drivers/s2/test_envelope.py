"""What a power or a limit of production means as bounds, and how long an envelope holds it."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_drivers.errors import DeviceError
from device_drivers.s2.control import Wishes
from device_drivers.s2.envelope import Band, Envelopes, Room, limits
from device_drivers.s2.wire import Misread
from device_drivers.setpoint import Power, ProductionLimit, RelayState
from tests.device_drivers.s2.messages import L1, L2, L3, NOON, SYMMETRIC, allowed, heard, in_mode, revoked

NOTHING = ProductionLimit(limit_w=0)
SOLAR = allowed(("lower", 0, -5000), ("upper", 0, 0))
CAR = allowed()


def enveloped(*said, failsafe=NOTHING):
    control = Envelopes(Wishes(failsafe=failsafe), iter(f"ours-{number}" for number in range(99)).__next__)
    for one in said or (SOLAR,):
        control.hear(heard(one), NOON)
    return control


def told(control, target, lasts_s=None, after_s=0.0):
    """By quantity the (ms, lower W, upper W) of the envelope that a manager is told."""
    (step,) = control.steps(target, lasts_s, NOON + timedelta(seconds=after_s))
    assert step.message.abnormal_condition is False
    assert step.message.execution_time == NOON + timedelta(seconds=after_s)
    return step.message.power_constraints_id.root, {
        one.commodity_quantity.value: [
            (part.duration.root, part.lower_limit, part.upper_limit) for part in one.power_envelope_elements
        ]
        for one in step.message.power_envelopes
    }


def test_a_limit_of_production_ends_with_the_lease_and_the_failsafe_lasts():
    name, found = told(enveloped(), ProductionLimit(limit_w=1500), lasts_s=30.0005)
    assert name == "limits-1"
    first, *rest = found[L1]
    assert first == (30_000, -1500, 0)
    assert {(lower_w, upper_w) for _, lower_w, upper_w in rest} == {(0, 0)}
    assert sum(ms for ms, _, _ in rest) >= 300 * 86_400_000
    assert max(ms for ms, _, _ in rest) < 2**31
    assert len(found[L1]) <= 288


def test_without_a_lease_the_target_lasts():
    _, found = told(enveloped(CAR, failsafe=Power(power_w=0)), Power(power_w=4000))
    assert {(lower_w, upper_w) for _, lower_w, upper_w in found[L1]} == {(0, 4000)}


def test_phases_share_a_target_evenly_and_three_as_one_take_it_whole():
    phases = [
        (limit, least, most, phase)
        for phase in (L1, L2, L3)
        for limit, least, most in (("lower", 0, 0), ("upper", 0, 3680))
    ]
    control = enveloped(allowed(*phases), failsafe=Power(power_w=0))
    _, found = told(control, Power(power_w=9000))
    assert {quantity: parts[0][1:] for quantity, parts in found.items()} == dict.fromkeys((L1, L2, L3), (0, 3000))
    assert control.limit_w(Power(power_w=9000)) == 9000
    whole = [("lower", 0, 0, SYMMETRIC), ("upper", 0, 11_000, SYMMETRIC)]
    _, found = told(enveloped(allowed(*phases, *whole), failsafe=Power(power_w=0)), Power(power_w=9000))
    assert {quantity: parts[0][1:] for quantity, parts in found.items()} == {SYMMETRIC: (0, 9000)}


def test_ranges_for_emergencies_are_not_used():
    control = enveloped(allowed(("lower", -3000, 0), ("lower", -9000, 0, L1, True), ("upper", 0, 0)))
    with pytest.raises(DeviceError, match="wanted what the resource manager allows: 1000 to 2000 W"):
        told(enveloped(allowed(("lower", 1000, 2000), ("upper", 0, 500)), failsafe=Power(power_w=0)), Power(power_w=0))
    assert told(control, ProductionLimit(limit_w=5000))[1][L1][0][1:] == (-3000, 0)


def test_a_device_whose_power_is_held_says_no_limit_of_its_own():
    exact = allowed(("lower", -3000, 3000), ("upper", -3000, 3000))
    control = enveloped(exact, failsafe=Power(power_w=0))
    assert told(control, Power(power_w=-1200))[1][L1][0][1:] == (-1200, -1200)
    assert told(control, Power(power_w=700))[1][L1][0][1:] == (700, 700)
    assert (control.limit_w(Power(power_w=700)), control.limit_w(NOTHING)) == (None, None)


def test_new_constraints_make_what_was_told_stale_from_when_they_are_valid():
    later = allowed(("lower", 0, -100), ("upper", 0, 0), name="limits-2", valid_from=60)
    control = enveloped(SOLAR, later)
    told(control, NOTHING)
    assert not control.stale
    assert told(control, ProductionLimit(limit_w=1500), after_s=59)[0] == "limits-1"
    control.hear(heard(revoked("PEBC.PowerConstraints", "limits-9")), NOON + timedelta(seconds=60))
    assert control.stale
    name, found = told(control, ProductionLimit(limit_w=1500), after_s=60)
    assert (name, found[L1][0][1], control.stale) == ("limits-2", -100, False)


def test_revoked_constraints_are_waited_for_and_those_that_were_to_come_forgotten():
    later = allowed(("lower", 0, -100), ("upper", 0, 0), name="limits-2", valid_from=60)
    control = enveloped(SOLAR, later, revoked("PEBC.PowerConstraints", "limits-2"))
    assert told(control, NOTHING, after_s=61)[0] == "limits-1"
    control.hear(heard(revoked("PEBC.PowerConstraints", "limits-1")), NOON)
    assert control.missing() == "PEBC.PowerConstraints"
    with pytest.raises(DeviceError, match=r"got no PEBC.PowerConstraints yet"):
        control.steps(NOTHING, None, NOON)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (allowed(("upper", 0, 1), ("upper", 0, 2)), "wanted ranges of a lower and an upper limit"),
        (allowed(("lower", 0, 0, "HEAT.THERMAL_POWER"), ("upper", 0, 1, "HEAT.THERMAL_POWER")), "of electric power"),
        (allowed(("lower", 0, 0), ("upper", 0, 1e12)), "a power of at most"),
        (in_mode("on"), "what belongs to PEBC"),
    ],
)
def test_what_makes_no_sense_of_limits_is_refused_and_changes_nothing(said, named):
    control = enveloped()
    with pytest.raises(Misread, match=named):
        control.hear(heard(said), NOON)
    assert told(control, NOTHING)[0] == "limits-1"


def test_a_relay_has_no_envelope():
    with pytest.raises(DeviceError, match="wanted a power or a limit of production"):
        enveloped().steps(RelayState(closed=True), None, NOON)


def bands():
    ends = st.integers(-9000, 9000)
    return st.lists(st.tuples(ends, ends).map(sorted), min_size=1, max_size=3).map(
        lambda found: tuple(Band(lower_w=lower, upper_w=upper) for lower, upper in found)
    )


@settings(deadline=None)
@given(
    bands(),
    bands(),
    st.integers(-9000, 9000).map(lambda watts: Power(power_w=watts))
    | st.integers(0, 9000).map(lambda watts: ProductionLimit(limit_w=watts)),
    st.sampled_from((1, 3)),
)
def test_limits_lie_in_what_is_allowed_and_never_beyond_the_target(lower, upper, target, share):
    try:
        lower_w, upper_w = limits(Room(lower=lower, upper=upper), target, share)
    except DeviceError:
        return
    assert lower_w <= upper_w
    for bounds, value in ((lower, lower_w), (upper, upper_w)):
        assert any(one.lower_w <= value <= one.upper_w for one in bounds)
    match target:
        case ProductionLimit(limit_w=limit_w):
            assert lower_w * share >= -limit_w - 1e-6
        case Power(power_w=power_w) if power_w >= 0:
            assert upper_w * share <= power_w + 1e-6
        case Power(power_w=power_w):
            assert lower_w * share >= power_w - 1e-6
