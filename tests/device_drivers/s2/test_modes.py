"""What operation modes mean for a relay and for a power, with their transitions and timers."""

from datetime import timedelta

import pytest

from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.s2.control import Wishes
from device_drivers.s2.modes import FillRates, OperationModes
from device_drivers.s2.wire import Misread
from device_drivers.setpoint import Power, RelayState
from tests.device_drivers.s2.messages import (
    L2,
    NOON,
    SYMMETRIC,
    acting,
    at,
    element,
    filled,
    heard,
    in_mode,
    message,
    mode,
    modes,
    power,
    revoked,
    storage,
    timer,
    way,
)

OPEN, CLOSED = RelayState(closed=False), RelayState(closed=True)
ALL = (mode("off", power(0)), mode("eco", power(200, 600)), mode("on", power(1000)))


def controlled(kind, *said, failsafe=OPEN, **wishes):
    control = kind(Wishes(failsafe=failsafe, **wishes), iter(f"ours-{number}" for number in range(99)).__next__)
    for one in said:
        control.hear(heard(one), NOON)
    return control


def relay(*said, **wishes):
    return controlled(OperationModes, *(said or (modes(), in_mode("off"))), **wishes)


def storing(*said, **wishes):
    return controlled(FillRates, *(said or (storage(), filled(20), acting("idle"))), **wishes)


def instruction(control, target, after_s=0.0):
    (step,) = control.steps(target, None, NOON + timedelta(seconds=after_s))
    assert (step.message.message_id.root, step.message.id.root) == (step.message_id, step.instruction_id)
    assert step.message.abnormal_condition is False
    assert step.message.execution_time < NOON + timedelta(seconds=after_s)
    return step.message


def test_a_relay_is_the_mode_that_takes_nothing_and_the_other_one():
    control = relay()
    assert instruction(control, CLOSED).operation_mode_id.root == "on"
    assert instruction(control, OPEN).operation_mode_id.root == "off"
    assert (control.reading(None).relay_closed, control.shows(OPEN), control.shows(CLOSED)) == (False, True, False)
    control.hear(heard(in_mode("on")), NOON)
    assert (control.reading(5).relay_closed, control.shows(CLOSED), control.reading(5).power_w) == (True, True, 5)


def test_a_relay_that_is_on_takes_all_that_its_mode_allows_and_one_that_is_off_least():
    for ranges, closed in ((power(200, 600), 1.0), (power(600, 200), 0.0), (power(-200, -600), 1.0)):
        control = relay(modes(mode("off", power(0)), mode("on", ranges)), in_mode("off"))
        assert instruction(control, CLOSED).operation_mode_factor == closed
    control = relay(
        modes(mode("low", power(0, 50)), mode("on", power(900)), ways=[("low", "on")]), in_mode("low", 0.4), off="low"
    )
    assert instruction(control, OPEN).operation_mode_factor == 0.0
    assert not control.shows(OPEN)


def test_modes_are_named_where_they_cannot_be_guessed():
    three = modes(*ALL, ways=[("off", "eco"), ("off", "on")])
    with pytest.raises(InvalidValueError, match=r"option on: got none, wanted one of 'off', 'eco', 'on'"):
        relay(three)
    with pytest.raises(InvalidValueError, match="option off: got 'aus', wanted one of"):
        relay(three, off="aus")
    with pytest.raises(InvalidValueError, match="wanted another mode than that for off"):
        relay(three, off="off", on="off")
    labelled = modes({**ALL[0], "diagnostic_label": "aus"}, *ALL[1:], ways=[("off", "eco")])
    control = relay(labelled, in_mode("off"), off="aus", on="eco")
    assert instruction(control, CLOSED).operation_mode_id.root == "eco"


def test_modes_and_transitions_for_emergencies_are_not_used():
    boost = mode("boost", power(9000), abnormal=True)
    control = relay(modes(ALL[0], ALL[2], boost, ways=[way("off", "on", abnormal=True)]), in_mode("off"))
    with pytest.raises(DeviceError, match="a transition for emergencies alone from 'off' to 'on'"):
        control.steps(CLOSED, None, NOON)
    control = relay(modes(*ALL, boost, ways=[("off", "boost")]), in_mode("off"), failsafe=Power(power_w=0))
    with pytest.raises(DeviceError, match=r"wanted a power of an operation mode: 0 to 0 W, 200 to 600 W, 1000 to 1000"):
        control.steps(Power(power_w=9000), None, NOON)


def test_there_is_no_way_without_a_transition():
    with pytest.raises(DeviceError, match="no transition from 'off' to 'on'"):
        relay(modes(ways=[("on", "off")]), in_mode("off")).steps(CLOSED, None, NOON)


def test_timers_hold_a_transition_until_the_manager_says_or_they_must_have_ended():
    described = modes(
        timers=[timer("rest", 300)], ways=[way("on", "off", starts=["rest"]), way("off", "on", blocked_by=["rest"])]
    )
    switched = in_mode("off", previous_operation_mode_id="on", transition_timestamp=at(0))
    control = relay(described, in_mode("on"), switched)
    assert instruction(control, OPEN, 10).operation_mode_id.root == "off"
    with pytest.raises(DeviceError, match="a timer that blocks 'on', wanted it later than 2026-03-01T12:05:00"):
        control.steps(CLOSED, None, NOON + timedelta(seconds=299))
    assert instruction(control, CLOSED, 300).operation_mode_id.root == "on"
    control.hear(heard(message("OMBC.TimerStatus", timer_id="rest", finished_at=at(20))), NOON)
    assert instruction(control, CLOSED, 20).operation_mode_id.root == "on"


def test_a_timer_may_end_at_the_end_of_time():
    held = modes(timers=[timer("rest", 1)], ways=[way("off", "on", blocked_by=["rest"])])
    ended = message("OMBC.TimerStatus", timer_id="rest", finished_at="9999-12-31T23:59:59Z")
    with pytest.raises(DeviceError, match="later than 9999-12-31T23:59:59"):
        relay(held, in_mode("off"), ended).steps(CLOSED, None, NOON)


def test_a_power_is_a_factor_of_the_mode_that_has_it_the_active_one_first():
    both = modes(
        mode("low", power(0, 600)),
        mode("high", power(400, 400), power(0, 800, L2)),
        ways=[("low", "high"), ("high", "low")],
    )
    control = relay(both, in_mode("low", 0.0), failsafe=Power(power_w=0))
    found = instruction(control, Power(power_w=450))
    assert (found.operation_mode_id.root, found.operation_mode_factor) == ("low", 0.75)
    found = instruction(control, Power(power_w=1000))
    assert (found.operation_mode_id.root, found.operation_mode_factor) == ("high", 0.75)
    control.hear(heard(in_mode("high", 0.0)), NOON)
    assert instruction(control, Power(power_w=450)).operation_mode_id.root == "high"
    assert control.reading(400).relay_closed is None


def test_three_phases_as_one_are_not_added_to_the_phases():
    control = relay(
        modes(mode("on", power(0, 900, SYMMETRIC), power(0, 300), power(0, 300, L2)), ways=[]),
        in_mode("on"),
        failsafe=Power(power_w=0),
    )
    assert instruction(control, Power(power_w=450)).operation_mode_factor == 0.5


def test_a_later_description_holds_when_it_is_valid_unless_it_is_revoked():
    later = modes(ALL[0], mode("full", power(2000)), ways=[("off", "full")], valid_from=60)
    control = relay(modes(), in_mode("off"), later)
    assert instruction(control, CLOSED, 59).operation_mode_id.root == "on"
    assert instruction(control, CLOSED, 60).operation_mode_id.root == "full"
    first = modes()
    control = relay(first, in_mode("off"), later, revoked("OMBC.SystemDescription", later["message_id"]))
    assert instruction(control, CLOSED, 60).operation_mode_id.root == "on"
    control.hear(heard(revoked("OMBC.SystemDescription", "another")), NOON)
    assert control.missing() is None
    control.hear(heard(revoked("OMBC.SystemDescription", first["message_id"])), NOON)
    assert control.missing() == "OMBC.SystemDescription"
    with pytest.raises(DeviceError, match="no operation modes yet"):
        control.steps(CLOSED, None, NOON)


def test_a_description_that_no_longer_has_the_active_mode_waits_for_its_status():
    control = relay(modes(), in_mode("on"), modes(ALL[0], mode("full", power(2000)), ways=[]))
    assert control.missing() == "OMBC.Status"


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (modes(ways=[("off", "nowhere")]), "transition: got the mode 'nowhere'"),
        (modes(ways=[way("off", "on", starts=["t9"])]), "the timer 't9'"),
        (modes(ALL[0], ALL[0], ways=[]), "an operation mode twice"),
        (modes(mode("off", power(0), power(1))), "a quantity twice"),
        (modes(mode("off", power(1e300))), "got 1e"),
        (in_mode("nowhere"), "got nowhere, wanted one of the operation modes"),
        (in_mode("on", 1.5), "a factor from 0 to 1"),
        (message("OMBC.TimerStatus", timer_id="t9", finished_at=at()), "got t9, wanted one of the timers"),
        (acting("on"), "what belongs to OMBC"),
    ],
)
def test_what_makes_no_sense_of_modes_is_refused_and_changes_nothing(said, named):
    control = relay()
    with pytest.raises(Misread, match=named):
        control.hear(heard(said), NOON)
    assert control.shows(OPEN)
    assert instruction(control, CLOSED).operation_mode_id.root == "on"


def test_the_power_of_a_storage_depends_on_how_full_it_is():
    control = storing(failsafe=Power(power_w=0))
    found = instruction(control, Power(power_w=1200))
    assert (found.actuator_id.root, found.operation_mode.root, found.operation_mode_factor) == ("heater", "heat", 0.4)
    control.hear(heard(filled(80)), NOON)
    assert instruction(control, Power(power_w=1200)).operation_mode_factor == 0.8
    with pytest.raises(DeviceError, match="0 to 1500 W"):
        control.steps(Power(power_w=2000), None, NOON)
    control.hear(heard(filled(105)), NOON)  # beside every range: the nearest holds
    assert instruction(control, Power(power_w=1500)).operation_mode_factor == 1.0


def test_a_storage_has_to_say_how_full_it_is_where_its_power_depends_on_that():
    control = storing(storage(), acting("idle"))
    assert control.missing() == "FRBC.StorageStatus"
    with pytest.raises(DeviceError, match="got no fill level, on which the power of 'heat' depends"):
        control.steps(CLOSED, None, NOON)
    flat = [
        {"id": name, "elements": [element((0, 100), power(watts))], "abnormal_condition_only": False}
        for name, watts in (("idle", 0), ("heat", 900))
    ]
    control = storing(storage(operation_modes=flat), acting("idle"))
    assert control.missing() is None
    assert instruction(control, CLOSED).operation_mode.root == "heat"


def test_other_actuators_say_nothing_of_the_one_that_is_meant():
    two = storage(actuators=[{"diagnostic_label": "pump"}, {"id": "rod"}])
    with pytest.raises(InvalidValueError, match="option actuator: got none, wanted one of 'pump', 'rod'"):
        storing(two)
    control = storing(two, filled(20), acting("heat"), acting("idle", actuator="rod"), actuator="pump")
    assert control.reading(None).relay_closed is True
    assert instruction(control, OPEN).actuator_id.root == "heater"


@pytest.mark.parametrize(
    ("label", "wishes", "fill", "stored_wh", "milli_c"),
    [
        ("Wh", {}, 5000.9, 5000, None),
        ("kWh", {}, 1.2345, 1234, None),
        ("SoC %", {"capacity_wh": 8000.0}, 50, 4000, None),
        ("SoC %", {}, 50, None, None),
        ("°C", {}, 55.25, None, 55250),
        ("full", {}, 5, None, None),
        ("full", {"fill": "kwh"}, 5, 5000, None),
    ],
)
def test_a_fill_level_is_stored_energy_or_a_temperature_where_its_unit_is_known(
    label, wishes, fill, stored_wh, milli_c
):
    reading = storing(storage(label=label), filled(fill), acting("idle"), **wishes).reading(7)
    assert (reading.stored_wh, reading.temperature_milli_c, reading.power_w) == (stored_wh, milli_c, 7)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (acting("nowhere"), "got nowhere"),
        (filled(1e300), "a fill level of at most"),
        (in_mode("on"), "what belongs to FRBC"),
        (message("FRBC.TimerStatus", actuator_id="heater", timer_id="t9", finished_at=at()), "got t9"),
    ],
)
def test_what_makes_no_sense_of_a_storage_is_refused_and_changes_nothing(said, named):
    control = storing()
    with pytest.raises(Misread, match=named):
        control.hear(heard(said), NOON)
    assert control.shows(OPEN)


def test_forecasts_of_a_storage_are_heard_and_its_revoked_description_waited_for():
    described = storage()
    control = storing(described, filled(20), acting("idle"))
    control.hear(
        heard(
            message(
                "FRBC.LeakageBehaviour",
                valid_from=at(),
                elements=[{"fill_level_range": {"start_of_range": 0, "end_of_range": 100}, "leakage_rate": 0.1}],
            )
        ),
        NOON,
    )
    control.hear(heard(revoked("FRBC.SystemDescription", described["message_id"])), NOON)
    assert control.missing() == "FRBC.SystemDescription"
