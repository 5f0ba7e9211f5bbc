"""Limits that drivers check themselves, passed on to them as the DSO signed them."""

import pytest
from grpc import StatusCode

from controller.wire import fields
from gridpact.v1 import driver_pb2, dso_pb2, dso_pb2_grpc, operator_pb2

NAME = "microgrids/village"
DEVICE = f"{NAME}/members/ada/devices/pv"


def limit(site, *, group="east", driver="ada/pv", counter=1, upper_w=1000, after_s=600, **fields_):
    bounds = {} if upper_w is None else {"upper_w": upper_w}
    return dso_pb2.GroupLimit(
        **{
            "group": f"{NAME}/groups/{group}",
            "driver": driver,
            "bounds": bounds,
            "counter": counter,
            "expire_time": fields.timestamp(int(site.clock.now()) + after_s),
        }
        | fields_
    )


def request(site, *limits, **changes):
    signed = [site.signed("wires", "envelope-wires", one) for one in limits]
    return dso_pb2.SetGroupLimitsRequest(**{"parent": NAME, "limits": signed, "request_id": "r1"} | changes)


def connected(site, *requests):
    """What a driver is told that says so much."""
    first = driver_pb2.ConnectRequest(descriptor=driver_pb2.Descriptor(device=DEVICE, accepts_pushes=True))
    beat = driver_pb2.ConnectRequest(heartbeat=driver_pb2.Heartbeat(counter=1))
    return list(site.driver("ada/pv").Connect(iter([first, beat, *requests])))


def passed_on(answers):
    return [one.payload for answer in answers for one in answer.group_limits.limits]


def test_a_driver_is_passed_on_its_limits_and_nobody_elses(site):
    mine, others = limit(site), limit(site, group="west", driver="bob/boiler")
    site.dso.SetGroupLimits(request(site, mine, others))
    assert passed_on(connected(site)) == [mine.SerializeToString()]


def test_the_newest_counts_and_an_old_one_is_refused(site):
    site.dso.SetGroupLimits(request(site, limit(site, counter=5)))
    refused = site.refused(site.dso.SetGroupLimits, request(site, limit(site, counter=5, upper_w=2), request_id="r2"))
    assert (refused.code, refused.reason) == (StatusCode.ALREADY_EXISTS, "OLD_COUNTER")
    newer = limit(site, counter=6)
    site.dso.SetGroupLimits(request(site, newer, request_id="r3"))
    assert passed_on(connected(site)) == [newer.SerializeToString()]


def connection(site, upper_w):
    envelope = dso_pb2.DefaultEnvelope(target=NAME, bounds={"upper_w": upper_w})
    signed = site.signed("wires", "envelope-wires", envelope)
    id_ = f"connection-{upper_w}"
    site.dso.SetDefaultEnvelope(dso_pb2.SetDefaultEnvelopeRequest(parent=NAME, default_envelope=signed, request_id=id_))


def test_groups_together_keep_within_the_connection(site):
    connection(site, 5000)
    site.dso.SetGroupLimits(request(site, limit(site, upper_w=3000)))
    for more in (2001, None):
        call = request(site, limit(site, group="west", upper_w=more), request_id=f"more-{more}")
        refused = site.refused(site.dso.SetGroupLimits, call)
        assert (refused.code, refused.reason) == (StatusCode.FAILED_PRECONDITION, "GROUPS_EXCEED_CONNECTION")
    site.dso.SetGroupLimits(request(site, limit(site, group="west", upper_w=2000), request_id="enough"))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"group": f"{NAME}/sections/east"}, "limits[0].group"),
        ({"driver": ""}, "limits[0].driver"),
        ({"counter": 0}, "limits[0].counter"),
        ({"bounds": {"upper_w": -1}}, "limits[0].bounds.upper_w"),
        ({"bounds": {"lower_w": 1}}, "limits[0].bounds.lower_w"),
        ({"after_s": 86_500}, "limits[0].expire_time"),
        ({"after_s": -5}, "limits[0].expire_time"),
    ],
)
def test_a_limit_that_cannot_be_is_refused_by_field_and_changes_nothing(site, changes, field):
    one = limit(site, **{key: value for key, value in changes.items() if key != "group"})
    one.group = changes.get("group", one.group)
    refused = site.refused(site.dso.SetGroupLimits, request(site, one))
    assert refused.code in {StatusCode.INVALID_ARGUMENT, StatusCode.OUT_OF_RANGE}
    assert refused.fields == (field,)
    assert passed_on(connected(site)) == []


def test_the_same_group_twice_is_refused(site):
    refused = site.refused(site.dso.SetGroupLimits, request(site, limit(site), limit(site, counter=2)))
    assert refused.code is StatusCode.INVALID_ARGUMENT


def test_a_foreign_signature_is_refused(site):
    call = request(site)
    call.limits.append(site.signed("ada", "order-ada", limit(site)))
    assert site.refused(site.dso.SetGroupLimits, call).code is StatusCode.PERMISSION_DENIED


def exceeds(site, call):
    refused = site.refused(site.dso.SetGroupLimits, call)
    return (refused.code, refused.reason) == (StatusCode.FAILED_PRECONDITION, "GROUPS_EXCEED_CONNECTION")


def test_a_replaced_limit_counts_until_it_expires(site):
    # The driver that has it may not hear of the new one.
    connection(site, 10_000)
    site.dso.SetGroupLimits(request(site, limit(site, upper_w=8000), limit(site, group="west", upper_w=1000)))
    shift = (limit(site, counter=2, upper_w=1000), limit(site, group="west", counter=2, upper_w=9000))
    assert exceeds(site, request(site, *shift, request_id="shift"))
    site.dso.SetGroupLimits(request(site, shift[0], request_id="less"))
    assert exceeds(site, request(site, shift[1], request_id="more"))
    site.clock.set(site.clock.now() + 601)
    again = limit(site, counter=3, upper_w=1000), limit(site, group="west", counter=2, upper_w=9000)
    site.dso.SetGroupLimits(request(site, *again, request_id="later"))
    assert {(row["group"], row["counter"]) for row in site.rows("group_limits")} == {("east", 3), ("west", 2)}


def test_a_group_that_changes_its_driver_counts_at_both(site):
    connection(site, 10_000)
    site.dso.SetGroupLimits(request(site, limit(site, upper_w=8000)))
    assert exceeds(site, request(site, limit(site, counter=2, driver="bob/boiler", upper_w=2001), request_id="moved"))
    site.dso.SetGroupLimits(request(site, limit(site, counter=2, driver="bob/boiler", upper_w=2000), request_id="fits"))
    assert passed_on(connected(site)) == []


def test_limits_can_be_tightened_where_the_connection_shrank_but_not_prolonged(site):
    connection(site, 10_000)
    site.dso.SetGroupLimits(request(site, limit(site, upper_w=8000), limit(site, group="west", upper_w=2000)))
    connection(site, 5000)
    assert exceeds(site, request(site, limit(site, counter=2, upper_w=8000, after_s=700), request_id="longer"))
    tight = limit(site, counter=2, upper_w=3000)
    site.dso.SetGroupLimits(request(site, tight, request_id="tight"))
    assert tight.SerializeToString() in passed_on(connected(site))


def test_another_operator_neither_replaces_a_limit_nor_locks_its_group(site):
    key = operator_pb2.RegisterKeyRequest(
        parent=NAME,
        key_id="envelope-other",
        purpose=operator_pb2.KEY_PURPOSE_ENVELOPE,
        holder="other",
        public_key=site.key("other").public_key().public_bytes_raw(),
        request_id="key-other",
    )
    site.operator.RegisterKey(key)
    mine = limit(site, upper_w=0)
    site.dso.SetGroupLimits(request(site, mine))
    theirs = limit(site, counter=2**62, upper_w=9000)
    call = dso_pb2.SetGroupLimitsRequest(parent=NAME, request_id="r1")
    call.limits.append(site.signed("other", "envelope-other", theirs))
    site.stub(dso_pb2_grpc.DsoServiceStub, "dso/other", "village").SetGroupLimits(call)
    assert passed_on(connected(site)) == [theirs.SerializeToString(), mine.SerializeToString()]
    newer = limit(site, counter=2, upper_w=1)
    site.dso.SetGroupLimits(request(site, newer, request_id="r2"))
    assert newer.SerializeToString() in passed_on(connected(site))


def test_what_is_committed_is_told_whatever_can_be_read_afterwards(site, monkeypatch):
    async def fail(*_):
        raise AssertionError("read after the commit")

    mine = limit(site)
    with monkeypatch.context() as patch:
        patch.setattr(type(site.database), "read_async", fail)
        site.dso.SetGroupLimits(request(site, mine))
    assert passed_on(connected(site)) == [mine.SerializeToString()]
