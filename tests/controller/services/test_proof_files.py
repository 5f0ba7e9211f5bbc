"""Proofs as members get them, checked with nothing of the service."""

import json
from itertools import pairwise

import pytest

from contracts.errors import ContractsError
from contracts.proof_checks import check_on_chain
from contracts.proof_file import read_proof_file
from contracts.verify import verify_path
from controller.attesting import only
from controller.registry_identity import RegistryIdentity
from gridpact.v1 import audit_pb2, audit_pb2_grpc, participant_pb2
from tests.controller.chains import KEY, OwnChain


@pytest.fixture
def own():
    """A chain of the service's own."""
    return OwnChain()


@pytest.fixture
def site(make_site, own):
    """A window is settled; the service knows its registry."""
    known = RegistryIdentity(domain=own.deployment.registry.domain, genesis=None, quorum=only(KEY), self_attested=True)
    return make_site("lived", anchored=own.anchored, registry=lambda: known)


def proof(site, index=0, member="ada"):
    request = participant_pb2.GetTradeProofRequest(name=f"{site.window(0)}/trades/{index}")
    return site.participant(member).GetTradeProof(request).proof


def test_before_its_header_is_in_a_batch_there_is_no_file(site):
    assert proof(site).file_json == ""


def test_a_member_proves_its_trade_by_the_chain_alone(site, own, tmp_path):
    site.anchor()
    path = tmp_path / "proof.json"
    path.write_text(proof(site).file_json)
    found = read_proof_file(path)
    assert found.batch.transaction is not None
    assert check_on_chain(own.chain, found, "here").failures == ()
    report = verify_path(path, root=site.rows("batches")[0]["hash"], contract=own.deployment.registry.address)
    assert [check.failures for check in report.checks if check.failures] == []


@pytest.mark.slow
def test_no_digit_of_it_can_be_another(site, own, tmp_path):
    site.anchor()
    text = proof(site).file_json
    root = site.rows("batches")[0]["hash"]
    path = tmp_path / "proof.json"
    places = [k for k, (before, digit) in enumerate(pairwise(" " + text)) if digit in "0123456789" and before != "x"]
    for place in places[::61]:
        path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
        try:
            found = read_proof_file(path)
            failed = [*verify_path(path, root=root).failures, *check_on_chain(own.chain, found, "here").failures]
        except ContractsError:
            continue
        assert failed, text[place - 20 : place + 20]


def test_an_auditor_proves_any_record(site, own, tmp_path):
    site.anchor()
    auditor = site.stub(audit_pb2_grpc.AuditServiceStub, "auditor/aud").GetProof
    for collection in ("trades", "readings", "postings"):
        answer = auditor(audit_pb2.GetProofRequest(name=f"{site.window(0)}/{collection}/1")).proof
        path = tmp_path / f"{collection}.json"
        path.write_text(answer.file_json)
        assert json.loads(answer.file_json)["record"] == json.loads(answer.record_json)
        assert check_on_chain(own.chain, read_proof_file(path), "here").failures == ()
