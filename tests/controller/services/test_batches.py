"""Batches of headers, and what validators sign under them."""

import grpc
import pytest
from grpc import StatusCode

from contracts.quorum import Domain
from contracts.transactions import Address
from controller.batching import BatchPolicy
from gridpact.v1 import validator_pb2 as pb
from gridpact.v1 import validator_pb2_grpc
from tests.controller.validators import DOMAIN, KEYS, NAME, address, registry, signed_batch

HALF = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
ORDER = 2 * HALF + 1


@pytest.fixture
def site(make_site):
    """The village with a registry; three windows are settled, each is a batch."""
    site = make_site("lived", registry=registry, batching=BatchPolicy(windows=1))
    site.live(until=site.start + 5400)
    site.loop.run(site.service.form_batches())
    return site


def submit(site, **changes):
    fields = signed_batch(site) | {"request_id": site.request_id()} | changes
    return pb.SubmitBatchSignatureRequest(**fields)


def listed(site, **fields):
    return site.validator.ListBatches(pb.ListBatchesRequest(parent=NAME, **fields))


class TestRegistry:
    def test_validators_auditors_and_operators_are_told_which_it_is(self, site):
        for who in ("validator/val", "auditor/aud", "operator/op"):
            stub = site.stub(validator_pb2_grpc.ValidatorServiceStub, who)
            answer = stub.GetRegistry(pb.GetRegistryRequest(parent=NAME))
            assert (answer.chain_id, answer.contract.hex()) == (7, DOMAIN.contract[2:])
            assert (answer.epoch, answer.threshold) == (0, 3)
            assert ["0x" + one.hex() for one in answer.validators] == sorted(map(address, KEYS))

    def test_before_there_is_one_it_is_said(self, settled):
        answer = settled.refused(settled.validator.GetRegistry, pb.GetRegistryRequest(parent=NAME))
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "NO_REGISTRY")


class TestList:
    def test_batches_come_in_their_order_each_with_its_headers(self, site):
        found = listed(site).batches
        assert [one.number for one in found] == [0, 1, 2]
        assert [[header.window for header in one.headers] for one in found] == [[site.window(k)] for k in range(3)]
        assert [one.previous for one in found[1:]] == [one.hash for one in found[:-1]]
        assert {one.state for one in found} == {pb.BATCH_STATE_PENDING}

    def test_a_page_ends_where_it_is_asked_to(self, site):
        first = listed(site, page_size=2)
        rest = listed(site, page_size=2, page_token=first.next_page_token)
        assert [one.number for one in (*first.batches, *rest.batches)] == [0, 1, 2]
        assert (bool(first.next_page_token), rest.next_page_token) == (True, "")

    def test_it_begins_at_a_number(self, site):
        assert [one.number for one in listed(site, from_number=2).batches] == [2]

    def test_a_validator_finds_what_it_has_not_signed(self, site):
        for number in (0, 1):
            site.validator.SubmitBatchSignature(submit(site, **signed_batch(site, number)))
        own, other = (bytes.fromhex(address(key)[2:]) for key in KEYS[:2])
        assert [one.number for one in listed(site, unsigned_by=own).batches] == [2]
        assert [one.number for one in listed(site, unsigned_by=other, page_size=2).batches] == [0, 1]

    def test_a_malformed_address_is_invalid(self, site):
        answer = site.refused(site.validator.ListBatches, pb.ListBatchesRequest(parent=NAME, unsigned_by=b"x"))
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("unsigned_by",))


class TestSubmit:
    def test_signatures_are_kept_by_their_signers_and_counted(self, site):
        for count, key in enumerate(KEYS, start=1):
            answer = site.validator.SubmitBatchSignature(submit(site, **signed_batch(site, key=key)))
            assert (answer.signatures, answer.threshold) == (count, 3)
        signed = listed(site).batches[0].signatures
        assert ["0x" + one.validator.hex() for one in signed] == sorted(map(address, KEYS))
        assert {one.signature for one in signed} == {signed_batch(site, key=key)["signature"] for key in KEYS}

    def test_the_same_again_has_the_same_answer(self, site):
        first = site.validator.SubmitBatchSignature(submit(site))
        before = site.rows("batch_signatures")
        assert site.validator.SubmitBatchSignature(submit(site)) == first
        assert site.rows("batch_signatures") == before

    def test_a_stranger_is_refused_by_address(self, site):
        key = bytes([9]) * 32
        answer = site.refused(site.validator.SubmitBatchSignature, submit(site, **signed_batch(site, key=key)))
        assert (answer.code, answer.reason) == (StatusCode.PERMISSION_DENIED, "NOT_A_VALIDATOR")
        assert f"got signer {address(key)}, wanted one of the 5 validators of epoch 0" in answer.message

    def test_one_that_was_revoked_is_a_stranger(self, make_site):
        site = make_site("lived", registry=lambda: registry(KEYS[1:], epoch=1))
        site.loop.run(site.service.form_batches())
        answer = site.refused(site.validator.SubmitBatchSignature, submit(site))
        assert (answer.code, answer.reason) == (StatusCode.PERMISSION_DENIED, "NOT_A_VALIDATOR")
        assert "4 validators of epoch 1" in answer.message

    def test_what_a_validator_signed_before_it_was_revoked_counts_no_more(self, make_site):
        known = registry()
        site = make_site("lived", registry=lambda: known)
        site.loop.run(site.service.form_batches())
        site.validator.SubmitBatchSignature(submit(site))
        known = registry(KEYS[1:], epoch=1)
        answer = site.validator.SubmitBatchSignature(submit(site, **signed_batch(site, key=KEYS[1])))
        assert answer.signatures == 1

    @pytest.mark.parametrize(
        "domain",
        [Domain(chain_id=8, contract=DOMAIN.contract), Domain(chain_id=7, contract=Address("0x" + "0d" * 20))],
    )
    def test_a_signature_for_another_registry_is_a_strangers(self, site, domain):
        answer = site.refused(site.validator.SubmitBatchSignature, submit(site, **signed_batch(site, domain=domain)))
        assert (answer.code, answer.reason) == (StatusCode.PERMISSION_DENIED, "NOT_A_VALIDATOR")

    def test_another_hash_is_refused(self, site):
        for wrong in (bytes(32), b"", signed_batch(site, 1)["hash"]):
            answer = site.refused(site.validator.SubmitBatchSignature, submit(site, hash=wrong))
            assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("hash",))

    @pytest.mark.parametrize("length", [0, 64, 66])
    def test_a_signature_of_another_length_is_none(self, site, length):
        answer = site.refused(site.validator.SubmitBatchSignature, submit(site, signature=bytes(length)))
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("signature",))

    def test_its_other_half_does_not_count(self, site):
        """High s: the same signature once more, spelt otherwise."""
        signature = signed_batch(site)["signature"]
        high = ORDER - int.from_bytes(signature[32:64])
        twin = signature[:32] + high.to_bytes(32) + bytes([55 - signature[64]])
        answer = site.refused(site.validator.SubmitBatchSignature, submit(site, signature=twin))
        assert (answer.code, answer.fields) == (StatusCode.INVALID_ARGUMENT, ("signature",))
        assert "upper half" in answer.message

    def test_a_batch_that_is_not_there_is_not_found(self, site):
        answer = site.refused(site.validator.SubmitBatchSignature, submit(site, number=3))
        assert answer.code is StatusCode.NOT_FOUND

    def test_a_registry_that_is_not_ready_takes_none(self, settled):
        settled.loop.run(settled.service.form_batches())
        answer = settled.refused(settled.validator.SubmitBatchSignature, submit(settled))
        assert (answer.code, answer.reason) == (StatusCode.FAILED_PRECONDITION, "NO_REGISTRY")


class TestEvidence:
    def test_who_asks_is_in_the_access_journal(self, site):
        site.validator.GetWindowEvidence(pb.GetWindowEvidenceRequest(window=site.window(0)))
        site.advance()
        site.loop.run(site.service.flush())
        assert "GetWindowEvidence" in {row["method"] for row in site.rows("accesses")}

    def test_it_has_only_what_counted(self, site):
        site.dso.CreateEnvelope(site.envelope_request(site.envelope("later")))
        answer = site.validator.GetWindowEvidence(pb.GetWindowEvidenceRequest(window=site.window(0)))
        assert not answer.limits
        assert len(answer.orders) == len(site.members)
        assert {key.key_id for key in answer.keys} == {"order-ada", "order-bob", "order-eve", "reading-gateway"}

    @pytest.mark.parametrize(("window", "run"), [(0, 1), (3, 0)])
    def test_of_what_is_not_settled_there_is_none(self, site, window, run):
        request = pb.GetWindowEvidenceRequest(window=site.window(window), run=run)
        with pytest.raises(grpc.RpcError):
            site.validator.GetWindowEvidence(request)
