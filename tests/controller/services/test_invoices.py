"""Invoices as the service gives them."""

import pytest
from grpc import StatusCode

from controller.errors import InputError
from controller.pki_files import ServerFiles
from controller.services.invoice_client import as_json, ask
from controller.wire import fields
from gridpact.v1 import audit_pb2, audit_pb2_grpc, operator_pb2, participant_pb2_grpc
from gridpact.v1 import participant_pb2 as pb

EVE = "microgrids/village/members/eve"
DAY = {"first_day": "2026-03-02", "last_day": "2026-03-02"}


def request(parent=EVE, **changes):
    return pb.GetInvoiceRequest(parent=parent, **DAY | changes)


def as_operator(site):
    return site.stub(participant_pb2_grpc.ParticipantServiceStub, "operator/op").GetInvoice


@pytest.mark.parametrize("by_mtu", [False, True])
def test_it_is_the_ledgers_lines_to_the_micro(settled, by_mtu):
    invoice = settled.participant("eve").GetInvoice(request(by_mtu=by_mtu)).invoice
    posted = {(row["window"], row["ix"]): row for row in settled.rows("postings") if row["account"] == "eve"}
    assert len(posted) > 2
    shown = [(one.window, ix) for line in invoice.lines for one in line.references for ix in one.postings]
    assert sorted(shown) == sorted(posted)
    for line in invoice.lines:
        rows = [posted[one.window, ix] for one in line.references for ix in one.postings]
        assert {row["kind"] for row in rows} == {line.kind}
        assert line.amount_micro == sum(row["amount_micro"] for row in rows)
    assert invoice.total_micro == sum(row["amount_micro"] for row in posted.values())
    assert sum(total.amount_micro for total in invoice.totals) == invoice.total_micro
    assert (invoice.currency, invoice.time_zone) == ("EUR", "Europe/Berlin")
    assert invoice.interval == fields.interval_message(settled.start - 7 * 3600, settled.start + 17 * 3600)


def test_a_window_that_has_begun_and_is_not_settled_is_counted(settled):
    assert settled.states()[:2] == ["SETTLED", "DELIVERING"]
    assert settled.participant("eve").GetInvoice(request()).invoice.unsettled_windows == 1


def test_the_operator_gets_every_members_and_nobody_anothers(settled):
    assert as_operator(settled)(request()) == settled.participant("eve").GetInvoice(request())
    codes = [
        settled.refused(call, request(parent=parent)).code
        for call, parent in (
            (settled.participant("ada").GetInvoice, EVE),
            (as_operator(settled), "microgrids/village/members/nobody"),
            (as_operator(settled), "microgrids/hamlet/members/eve"),
        )
    ]
    assert codes == [StatusCode.NOT_FOUND] * 3


def test_who_has_left_is_billed_still(settled):
    before = settled.participant("eve").GetInvoice(request()).invoice
    settled.operator.DeleteMember(operator_pb2.DeleteMemberRequest(name=EVE, request_id=settled.request_id()))
    assert settled.participant("eve").GetInvoice(request()).invoice == before
    assert as_operator(settled)(request()).invoice == before
    own = settled.participant("eve").ListOwnPostings(pb.ListOwnPostingsRequest(parent=EVE))
    assert own.total_micro == before.total_micro


def test_the_member_sees_that_the_operator_read_it(settled):
    as_operator(settled)(request())
    settled.participant("eve").GetInvoice(request())
    settled.loop.run(settled.service.flush())
    stub = settled.stub(audit_pb2_grpc.AuditServiceStub, "participant/eve")
    answer = stub.ListAccess(audit_pb2.ListAccessRequest(parent="microgrids/village", page_size=1000))
    found = [(one.identity, one.resource) for one in answer.accesses if one.method == "GetInvoice"]
    assert found == [("spiffe://village/operator/op", EVE)]


NO_DAYS = (
    ({"first_day": "2026-3-2"}, "first_day"),
    ({"first_day": "2026-02-30"}, "first_day"),
    ({"first_day": "20260302"}, "first_day"),
    ({"last_day": ""}, "last_day"),
    ({"last_day": "2026-03-01"}, "last_day"),
    ({"last_day": "2027-03-03"}, "last_day"),
    ({"last_day": "2026-04-02", "by_mtu": True}, "last_day"),
    ({"last_day": "2100-01-01"}, "last_day"),
)


def test_days_that_are_none_are_named(settled):
    for changes, named in NO_DAYS:
        assert settled.refused(settled.participant("eve").GetInvoice, request(**changes)).fields == (named,), changes


def test_the_client_reads_what_the_service_sent(settled):
    identity = settled.authority.client("spiffe://village/operator/op")
    files = ServerFiles(own=identity, authority=settled.authority.certificate)
    target = f"localhost:{settled.port}"
    found = ask(target, files, EVE, **DAY, by_mtu=True, timeout_s=30)
    sent = settled.participant("eve").GetInvoice(request(by_mtu=True)).invoice
    assert found.totals() == {total.kind: total.amount_micro for total in sent.totals}
    assert as_json(found)["total_micro"] == str(sent.total_micro)
    with pytest.raises(InputError, match="NOT_FOUND"):
        ask(target, files, f"{EVE}x", **DAY, by_mtu=False, timeout_s=30)
