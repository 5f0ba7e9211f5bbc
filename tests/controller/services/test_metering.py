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


def test_a_second_reading_of_an_instant_is_refused(running):
    batch = running.batch(running.start + 900)
    batch.readings[2].instant.seconds = running.start
    answer = refused(running, batch)
    assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("readings[2].instant",))


def test_a_meter_that_is_read_twice_at_an_instant_is_refused(running):
    batch = running.batch(running.start + 900)
    batch.readings.append(batch.readings[0])
    assert refused(running, batch).fields == ("readings[3].instant",)


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
