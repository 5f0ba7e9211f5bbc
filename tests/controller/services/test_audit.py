import json

import pytest
from grpc import StatusCode

from contracts.hashing import ZERO_HASH
from contracts.leaves import PostingLeaf, ReadingLeaf, TradeLeaf
from contracts.merkle import verify_proof
from gridpact.v1 import audit_pb2

NAME = "microgrids/village"
KINDS = {"trades": TradeLeaf, "readings": ReadingLeaf, "postings": PostingLeaf}


def header(site, number=0):
    return site.auditor.GetHeader(audit_pb2.GetHeaderRequest(window=site.window(number))).header


def test_each_header_carries_the_hash_of_the_one_before(site):
    site.live(until=site.start + 7200)
    headers = site.auditor.ListHeaders(audit_pb2.ListHeadersRequest(parent=NAME)).headers
    assert [h.window for h in headers] == [site.window(number) for number in range(4)]
    assert [h.previous for h in headers] == [ZERO_HASH, *(h.hash for h in headers[:-1])]


def test_headers_come_page_by_page(site):
    site.live(until=site.start + 7200)
    first = site.auditor.ListHeaders(audit_pb2.ListHeadersRequest(parent=NAME, page_size=3))
    rest = site.auditor.ListHeaders(
        audit_pb2.ListHeadersRequest(parent=NAME, page_size=3, page_token=first.next_page_token)
    )
    assert [h.window for h in (*first.headers, *rest.headers)] == [site.window(number) for number in range(4)]


def test_headers_are_listed_from_a_place_on(site):
    site.live(until=site.start + 7200)
    request = audit_pb2.ListHeadersRequest(parent=NAME, page_size=1, from_number=2)
    first = site.auditor.ListHeaders(request)
    request.page_token = first.next_page_token
    rest = site.auditor.ListHeaders(request)
    assert [h.window for h in (*first.headers, *rest.headers)] == [site.window(2), site.window(3)]
    assert not rest.next_page_token
    assert not site.auditor.ListHeaders(audit_pb2.ListHeadersRequest(parent=NAME, from_number=4)).headers


def test_a_header_commits_to_the_inputs_and_the_interval(settled):
    found = header(settled)
    assert (found.window_start, found.window_end) == (settled.start, settled.start + 1800)
    assert found.inputs_digest == settled.row(0).inputs_digest
    assert (found.schema, found.run, found.microgrid) == (1, 0, NAME)


def test_before_settlement_there_is_no_header_yet(settled):
    request = audit_pb2.GetHeaderRequest(window=settled.window(1))
    answer = settled.refused(settled.auditor.GetHeader, request)
    assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "NOT_SETTLED")


@pytest.mark.parametrize("collection", KINDS)
def test_every_record_is_proven_up_to_the_header(settled, collection):
    stated = header(settled)
    counts = {"trades": stated.trades_count, "readings": stated.readings_count, "postings": stated.postings_count}
    roots = {"trades": stated.trades_root}
    for index in range(counts[collection]):
        name = f"{settled.window(0)}/{collection}/{index}"
        proof = settled.auditor.GetProof(audit_pb2.GetProofRequest(name=name)).proof
        leaf = KINDS[collection].from_json(json.loads(proof.record_json))
        assert (proof.kind, leaf.index, proof.header) == (collection.removesuffix("s"), index, stated)
        assert verify_proof(leaf.hash, proof.path, roots.get(collection, stated.settlement_root))
    past = audit_pb2.GetProofRequest(name=f"{settled.window(0)}/{collection}/{counts[collection]}")
    assert settled.refused(settled.auditor.GetProof, past).code is StatusCode.NOT_FOUND


@pytest.mark.parametrize("name", ["", "{window}", "{window}/headers/0", "{window}/trades/x", "{window}/trades/0/0"])
def test_what_is_no_records_name_is_invalid(settled, name):
    request = audit_pb2.GetProofRequest(name=name.format(window=settled.window(0)))
    refused = settled.refused(settled.auditor.GetProof, request)
    assert (refused.code, refused.fields) == (StatusCode.INVALID_ARGUMENT, ("name",))
