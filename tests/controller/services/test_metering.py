import pytest
from grpc import StatusCode

from gridpact.v1 import metering_pb2, metering_pb2_grpc, operator_pb2


@pytest.fixture
def running(site):
    """The first quarter-hour is over; its start was reported."""
    site.clock.set(site.start)
    site.gateway.SubmitReadings(site.batch_request(site.batch(site.start)))
    site.clock.set(site.start + 900)
    return site


def test_a_batch_is_kept_with_every_reading(running):
    batch = running.batch(running.start + 900)
    assert running.gateway.SubmitReadings(running.batch_request(batch)).accepted == 3
    kept = [row for row in running.rows("meter_readings") if row["instant"] == running.start + 900]
    assert [(row["member"], row["import_wh"], row["export_wh"]) for row in kept] == [
        ("ada", 1075, 500),
        ("bob", 1126, 500),
        ("eve", 1177, 500),
    ]
    assert {(row["gateway"], row["sequence"], row["quality"]) for row in kept} == {("gateway", 11, "MEASURED")}


def test_one_batch_may_hold_several_instants_of_a_meter(site):
    site.clock.set(site.start + 900)
    batch = site.batch(site.start)
    batch.readings.extend(site.batch(site.start + 900).readings)
    assert site.gateway.SubmitReadings(site.batch_request(batch)).accepted == 6


def refused(site, batch):
    return site.refused(site.gateway.SubmitReadings, site.batch_request(batch))


@pytest.mark.parametrize("register", ["import_wh", "export_wh"])
def test_a_register_that_goes_back_is_refused(running, register):
    batch = running.batch(running.start + 900)
    setattr(batch.readings[1], register, {"import_wh": 999, "export_wh": 499}[register])
    answer = refused(running, batch)
    assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, (f"readings[1].{register}",))


def test_a_register_that_stands_still_is_right(running):
    batch = running.batch(running.start + 900)
    for reading in batch.readings:
        reading.import_wh, reading.export_wh = 1000, 500
    assert running.gateway.SubmitReadings(running.batch_request(batch)).accepted == 3


@pytest.mark.parametrize(
    ("import_wh", "field"),
    [(999, "readings[0].import_wh"), (1000, None), (1040, None), (1076, "readings[0].import_wh")],
)
def test_an_older_reading_fills_a_gap_where_it_fits_between_its_neighbours(running, import_wh, field):
    running.gateway.SubmitReadings(running.batch_request(running.batch(running.start + 900)))
    late = running.batch(running.start + 900, members=["ada"], sequence=50)
    late.readings[0].instant.seconds = running.start + 450
    late.readings[0].import_wh = import_wh
    if field is None:
        assert running.gateway.SubmitReadings(running.batch_request(late)).accepted == 1
    else:
        answer = refused(running, late)
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, (field,))


def test_a_batch_may_bring_a_meters_readings_in_any_order(running):
    running.clock.set(running.start + 1800)
    batch = running.batch(running.start + 1800, members=["bob"])
    batch.readings.extend(running.batch(running.start + 900, members=["bob"]).readings)
    assert running.gateway.SubmitReadings(running.batch_request(batch)).accepted == 2


def test_a_reading_of_the_future_is_out_of_range(running):
    batch = running.batch(running.start + 900)
    batch.readings[0].instant.seconds += 121
    answer = refused(running, batch)
    assert (answer.code, answer.fields) == (StatusCode.OUT_OF_RANGE, ("readings[0].instant",))


def test_a_gateways_clock_may_be_two_minutes_ahead(running):
    batch = running.batch(running.start + 900)
    for reading in batch.readings:
        reading.instant.seconds += 120
    assert running.gateway.SubmitReadings(running.batch_request(batch)).accepted == 3


@pytest.mark.parametrize("sequence", [1, 11])
def test_a_sequence_number_that_was_reached_is_refused(running, sequence):
    running.gateway.SubmitReadings(running.batch_request(running.batch(running.start + 900, members=["ada"])))
    answer = refused(running, running.batch(running.start + 900, members=["bob"], sequence=sequence))
    assert (answer.code, answer.reason) == (StatusCode.ALREADY_EXISTS, "SEQUENCE_USED")


def test_sequence_numbers_may_leave_gaps(running):
    batch = running.batch(running.start + 900, sequence=77)
    assert running.gateway.SubmitReadings(running.batch_request(batch)).accepted == 3


@pytest.mark.parametrize("sequence", [0, 2**62 + 1, 2**64 - 1])
def test_an_absurd_sequence_number_is_out_of_range(running, sequence):
    answer = refused(running, running.batch(running.start + 900, sequence=sequence))
    assert (answer.code, answer.fields) == (StatusCode.OUT_OF_RANGE, ("readings.sequence",))


@pytest.mark.parametrize("member", ["microgrids/village/members/zoe", "microgrids/hamlet/members/ada"])
def test_a_meter_of_nobody_here_is_not_found(running, member):
    batch = running.batch(running.start + 900)
    batch.readings[2].member = member
    assert refused(running, batch).code is StatusCode.NOT_FOUND


def test_a_batch_for_another_microgrid_is_not_found(running):
    batch = running.batch(running.start + 900)
    batch.parent = "microgrids/hamlet"
    assert refused(running, batch).code is StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"import_wh": -1}, StatusCode.OUT_OF_RANGE),
        ({"export_wh": 10**12 + 1}, StatusCode.OUT_OF_RANGE),
        ({"quality": metering_pb2.READING_QUALITY_UNSPECIFIED}, StatusCode.INVALID_ARGUMENT),
        ({"quality": 7}, StatusCode.INVALID_ARGUMENT),
        ({"member": "ada"}, StatusCode.INVALID_ARGUMENT),
        ({"member": "microgrids/village/members/grid"}, StatusCode.INVALID_ARGUMENT),
    ],
)
def test_a_malformed_field_is_named(running, change, code):
    batch = running.batch(running.start + 900)
    for name, value in change.items():
        setattr(batch.readings[1], name, value)
    answer = refused(running, batch)
    assert (answer.code, answer.fields) == (code, (f"readings[1].{next(iter(change))}",))


def test_an_instant_that_was_never_said_is_out_of_range(running):
    batch = running.batch(running.start + 900)
    batch.readings[0].ClearField("instant")
    assert refused(running, batch).fields == ("readings[0].instant",)


def test_a_batch_without_readings_is_refused(running):
    answer = refused(running, running.batch(running.start + 900, members=[]))
    assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("readings",))


def test_one_wrong_reading_refuses_all(running):
    batch = running.batch(running.start + 900)
    batch.readings[2].import_wh = 0
    refused(running, batch)
    batch.readings[2].import_wh = 2000
    assert running.gateway.SubmitReadings(running.batch_request(batch)).accepted == 3


def test_each_gateway_counts_for_itself(running):
    running.operator.RegisterKey(
        operator_pb2.RegisterKeyRequest(
            parent="microgrids/village",
            key_id="reading-second",
            purpose=operator_pb2.KEY_PURPOSE_READING,
            holder="second",
            public_key=running.key("second").public_key().public_bytes_raw(),
            request_id="second",
        )
    )
    second = running.stub(metering_pb2_grpc.MeteringServiceStub, "meter/second")
    batch = running.batch(running.start + 900, members=["eve"], sequence=1)
    request = metering_pb2.SubmitReadingsRequest(
        readings=running.signed("second", "reading-second", batch), request_id="one"
    )
    assert second.SubmitReadings(request).accepted == 1


def test_a_register_that_leaps_beyond_what_can_flow_is_out_of_range(running):
    batch = running.batch(running.start + 900)
    batch.readings[0].import_wh = 1000 + 250_000 + 1
    assert running.gateway.SubmitReadings(running.batch_request(batch)).accepted == 3
    running.clock.set(running.start + 1800)
    batch = running.batch(running.start + 1800)
    batch.readings[0].import_wh = 1000 + 2 * 250_001 + 1
    answer = refused(running, batch)
    assert (answer.code, answer.fields) == (StatusCode.OUT_OF_RANGE, ("readings[0].import_wh",))


class TestMeters:
    """A gateway reports the meters that its keys name; one of which no key names any, all."""

    ADA, BOB = "microgrids/village/members/ada", "microgrids/village/members/bob"

    def register(self, site, *meters, key_id="bound", purpose=operator_pb2.KEY_PURPOSE_READING, **changes):
        values = {
            "parent": "microgrids/village",
            "key_id": key_id,
            "purpose": purpose,
            "holder": "gateway",
            "public_key": site.key("gateway").public_key().public_bytes_raw(),
            "meters": meters,
            "request_id": site.request_id(),
        }
        return operator_pb2.RegisterKeyRequest(**values | changes)

    def power(self, site, *targets):
        now = {"seconds": int(site.clock.now())}
        samples = [metering_pb2.PowerSample(target=target, measure_time=now, power_w=7) for target in targets]
        return metering_pb2.ReportPowerRequest(parent="microgrids/village", samples=samples)

    def test_it_reports_what_is_its_own_and_nothing_else(self, running):
        running.gateway.ReportPower(self.power(running, self.BOB))
        running.operator.RegisterKey(self.register(running, self.ADA))
        running.gateway.ReportPower(self.power(running, self.ADA))
        for others in (self.BOB, "microgrids/village", f"{self.BOB}x"):
            answer = running.refused(running.gateway.ReportPower, self.power(running, self.ADA, others))
            assert (answer.code, answer.message) == (StatusCode.NOT_FOUND, f"{others!r}: not found")
        # Whichever key it signs with.
        answer = refused(running, running.batch(running.start + 900))
        assert (answer.code, answer.message) == (StatusCode.NOT_FOUND, f"{self.BOB!r}: not found")
        own = running.batch(running.start + 900, members=["ada"])
        assert running.gateway.SubmitReadings(running.batch_request(own)).accepted == 1

    def test_a_further_key_adds_its_meters_and_a_restart_forgets_none(self, running):
        running.operator.RegisterKey(self.register(running, self.ADA))
        running.operator.RegisterKey(self.register(running, self.BOB, "microgrids/village", key_id="further"))
        running.restart()
        running.gateway.ReportPower(self.power(running, self.ADA, self.BOB, "microgrids/village"))
        answer = running.refused(running.gateway.ReportPower, self.power(running, self.ADA.replace("ada", "eve")))
        assert answer.code is StatusCode.NOT_FOUND

    @pytest.mark.parametrize(
        ("meters", "purpose", "code", "fields"),
        [
            (("microgrids/village/members/zoe",), "READING", StatusCode.NOT_FOUND, ()),
            (("microgrids/hamlet/members/ada",), "READING", StatusCode.NOT_FOUND, ()),
            (("",), "READING", StatusCode.NOT_FOUND, ()),
            ((ADA, ADA), "READING", StatusCode.INVALID_ARGUMENT, ("meters[1]",)),
            ((ADA,), "ENVELOPE", StatusCode.INVALID_ARGUMENT, ("meters",)),
        ],
    )
    def test_meters_that_are_none_are_refused(self, site, meters, purpose, code, fields):
        kind = operator_pb2.KeyPurpose.Value(f"KEY_PURPOSE_{purpose}")
        answer = site.refused(site.operator.RegisterKey, self.register(site, *meters, purpose=kind))
        assert (answer.code, answer.fields) == (code, fields)
