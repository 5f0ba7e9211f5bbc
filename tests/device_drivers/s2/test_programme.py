"""What a relay means for a programme in parts: started, interrupted, continued, taken back."""

from datetime import timedelta

import pytest

from device_drivers.errors import DeviceError
from device_drivers.s2.control import Wishes
from device_drivers.s2.programme import Programmes
from device_drivers.s2.wire import Misread
from device_drivers.setpoint import Power, RelayState
from tests.device_drivers.s2.messages import NOON, heard, in_mode, part, programme, progress, revoked

OPEN, CLOSED = RelayState(closed=False), RelayState(closed=True)
TWO = programme(part("wash", ("eco", 3600), ("fast", 1800)), part("dry", ("dry", 600)))


def programmed(*said):
    control = Programmes(Wishes(failsafe=OPEN), iter(f"ours-{number}" for number in range(99)).__next__)
    for one in said:
        control.hear(heard(one), NOON)
    return control


def told(control, target, after_s=0.0):
    """What the manager is told: kind, part, sequence, s from now where it is later than now."""
    utc = NOON + timedelta(seconds=after_s)
    found = []
    for step in control.steps(target, None, utc):
        one = step.message
        kind = one.message_type.removeprefix("PPBC.").removesuffix("Instruction")
        if kind == "RevokeObject":
            found.append((kind, one.object_id.root))
            continue
        assert one.abnormal_condition is False
        later_s = (one.execution_time - utc).total_seconds()
        found.append((kind, one.sequence_container_id.root, one.power_sequence_id.root, max(0.0, later_s)))
    return found


def test_a_programme_that_waits_is_started_part_after_part():
    control = programmed(TWO, progress(("wash", "NOT_SCHEDULED"), ("dry", "NOT_SCHEDULED")))
    assert told(control, CLOSED) == [("Schedule", "wash", "eco", 0.0), ("Schedule", "dry", "dry", 3600.0)]
    assert (control.reading(0).relay_closed, control.shows(OPEN), told(control, OPEN)) == (False, True, [])


def test_what_runs_is_left_alone_and_what_follows_it_is_not_scheduled_twice():
    control = programmed(TWO, progress(("wash", "EXECUTING", "fast", 600.0), ("dry", "NOT_SCHEDULED")))
    assert told(control, CLOSED) == [("Schedule", "dry", "dry", 1200.0)]
    control.hear(heard(progress(("dry", "SCHEDULED", "dry"))), NOON)
    assert (told(control, CLOSED), control.reading(800).relay_closed) == ([], True)


def test_a_programme_that_runs_is_interrupted_and_continued():
    control = programmed(TWO, progress(("wash", "EXECUTING", "fast", 600.0), ("dry", "NOT_SCHEDULED")))
    assert told(control, OPEN) == [("StartInterruption", "wash", "fast", 0.0)]
    control.hear(heard(progress(("wash", "INTERRUPTED", "fast", 600.0))), NOON)
    assert (control.reading(0).relay_closed, told(control, OPEN)) == (False, [])
    assert told(control, CLOSED)[0] == ("EndInterruption", "wash", "fast", 0.0)


def test_what_is_scheduled_and_not_started_is_taken_back():
    control = programmed(TWO, progress(("wash", "NOT_SCHEDULED"), ("dry", "NOT_SCHEDULED")))
    first, second = (step.instruction_id for step in control.steps(CLOSED, None, NOON))
    control.hear(heard(progress(("wash", "EXECUTING", "eco", 0.0), ("dry", "SCHEDULED", "dry"))), NOON)
    assert told(control, OPEN) == [("RevokeObject", second), ("StartInterruption", "wash", "eco", 0.0)]
    control.hear(heard(progress(("wash", "SCHEDULED", "eco"))), NOON)
    assert told(control, OPEN) == [("RevokeObject", second), ("RevokeObject", first)]


def test_what_an_earlier_session_scheduled_cannot_be_taken_back():
    control = programmed(TWO, progress(("wash", "SCHEDULED", "eco"), ("dry", "NOT_SCHEDULED")))
    with pytest.raises(DeviceError, match="got 'wash' of a programme scheduled in an earlier session"):
        control.steps(OPEN, None, NOON)


def test_a_programme_that_may_not_be_interrupted_says_for_how_long_it_runs():
    fixed = programme(part("wash", ("eco", 3600, False)))
    control = programmed(fixed, progress(("wash", "EXECUTING", "eco", 600.0)))
    with pytest.raises(DeviceError, match="may not be interrupted, and runs for 3000 s more"):
        control.steps(OPEN, None, NOON)


def test_sequences_for_emergencies_are_not_chosen():
    control = programmed(
        programme(part("wash", ("boost", 60, True, True), ("eco", 3600))), progress(("wash", "NOT_SCHEDULED"))
    )
    assert told(control, CLOSED) == [("Schedule", "wash", "eco", 0.0)]
    control = programmed(programme(part("wash", ("boost", 60, True, True))), progress(("wash", "NOT_SCHEDULED")))
    with pytest.raises(DeviceError, match="no sequence of 'wash' that may be started without an emergency"):
        control.steps(CLOSED, None, NOON)


def test_a_programme_is_started_no_earlier_than_it_may():
    control = programmed(programme(starts=600.0), progress(("wash", "NOT_SCHEDULED")))
    with pytest.raises(DeviceError, match="may start no earlier than 2026-03-01T12:10:00"):
        control.steps(CLOSED, None, NOON)
    assert told(control, CLOSED, after_s=600.0) == [("Schedule", "wash", "eco", 0.0)]


def test_a_programme_that_is_over_is_neither_open_nor_closed():
    control = programmed(programme(), progress(("wash", "FINISHED", "eco")))
    assert (control.reading(0).relay_closed, told(control, CLOSED), told(control, OPEN)) == (None, [], [])


def test_an_aborted_programme_is_not_started_again():
    control = programmed(programme(), progress(("wash", "ABORTED", "eco")))
    with pytest.raises(DeviceError, match="aborted 'wash'"):
        control.steps(CLOSED, None, NOON)


def test_a_part_may_follow_another_that_lasts_for_ever():
    control = programmed(
        programme(*(part(name, ("eco", 1e12)) for name in ("wash", "rinse"))),
        progress(("wash", "NOT_SCHEDULED"), ("rinse", "NOT_SCHEDULED")),
    )
    assert told(control, CLOSED, after_s=250e9)[1][:2] == ("Schedule", "rinse")


def test_no_programme_can_be_left_off_and_not_started():
    control = programmed()
    assert (control.missing(), told(control, OPEN), control.reading(0).relay_closed) == (None, [], False)
    with pytest.raises(DeviceError, match="got no programme, wanted one that waits"):
        control.steps(CLOSED, None, NOON)
    control.hear(heard(programme()), NOON)
    assert control.missing() == "PPBC.PowerProfileStatus"
    with pytest.raises(DeviceError, match=r"got Power.* wanted a state of the relay"):
        control.steps(Power(power_w=1), None, NOON)


def test_a_new_programme_forgets_how_far_the_old_one_was_and_a_revoked_one_is_gone():
    control = programmed(programme(), progress(("wash", "FINISHED", "eco")), programme(name="wash-2"))
    assert control.missing() == "PPBC.PowerProfileStatus"
    control.hear(heard(revoked("PPBC.PowerProfileDefinition", "wash-1")), NOON)
    assert control.missing() == "PPBC.PowerProfileStatus"
    control.hear(heard(revoked("PPBC.PowerProfileDefinition", "wash-2")), NOON)
    assert control.missing() is None


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (progress(("spin", "FINISHED")), "got spin, wanted a part of the programme"),
        (progress(("wash", "EXECUTING", "boil")), "got boil, wanted a sequence"),
        (progress(("wash", "EXECUTING"), name="wash-9"), "a part of the programme that was described"),
        (programme(part("wash", ("eco", 1)), part("wash", ("fast", 1))), "a sequence container twice"),
        (in_mode("on"), "what belongs to PPBC"),
    ],
)
def test_what_makes_no_sense_of_a_programme_is_refused_and_changes_nothing(said, named):
    control = programmed(programme(), progress(("wash", "NOT_SCHEDULED")))
    with pytest.raises(Misread, match=named):
        control.hear(heard(said), NOON)
    assert told(control, CLOSED) == [("Schedule", "wash", "eco", 0.0)]
