import json

import pytest
from grpc import StatusCode

from contracts.books import WindowBooks
from contracts.leaves import PostingLeaf, ReadingLeaf, TradeLeaf
from gridpact.v1 import operator_pb2, validator_pb2, validator_pb2_grpc

NAME = "microgrids/village"


def records(site, number=0):
    return site.validator.GetWindowRecords(validator_pb2.GetWindowRecordsRequest(window=site.window(number)))


def attest(site, **changes):
    header = records(site).header
    values = {"window": header.window, "run": header.run, "header_hash": header.hash}
    attestation = validator_pb2.Attestation(**values | changes)
    return validator_pb2.SubmitAttestationRequest(
        attestation=site.signed("val", "attestation-val", attestation), request_id=site.request_id()
    )


def test_the_records_give_the_header_they_come_with(settled):
    answer = records(settled)
    books = WindowBooks(
        trades=tuple(TradeLeaf.from_json(json.loads(text)) for text in answer.trades_json),
        readings=tuple(ReadingLeaf.from_json(json.loads(text)) for text in answer.readings_json),
        postings=tuple(PostingLeaf.from_json(json.loads(text)) for text in answer.postings_json),
    )
    stated = answer.header
    header = books.header(
        microgrid=stated.microgrid,
        window=stated.window,
        window_start=stated.window_start,
        window_end=stated.window_end,
        run=stated.run,
        previous=stated.previous,
        inputs_digest=stated.inputs_digest,
    )
    assert header.hash == stated.hash
    assert len(books.readings) == 9
    assert sum(posting.amount_micro for posting in books.postings) == 0


def test_before_settlement_there_are_none_yet(settled):
    request = validator_pb2.GetWindowRecordsRequest(window=settled.window(1))
    answer = settled.refused(settled.validator.GetWindowRecords, request)
    assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "NOT_SETTLED")


def test_each_validator_counts_once(settled):
    assert settled.validator.SubmitAttestation(attest(settled)).attestations == 1
    assert settled.validator.SubmitAttestation(attest(settled)).attestations == 1
    settled.operator.RegisterKey(
        operator_pb2.RegisterKeyRequest(
            parent=NAME,
            key_id="attestation-second",
            purpose=operator_pb2.KEY_PURPOSE_ATTESTATION,
            holder="second",
            public_key=settled.key("second").public_key().public_bytes_raw(),
            request_id="second",
        )
    )
    header = records(settled).header
    attestation = validator_pb2.Attestation(window=header.window, run=header.run, header_hash=header.hash)
    second = settled.stub(validator_pb2_grpc.ValidatorServiceStub, "validator/second")
    request = validator_pb2.SubmitAttestationRequest(
        attestation=settled.signed("second", "attestation-second", attestation), request_id="one"
    )
    assert second.SubmitAttestation(request).attestations == 2


@pytest.mark.parametrize("change", [{"run": 1}, {"header_hash": bytes(32)}, {"header_hash": b""}])
def test_another_header_is_not_attested(settled, change):
    answer = settled.refused(settled.validator.SubmitAttestation, attest(settled, **change))
    assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("attestation.header_hash",))


def test_a_window_that_is_not_settled_is_not_attested(settled):
    request = attest(settled, window=settled.window(1))
    answer = settled.refused(settled.validator.SubmitAttestation, request)
    assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "NOT_SETTLED")


def test_a_malformed_window_is_invalid(settled):
    answer = settled.refused(settled.validator.SubmitAttestation, attest(settled, window="first"))
    assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("attestation.window",))
