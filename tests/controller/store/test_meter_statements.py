"""What is kept of meters, on databases of both kinds."""

from dataclasses import replace

import pytest

from controller.estimating import Estimation, EstimationRule
from controller.feeders import FeederSum
from controller.meter_events import EventKind, MeterEvent
from controller.microgrid import MeterReading
from controller.registers import Meter, MeterChange, Registers
from controller.store import market, meter_events, meters, registry
from controller.store.figures import microgrid_figures
from tests.controller.village import START

ONE = Registers(import_wh=1, export_wh=2)
TWO = Registers(import_wh=3, export_wh=4)
EVENT = MeterEvent(
    kind=EventKind.CONTRADICTORY,
    member="ada",
    instant=START,
    reporter="gateway",
    sequence=1,
    reported=ONE,
    known=TWO,
    known_instant=START,
    note="n",
)
REFUSED = MeterEvent(
    kind=EventKind.BAD_SIGNATURE, member="", instant=None, reporter="gateway", sequence=0, note="key 'x'"
)


@pytest.fixture
def run(village_store):
    return village_store.run


def test_what_is_declared_of_meters_reads_back_in_order_of_time(run):
    later = MeterChange(instant=START + 5, rollover_wh=None, final=ONE, first=TWO)
    first = MeterChange(instant=START, rollover_wh=10**6)
    for change in (later, first):
        run(meter_events.add_change, "village", "ada", change, created=START)
    assert run(meter_events.meters, "village") == {"ada": Meter((first, later))}
    assert run(meter_events.meters, "hamlet") == {}


def test_the_newest_rules_hold(run):
    assert run(meter_events.estimation, "village") == Estimation()
    for limit in (None, 7):
        rules = Estimation(rule=EstimationRule.PROFILE, after_minutes=30, loss_permille=limit)
        run(meter_events.put_estimation, "village", rules)
        assert run(meter_events.estimation, "village") == rules


def test_events_read_back_numbered_and_once(run):
    first = run(meter_events.add_events, "village", [EVENT, REFUSED], created=9)
    assert [kept.number for kept in first] == [1, 2]
    assert run(meter_events.add_events, "village", [EVENT, REFUSED], created=10, once=True) == []
    other = replace(EVENT, reported=TWO)
    (third,) = run(meter_events.add_events, "village", [EVENT, other], created=10, once=True)
    assert run(meter_events.events_after, "village", 0, 9) == [*first, third]
    assert run(meter_events.events_after, "village", 1, 1) == [first[1]]
    assert run(meter_events.events_after, "village", 0, 9, member="ada") == [first[0], third]
    assert run(meter_events.events_after, "village", 0, 9, reporter="other") == []
    # Of the three one was of a refused batch.
    assert [run(meter_events.count_refused_since, "village", "gateway", since) for since in (9, 10)] == [1, 0]
    assert run(meter_events.event, "village", 3) == third


def test_a_decision_is_shown_with_its_event_and_it_waits_no_longer(run):
    (kept,) = run(meter_events.add_events, "village", [EVENT], created=9)
    assert run(meter_events.count_open, "village") == 1
    run(meter_events.decide, "village", 1, "ACCEPTED", reason="misread", by="op", created=9)
    assert run(meter_events.event, "village", 1) == replace(kept, decision="ACCEPTED", reason="misread")
    assert run(meter_events.count_open, "village") == 0


def test_which_windows_rest_on_estimates_follows_the_newest_run(run):
    run(meter_events.put_estimated, "village", "w1", ["bob", "ada"])
    run(meter_events.put_estimated, "village", "w2", ["ada"])
    assert run(meter_events.estimated, "village") == {"ada": ["w1", "w2"], "bob": ["w1"]}
    run(meter_events.put_estimated, "village", "w1", ["bob"])
    assert run(meter_events.estimated, "village") == {"ada": ["w2"], "bob": ["w1"]}


def test_sums_are_kept_as_they_were_last_known_and_paged(run):
    windows = run(registry.microgrid, "village").windows()
    sums = [
        FeederSum(place=place, mtu_start=START + 900 * mtu, metered_wh=10 + mtu, members_wh=7, through_wh=10)
        for mtu in (0, 1)
        for place in ("/", "/sections/east")
    ]
    run(meter_events.put_sums, windows[0].name, sums)
    sums[3] = replace(sums[3], metered_wh=20)
    run(meter_events.put_sums, windows[0].name, sums)
    whole = {"start": 0, "end": 2**40}
    assert run(meter_events.sums_after, "village", (0, ""), 9, **whole) == sums
    assert run(meter_events.sums_after, "village", (START, "/"), 2, **whole) == sums[1:3]
    assert run(meter_events.sums_after, "village", (0, ""), 9, start=START + 1800, end=2**40) == []
    assert run(meter_events.newest_losses, "village") == {"/": 7, "/sections/east": 16}
    assert run(microgrid_figures, "village").losses_wh == {"/": 7, "/sections/east": 16}


def test_feeders_readings_are_told_from_members(run):
    readings = [
        MeterReading(member=member, instant=START, import_wh=5, export_wh=5, quality="MEASURED")
        for member in ("/", "/sections/east", "ada")
    ]
    signed = {"payload": b"p", "signature": b"s", "key_id": "k"}
    run(meters.add_batch, "village", "gateway", 1, readings=readings, **signed)
    assert run(meters.feeder_readings, "village", START, START) == readings[:2]
    better = replace(readings[0], quality="SUBSTITUTED", import_wh=9)
    run(meters.add_revision, "village", better, by="operator:op")
    assert run(meters.feeder_readings, "village", START, START) == [better, readings[1]]
    assert run(meters.reading_at, "village", "/", START) == (better, "operator:op")


def test_settled_windows_around_an_instant_are_those_that_it_touches(run):
    windows = run(registry.microgrid, "village").windows()
    for window in windows[:3]:
        run(market.set_window, window.name, was="OPEN", state="SETTLED")
    border = windows[1].start
    names = [window.name for window in windows]
    assert run(market.settled_around, "village", border, length_s=1800) == names[:2]
    assert run(market.settled_around, "village", border + 1, length_s=1800) == names[1:2]
    assert run(market.settled_around, "village", windows[3].start + 5, length_s=1800) == []
