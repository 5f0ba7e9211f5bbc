from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import EvidenceError
from contracts.evidence import read_directory
from contracts.leaves import Leaf, PostingLeaf, ReadingLeaf, TradeLeaf
from contracts.proof_file import prove, write_proof
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


def test_a_record_shown_as_another_kind_is_refused(proof_of: Callable[..., Path], settled: Any) -> None:
    path = proof_of(TradeLeaf)
    rewrite(path, lambda proof: proof.update(kind="posting"))
    with pytest.raises(EvidenceError, match="field"):
        verify_path(path, root=settled.root)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        (field, wrong)
        for field in ("kind", "record", "proof", "headers", "registry")
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
