"""What is out of the ordinary about readings: kept, whether they count or not."""

import pytest
from grpc import StatusCode

from gridpact.v1 import metering_pb2
from tests.controller.refused_calls import refusal


@pytest.fixture
def running(site):
    """The first quarter-hour is over; its start was reported."""
    site.clock.set(site.start)
    site.gateway.SubmitReadings(site.batch_request(site.batch(site.start)))
    site.clock.set(site.start + 900)
    return site


def events(site):
    """What was noted: the kind, whose meter, and how many MTUs after the start."""
    return [
        (row["kind"], row["member"], None if row["instant"] is None else (row["instant"] - site.start) / 900)
        for row in site.rows("meter_events")
    ]


def submit(site, mtu, *, member="ada", sequence, **changes):
    batch = site.batch(site.start + 900 * mtu, members=[member], sequence=sequence)
    for name, value in changes.items():
        setattr(batch.readings[0], name, value)
    return site.gateway.SubmitReadings(site.batch_request(batch))


def refused(site, *args, **changes):
    with pytest.raises(Exception) as caught:  # noqa: PT011  # gRPC's own
        submit(site, *args, **changes)
    return refusal(caught.value)


def registers(site, mtu, member="ada"):
    """What counts of a meter at an instant: import and quality of the highest revision."""
    rows = [r for r in site.rows("meter_readings") if (r["member"], r["instant"]) == (member, site.start + 900 * mtu)]
    newest = max(rows, key=lambda row: row["revision"])
    return newest["import_wh"], newest["quality"]


def test_readings_in_their_time_are_no_event(running):
    running.gateway.SubmitReadings(running.batch_request(running.batch(running.start + 900)))
    assert events(running) == []


def test_the_same_again_is_taken_without_effect(running):
    before = running.rows("meter_readings")
    answer = submit(running, 0, sequence=50)
    assert (answer.accepted, answer.set_aside) == (1, 0)
    assert running.rows("meter_readings") == before
    assert events(running) == [("DUPLICATE", "ada", 0)]
    submit(running, 0, sequence=51)
    assert len(events(running)) == 1


def test_another_value_is_set_aside_and_the_first_stays(running):
    answer = submit(running, 0, sequence=50, import_wh=1001)
    assert (answer.accepted, answer.set_aside) == (0, 1)
    assert registers(running, 0) == (1000, "MEASURED")
    (event,) = running.rows("meter_events")
    assert (event["kind"], event["import_wh"], event["known_import_wh"]) == ("CONTRADICTORY", 1001, 1000)


def test_a_meter_that_contradicts_itself_in_a_batch_counts_as_it_said_first(running):
    batch = running.batch(running.start + 900)
    batch.readings.append(batch.readings[0])
    batch.readings.append(batch.readings[1])
    batch.readings[4].export_wh += 1
    answer = running.gateway.SubmitReadings(running.batch_request(batch))
    assert (answer.accepted, answer.set_aside) == (4, 1)
    assert events(running) == [("DUPLICATE", "ada", 1), ("CONTRADICTORY", "bob", 1)]


def test_what_was_not_said_for_a_while_is_a_gap(running):
    running.clock.set(running.start + 2700)
    submit(running, 3, sequence=50)
    (event,) = running.rows("meter_events")
    assert (event["kind"], event["known_instant"]) == ("GAP", running.start)


def test_a_better_reading_takes_the_place_of_a_lesser_one_and_never_the_other_way(running):
    quality = metering_pb2.ReadingQuality.Value
    submit(running, 1, sequence=50, import_wh=1070, quality=quality("READING_QUALITY_ESTIMATED"))
    assert registers(running, 1) == (1070, "ESTIMATED")
    submit(running, 1, sequence=51, import_wh=1071, quality=quality("READING_QUALITY_SUBSTITUTED"))
    assert registers(running, 1) == (1071, "SUBSTITUTED")
    submit(running, 1, sequence=52, import_wh=1072)
    assert registers(running, 1) == (1072, "MEASURED")
    answer = submit(running, 1, sequence=53, import_wh=1070, quality=quality("READING_QUALITY_ESTIMATED"))
    assert answer.set_aside == 1
    assert registers(running, 1) == (1072, "MEASURED")
    assert [kind for kind, *_ in events(running)] == ["SUBSTITUTED"] * 3 + ["CONTRADICTORY"]


def test_a_faulty_reading_is_kept_and_counts_for_nothing(running):
    faulty = metering_pb2.READING_QUALITY_FAULTY
    answer = submit(running, 1, sequence=50, import_wh=3, quality=faulty)
    assert (answer.accepted, answer.set_aside) == (0, 1)
    assert registers(running, 1) == (3, "FAULTY")
    assert submit(running, 1, sequence=51).accepted == 1
    assert registers(running, 1) == (1075, "MEASURED")
    assert submit(running, 1, sequence=52, quality=faulty).set_aside == 1
    assert registers(running, 1) == (1075, "MEASURED")
    assert [kind for kind, *_ in events(running)] == ["FAULTY", "SUBSTITUTED", "FAULTY"]


def test_a_reading_after_its_windows_settlement_is_late(site):
    site.live(until=site.start + 2700, missing={("bob", 1)})
    assert site.states()[0] == "DELIVERING"
    submit(site, 1, member="bob", sequence=500)
    site.advance()
    assert site.states()[0] == "SETTLED"
    assert events(site) == [("GAP", "bob", 2)]
    between = site.batch(site.start, members=["ada"], sequence=501)
    between.readings[0].instant.seconds += 450
    site.gateway.SubmitReadings(site.batch_request(between))
    assert events(site)[1:] == [("LATE", "ada", 0.5)]


class TestRefused:
    """Of a batch that is refused, why is kept."""

    def test_registers_that_go_back(self, running):
        assert refused(running, 1, sequence=50, import_wh=999).code is StatusCode.INVALID_ARGUMENT
        (event,) = running.rows("meter_events")
        assert (event["kind"], event["member"], event["import_wh"]) == ("BACKWARDS", "ada", 999)
        assert event["note"] == "import_wh: got 999, wanted at least 1000, the register's value before"

    def test_registers_that_leap(self, running):
        assert refused(running, 1, sequence=50, import_wh=10**9).code is StatusCode.OUT_OF_RANGE
        assert events(running) == [("LEAP", "ada", 1)]

    def test_of_the_future(self, running):
        refused(running, 2, sequence=50)
        assert events(running) == [("FUTURE", "", None)]

    def test_beyond_what_a_register_holds(self, running):
        refused(running, 1, sequence=50, import_wh=10**12 + 1)
        assert events(running) == [("OUT_OF_RANGE", "", None)]

    def test_of_a_foreign_meter(self, running):
        batch = running.batch(running.start + 900)
        batch.readings[2].member = "microgrids/village/members/zoe"
        running.refused(running.gateway.SubmitReadings, running.batch_request(batch))
        assert events(running) == [("FOREIGN_METER", "", None)]

    def test_a_sequence_that_was_used(self, running):
        refused(running, 1, sequence=1)
        assert events(running) == [("SEQUENCE_REPLAYED", "", None)]

    def test_without_a_signature(self, running):
        request = running.batch_request(running.batch(running.start + 900))
        request.readings.signature = bytes(64)
        running.refused(running.gateway.SubmitReadings, request)
        assert events(running) == [("BAD_SIGNATURE", "", None)]

    def test_malformed(self, running):
        refused(running, 1, sequence=50, quality=9)
        assert events(running) == [("MALFORMED", "", None)]

    def test_beyond_as_many_in_a_day_they_are_in_the_log_alone(self, running, monkeypatch):
        monkeypatch.setattr("controller.services.meter_events.REFUSED_PER_DAY", 2)
        submit(running, 0, sequence=40)
        for wrong in (1, 2, 3):
            refused(running, 1, sequence=50, import_wh=wrong)
        assert [kind for kind, *_ in events(running)] == ["DUPLICATE", "BACKWARDS", "BACKWARDS"]
        running.clock.set(running.start + 86_400 + 900 + 1)
        refused(running, 1, sequence=50, import_wh=3)
        assert len(events(running)) == 4

    def test_the_same_again_is_noted_once(self, running):
        for _ in range(3):
            refused(running, 1, sequence=50, import_wh=999)
        assert len(events(running)) == 1
