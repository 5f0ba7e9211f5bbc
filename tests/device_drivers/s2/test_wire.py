"""Texts as messages: whatever comes is a message or refused with its reason."""

import copy
import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.s2.control import Wishes
from device_drivers.s2.envelope import Envelopes
from device_drivers.s2.modes import FillRates, OperationModes
from device_drivers.s2.programme import Programmes
from device_drivers.s2.wire import NOBODY, Misread, read, seconds, write
from device_drivers.setpoint import Power, RelayState
from tests.device_drivers.s2.messages import (
    L2,
    NOON,
    acting,
    allowed,
    filled,
    heard,
    in_mode,
    measured,
    message,
    modes,
    programme,
    progress,
    storage,
    timer,
)

STATUS = in_mode("on")


@pytest.mark.parametrize(
    ("text", "status", "named", "subject"),
    [
        ("", "INVALID_DATA", "wanted JSON", NOBODY),
        ("{", "INVALID_DATA", "wanted JSON", NOBODY),
        (b"\xff\xfe\xfd", "INVALID_DATA", "wanted JSON", NOBODY),
        ("[" * 100_000, "INVALID_DATA", "wanted JSON", NOBODY),
        ("1" * 5000, "INVALID_DATA", "wanted JSON", NOBODY),
        ('{"value": NaN}', "INVALID_DATA", "wanted JSON", NOBODY),
        ("[]", "INVALID_DATA", "wanted an object", NOBODY),
        ("{}", "INVALID_MESSAGE", "got 'None'", NOBODY),
        ('{"message_type": ["x"], "message_id": 5}', "INVALID_MESSAGE", "wanted one that a resource manager", NOBODY),
        ('{"message_type": "Teapot", "message_id": "m-1"}', "INVALID_MESSAGE", "got 'Teapot'", "m-1"),
        ('{"message_type": "SelectControlType", "message_id": "m-1"}', "INVALID_MESSAGE", "message_type", "m-1"),
        (json.dumps(STATUS | {"operation_mode_factor": "full"}), "INVALID_MESSAGE", "operation_mode_factor", None),
        (json.dumps(STATUS | {"unknown": 1}), "INVALID_MESSAGE", "unknown", None),
        (json.dumps(STATUS | {"active_operation_mode_id": "!"}), "INVALID_MESSAGE", "active_operation_mode_id", None),
        (json.dumps(STATUS | {"transition_timestamp": "2026-03-01T12:00:00"}), "INVALID_MESSAGE", "timezone", None),
    ],
)
def test_what_is_no_message_is_refused_with_the_reason_and_its_id(text, status, named, subject):
    with pytest.raises(Misread, match=named) as refusal:
        read(text)
    assert refusal.value.status.value == status
    assert refusal.value.subject == (STATUS["message_id"] if subject is None else subject)
    assert len(refusal.value.label) <= 200


def test_a_message_is_written_as_it_was_read():
    fields = in_mode("on", 0.5, previous_operation_mode_id="off", transition_timestamp="2026-03-01T12:00:00+00:00")
    assert json.loads(write(heard(fields))) == fields | {"transition_timestamp": "2026-03-01T12:00:00Z"}


def test_an_absurd_duration_is_cut():
    absurd = heard(modes(timers=[timer("rest", 10**300)], ways=[]))
    assert seconds(absurd.timers[0].duration) == 1e9


SAID = (
    modes(timers=[timer("rest", 300)]),
    in_mode("on", previous_operation_mode_id="off", transition_timestamp="2026-03-01T12:00:00Z"),
    storage(),
    acting("heat"),
    filled(20),
    allowed(),
    programme(),
    progress(("wash", "SCHEDULED", "eco", 5.0)),
    measured(1, 2, quantities=("ELECTRIC.POWER.L1", L2)),
    message("FRBC.TimerStatus", actuator_id="heater", timer_id="rest", finished_at="2026-03-01T12:00:00Z"),
)
TARGETS = RelayState(closed=True), Power(power_w=9), Power(power_w=9), RelayState(closed=True)
ODD = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1e308,
        -1e308,
        10**400,
        0.1,
        "",
        "on",
        "off",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
        [],
    ]
) | st.floats(allow_nan=False, allow_infinity=False)


def spots(fields, way=()):
    """Every place of a message that can be changed."""
    found = fields.items() if isinstance(fields, dict) else enumerate(fields) if isinstance(fields, list) else ()
    for key, value in found:
        yield (*way, key)
        yield from spots(value, (*way, key))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_message_however_odd_breaks_what_hears_it(data):
    controls = [
        OperationModes(Wishes(failsafe=RelayState(closed=False))),
        FillRates(Wishes(failsafe=Power(power_w=0))),
        Envelopes(Wishes(failsafe=Power(power_w=0))),
        Programmes(Wishes(failsafe=RelayState(closed=False))),
    ]
    for said in SAID:
        fields = copy.deepcopy(said)
        if data.draw(st.integers(0, 3)) == 0:
            *outer, key = data.draw(st.sampled_from([spot for spot in spots(fields) if spot[0] != "message_type"]))
            inner = fields
            for step in outer:
                inner = inner[step]
            inner[key] = data.draw(ODD)
        try:
            found = heard(fields)
        except Misread:
            continue
        for control in controls:
            try:
                control.hear(found, NOON)
            except (Misread, InvalidValueError):
                continue
    for control, target in zip(controls, TARGETS, strict=True):
        control.missing()
        control.reading(0)
        control.shows(target)
        with suppress(DeviceError):
            control.steps(target, None, NOON)
