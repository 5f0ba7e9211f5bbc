import hashlib

import grpc
import pytest

from controller.access_journal import verify
from controller.errors import StoreError
from controller.store import accesses
from gridpact.v1 import (
    audit_pb2,
    audit_pb2_grpc,
    dispatch_pb2,
    dispatch_pb2_grpc,
    metering_pb2,
    metering_pb2_grpc,
    operator_pb2,
)

NAME = "microgrids/village"


def listed(site, name="auditor/aud", grid="village", **changes):
    stub = site.stub(audit_pb2_grpc.AuditServiceStub, name, grid)
    return stub.ListAccess(audit_pb2.ListAccessRequest(**{"parent": f"microgrids/{grid}"} | changes))


def flush(site):
    site.loop.run(site.service.flush())


def last(site, name="auditor/aud"):
    entry = listed(site, name, page_size=1000).accesses[-1]
    return entry.identity, entry.method, entry.resource, entry.subject, entry.code, entry.count


def read_meter(site, who, member="ada"):
    stub = site.stub(metering_pb2_grpc.MeteringServiceStub, who)
    return stub.ListReadings(metering_pb2.ListReadingsRequest(parent=f"{NAME}/members/{member}"))


def test_a_change_is_entered_with_the_digest_of_its_request(site):
    request = site.order_request("ada", 1)
    site.participant("ada").SubmitOrder(request)
    entry = listed(site, page_size=1000).accesses[-1]
    assert (entry.identity, entry.method, entry.code) == ("spiffe://village/participant/ada", "SubmitOrder", "OK")
    assert (entry.subject, entry.count) == ("ada", 1)
    assert entry.request_digest == hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


def test_a_repeated_call_is_no_second_change(site):
    request = site.order_request("ada", 1)
    site.participant("ada").SubmitOrder(request)
    count = len(listed(site, page_size=1000).accesses)
    site.participant("ada").SubmitOrder(request)
    assert len(listed(site, page_size=1000).accesses) == count


def test_a_limit_is_entered_too(site):
    site.dso.CreateEnvelope(site.envelope_request(site.envelope("limit")))
    flush(site)
    assert last(site)[:2] == ("spiffe://village/dso/wires", "CreateEnvelope")


def test_a_denial_is_entered_with_the_next_flush(site):
    for _ in range(3):
        with pytest.raises(grpc.RpcError):
            site.stub(audit_pb2_grpc.AuditServiceStub, "driver/ada/pv").GetProof(
                audit_pb2.GetProofRequest(name=f"{site.window()}/trades/0")
            )
    flush(site)
    wanted = ("spiffe://village/driver/ada/pv", "GetProof", f"{site.window()}/trades/0", "*", "PERMISSION_DENIED", 3)
    assert last(site) == wanted


def test_knocking_at_what_is_foreign_is_entered_where_the_caller_is_from(make_site):
    site = make_site("village", "hamlet")
    stub = site.stub(audit_pb2_grpc.AuditServiceStub, "auditor/aud", "hamlet")
    with pytest.raises(grpc.RpcError):
        stub.ListHeaders(audit_pb2.ListHeadersRequest(parent=NAME))
    flush(site)
    entry = listed(site, grid="hamlet", page_size=1000).accesses[-1]
    assert (entry.resource, entry.code) == (NAME, "NOT_FOUND")


def test_who_reads_anothers_meter_is_entered_and_the_member_sees_it(site):
    with pytest.raises(grpc.RpcError):
        read_meter(site, "auditor/aud")
    read_meter(site, "participant/ada")
    flush(site)
    assert last(site, "participant/ada")[1:5] == ("ListReadings", f"{NAME}/members/ada", "ada", "NOT_FOUND")


def test_a_member_sees_its_own_calls_and_accesses_to_its_data_alone(site):
    found = listed(site, "participant/bob", page_size=1000).accesses
    assert found
    own = "spiffe://village/participant/bob"
    assert all(entry.identity == own or entry.subject in {"bob", "*"} for entry in found)
    assert len(found) < len(listed(site, page_size=1000).accesses)


def test_pages_hold_everything_once(site):
    whole = list(listed(site, page_size=1000).accesses)
    found, token = [], ""
    while not found or token:
        page = listed(site, page_size=7, page_token=token)
        found += page.accesses
        token = page.next_page_token
    assert found == whole


def test_the_chain_holds_over_restarts_and_a_change_in_the_file_is_named(site):
    site.restart()
    site.operator.CreateMember(
        operator_pb2.CreateMemberRequest(
            parent=NAME, member=operator_pb2.Member(name=f"{NAME}/members/dan", section="east"), request_id="dan"
        )
    )
    entries = site.database.run(accesses.entries, "village")
    assert verify(entries) == ""
    assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))


def test_what_the_store_does_not_take_waits_for_the_next_flush(site, monkeypatch):
    with pytest.raises(grpc.RpcError):
        read_meter(site, "auditor/aud")

    async def fail(*_args):
        raise StoreError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(site.database, "run_async", fail)
        with pytest.raises(StoreError):
            flush(site)
    flush(site)
    assert last(site)[1] == "ListReadings"
    assert last(site)[5] == 1


def test_a_name_that_no_database_holds_keeps_nothing_from_being_entered(site):
    ada = site.stub(dispatch_pb2_grpc.DispatchServiceStub, "participant/ada")
    with pytest.raises(grpc.RpcError):
        ada.ListPrices(dispatch_pb2.ListPricesRequest(parent="microgrids/\0"))
    with pytest.raises(grpc.RpcError):
        ada.ListClearings(dispatch_pb2.ListClearingsRequest(parent="microgrids/\0x"))
    flush(site)
    assert last(site)[1:3] == ("ListClearings", "microgrids/x")
    site.live(until=site.start)
    assert site.states()[0] == "DELIVERING"
