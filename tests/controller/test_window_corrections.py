"""Windows whose readings change after they were settled."""

from collections import Counter
from dataclasses import replace

import grpc
import pytest

from contracts.checks import check_books, check_complete, check_headers, check_proofs
from contracts.evidence import StatedHeader, StatedRecord
from contracts.runs import reversed_index
from controller.sealed import records_of
from controller.store import evidence, meters
from gridpact.v1 import audit_pb2, audit_pb2_grpc, operator_pb2, participant_pb2


def revise(site, member, mtu, *, import_wh):
    """Let a register at the start of an MTU count as higher than it was reported."""
    at = site.start + 900 * mtu

    def change(connection):
        known = meters.last_reading(connection, "village", member, until=at)
        meters.add_revision(
            connection, "village", replace(known, import_wh=known.import_wh + import_wh, quality="SUBSTITUTED"), by="op"
        )
        evidence.ask_for_corrections(connection, "village", [site.window(number) for number in range(4)])

    site.database.run(change)
    site.advance()


@pytest.fixture
def corrected(site):
    """The horizon is over; of bob's meter another register counts at the border of the first two windows."""
    site.live(until=site.end)
    revise(site, "bob", 2, import_wh=60)
    return site


def headers(site):
    return site.database.run(evidence.headers, "village")


def net(site, number):
    totals = Counter()
    for account, kind, amount in site.postings(number):
        totals[account, kind] += amount
    return {key: amount for key, amount in totals.items() if amount}


def test_each_window_that_a_reading_changes_gets_a_run_of_its_own(corrected):
    chain = headers(corrected)
    assert [(h.window, h.run) for h in chain] == [
        *((corrected.window(number), 0) for number in range(4)),
        (corrected.window(0), 1),
        (corrected.window(1), 1),
    ]
    assert [after.previous for after in chain[1:]] == [before.hash for before in chain[:-1]]
    assert corrected.states() == ["SETTLED"] * 4
    assert corrected.rows("corrections_due") == []


def test_the_register_is_sealed_again_where_it_is_first_needed(corrected):
    sealed = [(r["window"], r["meter"], r["quality"]) for r in corrected.rows("readings") if r["run"] == 1]
    assert sealed == [(corrected.window(0), "bob", "SUBSTITUTED")]


def test_all_runs_together_are_what_the_truth_would_have_posted(corrected, make_site):
    other = make_site("village")
    other.live(until=other.start + 1800 - 900)
    batch = other.batch(other.start + 1800)
    next(one for one in batch.readings if one.member.endswith("bob")).import_wh += 60
    other.clock.set(other.start + 1800)
    other.gateway.SubmitReadings(other.batch_request(batch))
    other.live(until=other.end)
    for number in range(4):
        assert net(corrected, number) == net(other, number)


def test_only_what_changed_is_taken_back(corrected):
    rows = corrected.of_window("postings", 0)
    back = [row for row in rows if reversed_index(row["reference"]) is not None]
    assert back
    assert {rows[reversed_index(row["reference"])]["reference"] for row in back} == {
        f"{what} {corrected.start + 900}" for what in ("bob", "net")
    }
    assert {row["run"] for row in back} == {1}


def test_nothing_is_appended_where_nothing_changes(corrected):
    before = headers(corrected)
    revise(corrected, "bob", 2, import_wh=0)
    assert headers(corrected) == before
    assert corrected.rows("corrections_due") == []


def test_a_window_is_corrected_again_and_again(corrected):
    revise(corrected, "bob", 2, import_wh=-61)
    revise(corrected, "bob", 2, import_wh=7)
    runs = [h.run for h in headers(corrected) if h.window == corrected.window(0)]
    assert runs == [0, 1, 2, 3]
    assert sum(amount for _, _, amount in corrected.postings(0)) == 0


def test_the_evidence_of_all_runs_is_complete(corrected):
    revise(corrected, "bob", 2, import_wh=-61)
    chain = headers(corrected)
    stated = tuple(StatedHeader(header=h, hash=h.hash, place=str(k)) for k, h in enumerate(chain))
    books = [corrected.database.run(records_of, h.window, h.run) for h in chain]

    class Evidence:
        headers = stated

        def __getattr__(self, kind):
            return [
                StatedRecord(record=leaf, leaf=leaf.hash, proof=tree.proof(place), place=leaf.name)
                for book in books
                for tree, leaves in (
                    (book.trades_tree(), book.trades),
                    (book.settlement_tree(), (*book.readings, *book.postings)),
                )
                for place, leaf in enumerate(leaves)
                if f"{leaf.kind_name}s" == kind
            ]

        def of_kind(self, kind):
            return getattr(self, f"{kind.kind_name}s")

    found = Evidence()
    records = [*found.trades, *found.readings, *found.postings]
    checks = [check_books(found), check_complete(found), check_headers(stated), check_proofs(records, stated)]
    assert [failure for check in checks for failure in check.failures] == []
    assert len(records) == sum(len(corrected.rows(table)) for table in ("trades", "readings", "postings"))


class TestShown:
    """What the API tells of corrections."""

    def test_a_participant_sees_its_lines_with_their_runs(self, corrected):
        request = participant_pb2.ListOwnPostingsRequest(parent="microgrids/village/members/bob")
        answer = corrected.participant("bob").ListOwnPostings(request)
        lines = {line.name: line for line in answer.postings}
        taken = [line for line in answer.postings if line.reverses]
        assert taken
        for line in taken:
            other = lines[line.reverses]
            assert (line.run, other.run) == (1, 0)
            assert (line.kind, line.amount_micro) == (other.kind, -other.amount_micro)
        assert answer.total_micro == sum(line.amount_micro for line in answer.postings)

    def test_a_window_says_how_often_it_was_settled(self, corrected):
        runs = [
            corrected.operator.GetWindow(operator_pb2.GetWindowRequest(name=corrected.window(number))).window.runs
            for number in range(4)
        ]
        listed = corrected.operator.ListWindows(operator_pb2.ListWindowsRequest(parent="microgrids/village"))
        assert runs == [window.runs for window in listed.windows] == [2, 2, 1, 1]

    def test_each_run_has_its_header(self, corrected):
        audit = corrected.stub(audit_pb2_grpc.AuditServiceStub, "auditor/aud")
        for run in (0, 1):
            request = audit_pb2.GetHeaderRequest(window=corrected.window(1), run=run)
            assert audit.GetHeader(request).header.run == run

    @pytest.mark.parametrize("run", [-1, 2, 2**31 - 1])
    def test_a_run_that_there_is_not_is_out_of_range(self, corrected, run, refusal_of):
        audit = corrected.stub(audit_pb2_grpc.AuditServiceStub, "auditor/aud")
        with pytest.raises(grpc.RpcError) as caught:
            audit.GetHeader(audit_pb2.GetHeaderRequest(window=corrected.window(1), run=run))
        answer = refusal_of(caught.value)
        assert (answer.code, answer.fields) == (grpc.StatusCode.OUT_OF_RANGE, ("run",))

    def test_a_record_is_proven_under_the_header_of_its_run(self, corrected):
        audit = corrected.stub(audit_pb2_grpc.AuditServiceStub, "auditor/aud")
        for table in ("readings", "postings"):
            for row in corrected.of_window(table, 0):
                name = f"{corrected.window(0)}/{table}/{row['ix']}"
                proof = audit.GetProof(audit_pb2.GetProofRequest(name=name)).proof
                assert proof.header.run == row["run"]
