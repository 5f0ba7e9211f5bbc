from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.chain import EmbeddedChain
from contracts.errors import EvidenceError
from contracts.evidence import read_directory
from contracts.hashing import keccak
from contracts.leaves import Leaf, PostingLeaf, ReadingLeaf, TradeLeaf
from contracts.proof_checks import check_on_chain
from contracts.proof_file import SingleProof, prove, read_proof_file, write_proof
from contracts.verify import main, verify_path

KINDS: list[type[Leaf]] = [TradeLeaf, ReadingLeaf, PostingLeaf]
FIELDS = [(kind, name) for kind in KINDS for name in kind.columns()]


@pytest.fixture
def proof_of(directory: Path, settled: Any, tmp_path: Path) -> Callable[[type[Leaf]], Path]:
    """Writes the proof of record 1 of the second window of a kind."""

    def write(kind: type[Leaf]) -> Path:
        window = settled.headers[1].window
        path = tmp_path / f"{kind.kind_name}.json"
        evidence = read_directory(directory)
        write_proof(path, prove(evidence, settled.deployment.registry, kind, window=window, index=1))
        return path

    return write


def rewrite(path: Path, change: Callable[[Any], None]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def altered(value: Any) -> Any:
    if isinstance(value, int):
        return value + 1
    if isinstance(value, list):
        return value[:-1]
    if isinstance(value, dict):
        return {name: altered(each) for name, each in value.items()}
    return value[:-1] + ("0" if value[-1] != "0" else "1") if value.startswith("0x") else value + "x"


@pytest.mark.parametrize("kind", KINDS)
def test_a_proof_leads_to_the_root(proof_of: Callable[..., Path], settled: Any, kind: type[Leaf]) -> None:
    report = verify_path(proof_of(kind), root=settled.root)
    assert report.failures == ()


@pytest.mark.parametrize("kind", KINDS)
def test_a_proof_reveals_no_other_record(proof_of: Callable[..., Path], kind: type[Leaf]) -> None:
    text = proof_of(kind).read_text()
    assert text.count('"salt"') == 1


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_an_altered_record_is_named(proof_of: Callable[..., Path], settled: Any, kind: type[Leaf], name: str) -> None:
    path = proof_of(kind)
    rewrite(path, lambda proof: proof["record"].update({name: altered(proof["record"][name])}))
    report = verify_path(path, root=settled.root)
    assert any(f"record: {kind.kind_name}" in failure for failure in report.failures)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("name", ["trades_root", "trades_count", "window_start", "previous", "turnover_micro"])
def test_an_altered_header_is_named(proof_of: Callable[..., Path], settled: Any, place: int, name: str) -> None:
    path = proof_of(TradeLeaf)
    rewrite(
        path,
        lambda proof: proof["headers"][place].update({name: altered(proof["headers"][place][name])}),
    )
    assert f"header {place + 1}" in "\n".join(verify_path(path, root=settled.root).failures)


@pytest.mark.parametrize(
    "change",
    [
        lambda proof: proof["headers"].pop(),
        lambda proof: proof["headers"].pop(0),
        lambda proof: proof["headers"].reverse(),
        lambda proof: proof["proof"].pop(),
        lambda proof: proof["proof"].append("0x" + "00" * 32),
    ],
    ids=["last header gone", "own header gone", "headers reversed", "proof shorter", "proof longer"],
)
def test_an_altered_proof_fails(proof_of: Callable[..., Path], settled: Any, change: Callable[[Any], None]) -> None:
    path = proof_of(TradeLeaf)
    rewrite(path, change)
    assert not verify_path(path, root=settled.root).ok


@pytest.mark.parametrize("field", ["number", "previous", "windows_root", "position", "path", "signatures"])
def test_an_altered_batch_is_named(proof_of: Callable[..., Path], settled: Any, field: str) -> None:
    path = proof_of(TradeLeaf)
    rewrite(path, lambda proof: proof["batch"].update({field: altered(proof["batch"][field])}))
    assert "batch " in "\n".join(verify_path(path, root=settled.root).failures)


@pytest.mark.parametrize("field", ["chain_id", "address"])
def test_signatures_count_for_one_registry_alone(proof_of: Callable[..., Path], settled: Any, field: str) -> None:
    path = proof_of(TradeLeaf)
    rewrite(path, lambda proof: proof["registry"].update({field: altered(proof["registry"][field])}))
    assert "signature of 0x" in "\n".join(verify_path(path, root=settled.root).failures)


def test_the_batch_s_hash_is_a_root_as_well(proof_of: Callable[..., Path], settled: Any) -> None:
    path = proof_of(TradeLeaf)
    rewrite(path, lambda proof: proof.update(headers=proof["headers"][:1]))
    assert verify_path(path, root=settled.batches[0].batch.hash).ok
    assert not verify_path(path, root=settled.batches[1].batch.hash).ok


@pytest.fixture(scope="module")
def chain(settled: Any) -> EmbeddedChain:
    """The chain that the evidence's transactions make."""
    return EmbeddedChain(settled.chain.genesis, [entry.raw for entry in settled.chain.transactions])


class TestOnChain:
    """Against a chain, with nothing of the service."""

    @pytest.fixture
    def proof(self, proof_of: Callable[..., Path]) -> SingleProof:
        """Of a trade in the first batch, under validators who are no more."""
        return read_proof_file(proof_of(TradeLeaf))

    def test_a_proof_is_what_the_contract_holds(self, chain: EmbeddedChain, proof: SingleProof) -> None:
        assert proof.batch.transaction is not None
        assert check_on_chain(chain, proof, "here").failures == ()

    def test_what_it_does_not_hold_is_named(self, chain: EmbeddedChain, proof: SingleProof) -> None:
        batch = proof.batch
        later = replace(proof, batch=replace(batch, number=2, previous=b"\x01" * 32))
        assert "batch 2: the contract holds nothing" in check_on_chain(chain, later, "here").failures[0]
        other = replace(proof, batch=replace(batch, windows_root=b"\x01" * 32))
        assert "batch 0: the contract holds 0x" in check_on_chain(chain, other, "here").failures[0]
        elsewhere = replace(proof, registry=replace(proof.registry, address="0x" + "11" * 20))
        assert "code hash" in check_on_chain(chain, elsewhere, "here").failures[0]

    def test_another_transaction_is_named(self, chain: EmbeddedChain, settled: Any, proof: SingleProof) -> None:
        for raw in (b"", settled.chain.transactions[0].raw, settled.chain.transactions[3].raw):
            other = replace(proof, batch=replace(proof.batch, transaction=keccak(raw)))
            assert "did not anchor it there" in check_on_chain(chain, other, "here").failures[0]
        assert (
            check_on_chain(chain, replace(proof, batch=replace(proof.batch, transaction=None)), "here").failures == ()
        )

    def test_too_few_signatures_are_named(self, chain: EmbeddedChain, proof: SingleProof) -> None:
        two = dict(list(proof.batch.signatures.items())[:2])
        few = replace(proof, batch=replace(proof.batch, signatures=two))
        assert "got 2 signatures, of too few of the contract's validators" in check_on_chain(chain, few, "").failures[0]


def test_a_record_shown_as_another_kind_is_refused(proof_of: Callable[..., Path], settled: Any) -> None:
    path = proof_of(TradeLeaf)
    rewrite(path, lambda proof: proof.update(kind="posting"))
    with pytest.raises(EvidenceError, match="field"):
        verify_path(path, root=settled.root)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        (field, wrong)
        for field in ("kind", "record", "proof", "headers", "batch", "registry")
        for wrong in (None, 1, "x", [], [[]], {})
        if (field, wrong) != ("proof", [])  # the path in a tree of one leaf
    ],
)
def test_a_malformed_proof_is_refused(proof_of: Callable[..., Path], settled: Any, field: str, wrong: object) -> None:
    path = proof_of(TradeLeaf)
    rewrite(path, lambda proof: proof.update({field: wrong}))
    with pytest.raises(EvidenceError, match=path.name):
        verify_path(path, root=settled.root)


def test_a_missing_file_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nothing.json"), "--root", "00" * 32]) == 2
    assert "nothing.json" in capsys.readouterr().err


def test_a_record_that_is_not_there_has_no_proof(directory: Path, settled: Any) -> None:
    evidence = read_directory(directory)
    with pytest.raises(EvidenceError, match="a trade of the evidence"):
        prove(evidence, settled.deployment.registry, TradeLeaf, window="nowhere", index=0)
