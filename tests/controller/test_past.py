from dataclasses import replace

import pytest

from controller.microgrid import DeviceSetpoint, DeviceState, SetpointKind
from controller.past import Past
from controller.snapshot import Snapshot

MTU_S = 900


@pytest.fixture
def base(site):
    """What the village's first window was decided on, its boiler having been off for an hour."""
    site.advance(site.start - 300)
    return with_state(Snapshot.from_json(site.row(0).snapshot), held_s=3600, starts_today=1, closed=False)


def with_state(snapshot, **values):
    blank = DeviceState(device="bob/boiler", instant=snapshot.window.start, power_w=0, closed_s=0, stored_wh=None)
    return replace(snapshot, states={"bob/boiler": replace(blank, **values)})


def boiler(snapshot):
    return next(device for device in snapshot.devices if device.id == "bob/boiler")


def told(start, *values):
    return [
        DeviceSetpoint(device="bob/boiler", mtu_start=start + MTU_S * k, kind=SetpointKind.RELAY, value=value)
        for k, value in enumerate(values)
    ]


def state(base, *, telemetry=None, values=(0, 1), given=True):
    past = Past(microgrid=base.microgrid, start=base.window.start + 2 * MTU_S)
    known = base if given else None
    return past.state(boiler(base), telemetry, known, told(base.window.start, *values))


def said(base, seconds, **values):
    instant = base.window.start + seconds
    return DeviceState(
        **{"device": "bob/boiler", "instant": instant, "power_w": 0, "closed_s": 0, "stored_wh": None} | values
    )


def test_of_a_device_that_nobody_told_or_heard_anything_nothing_is_known(base):
    assert state(replace(base, states={}), values=()) is None
    assert state(base, values=(), given=False) is None


def test_without_telemetry_what_was_told_counts_as_done(base):
    found = state(base)
    assert (found.closed, found.held_s, found.starts_today, found.closed_s) == (True, 900, 2, 900)


def test_without_an_earlier_window_too(base):
    found = state(base, given=False)
    assert (found.closed, found.held_s, found.starts_today, found.closed_s) == (True, 900, 1, 900)


def test_telemetry_that_agrees_goes_on_with_what_was_counted(base):
    found = state(base, values=(0, 0), telemetry=said(base, 600, closed=False))
    assert (found.closed, found.held_s, found.starts_today) == (False, 5400, 1)


def test_telemetry_that_differs_begins_to_count_anew(base):
    found = state(base, values=(1, 1), telemetry=said(base, 600, closed=False, closed_s=0))
    # Off at 600 s though told to be on; from then on it does what it is told.
    assert (found.closed, found.held_s, found.starts_today, found.closed_s) == (True, 1200, 3, 1200)


def test_telemetry_before_the_earlier_window_is_projected_by_itself(base):
    telemetry = said(base, -60, closed=True, held_s=100, closed_s=100, power_w=1501)
    found = state(base, values=(1, 1), telemetry=telemetry, given=False)
    assert (found.closed, found.held_s, found.closed_s) == (True, 1960, 1960)
