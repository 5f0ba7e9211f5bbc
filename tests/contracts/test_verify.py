from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from contracts import verify
from contracts.batch import Batch
from contracts.chain_evidence import ChainEvidence
from contracts.errors import EvidenceError
from contracts.header import WindowHeader
from contracts.leaves import Leaf, PostingLeaf, ReadingLeaf, TradeLeaf
from contracts.quorum import sign
from contracts.registry import Registry
from contracts.report import Check, Report
from contracts.verify import main, parse_root, verify_directory, verify_path
from tests.contracts.validators import address_of, key_of

KINDS: dict[str, type[Leaf]] = {
    "trades.jsonl": TradeLeaf,
    "readings.jsonl": ReadingLeaf,
    "postings.jsonl": PostingLeaf,
}
RECORD_FIELDS = [(file, name) for file, kind in KINDS.items() for name in [*kind.columns(), "leaf", "proof"]]
FILES = [*KINDS, "headers.jsonl", "batches.jsonl", "chain.json"]


def altered(value: Any) -> Any:
    """The value, changed by one unit and still well-formed."""
    match value:
        case int():
            return value + 1
        case str() if value.startswith("0x"):
            return value[:-1] + ("0" if value[-1] != "0" else "1")
        case str():
            return value + "x"
        case [first, *rest]:
            return [altered(first), *rest]
    raise AssertionError(value)


@pytest.fixture(autouse=True, scope="module")
def _replayed_once() -> Iterator[None]:
    """Lets equal transactions be replayed once: that is most of what a check costs, and most tests alter none."""
    known: dict[str, Check] = {}
    replay = verify.check_replay

    def check_replay(chain: ChainEvidence, registry: Registry, batches: Sequence[Batch | None]) -> Check:
        key = json.dumps([chain.to_json(), [None if batch is None else batch.hash.hex() for batch in batches]])
        if key not in known:
            known[key] = replay(chain, registry, batches)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "check_replay", check_replay)
        yield


@pytest.fixture
def failures(directory: Path, settled: Any) -> Callable[[], str]:
    """All failures of checking the directory against the root that it had."""
    return lambda: "\n".join(verify_directory(directory, root=settled.root).failures)


def test_untouched_evidence_passes(directory: Path, settled: Any) -> None:
    report = verify_directory(directory, root=settled.root)
    assert report.failures == ()
    assert list(report.lines())[-1].startswith("VERIFIED")
    assert len(report.checks) == 11


def test_evidence_without_a_database_passes(tmp_path: Path, export_to: Callable[[Path], None], settled: Any) -> None:
    export_to(tmp_path)
    assert verify_directory(tmp_path, root=settled.root).ok


def test_export_is_the_same_byte_for_byte(directory: Path, tmp_path: Path, export_to: Callable[[Path], None]) -> None:
    export_to(tmp_path / "again")
    for file in FILES:
        assert (tmp_path / "again" / file).read_bytes() == (directory / file).read_bytes()
    assert {path.name for path in (tmp_path / "again").iterdir()} == set(FILES)


@pytest.mark.parametrize(("file", "field"), RECORD_FIELDS)
def test_an_altered_record_is_named(
    failures: Callable[[], str], lines: Callable[[str], Any], file: str, field: str
) -> None:
    values = lines(file).read()
    record = values[4]
    name = f"{KINDS[file].kind_name} {record['index']} of window {record['window']}"
    record[field] = altered(record[field])
    lines(file).write(values)
    assert f"{file} line 5" in failures()
    assert name in failures()


@pytest.mark.parametrize("file", KINDS)
def test_a_record_altered_together_with_its_leaf_is_named(
    failures: Callable[[], str], lines: Callable[[str], Any], file: str
) -> None:
    values = lines(file).read()
    fields = {name: value for name, value in values[1].items() if name not in {"leaf", "proof"}}
    forged = KINDS[file].from_json({**fields, "salt": "0x" + "ab" * 32})
    values[1].update(forged.to_json(), leaf="0x" + forged.hash.hex())
    lines(file).write(values)
    assert f"{file} line 2: {forged.name}: proof does not lead" in failures()


@pytest.mark.parametrize("file", KINDS)
@pytest.mark.parametrize("place", [0, 4, -1])
def test_a_removed_record_is_named(
    failures: Callable[[], str], lines: Callable[[str], Any], file: str, place: int
) -> None:
    values = lines(file).read()
    gone = values.pop(place)
    lines(file).write(values)
    assert f"{KINDS[file].kind_name} {gone['index']} of window {gone['window']} is missing" in failures()


@pytest.mark.parametrize("file", KINDS)
def test_a_duplicated_record_is_named(failures: Callable[[], str], lines: Callable[[str], Any], file: str) -> None:
    values = lines(file).read()
    lines(file).write([*values, values[2]])
    name = f"{KINDS[file].kind_name} {values[2]['index']} of window {values[2]['window']}"
    assert f"{file} line {len(values) + 1}: {name} is there 2 times" in failures()


@pytest.mark.parametrize("file", KINDS)
def test_records_swapped_between_windows_are_named(
    failures: Callable[[], str], lines: Callable[[str], Any], file: str
) -> None:
    values = lines(file).read()
    one, other = values[0], values[-1]
    one["window"], other["window"] = other["window"], one["window"]
    lines(file).write(values)
    for swapped in (one, other):
        assert f"{KINDS[file].kind_name} {swapped['index']} of window {swapped['window']}: leaf" in failures()


@pytest.mark.parametrize("file", KINDS)
def test_order_of_records_does_not_matter(failures: Callable[[], str], lines: Callable[[str], Any], file: str) -> None:
    lines(file).write(lines(file).read()[::-1])
    assert not failures()


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("field", [*(name for name in WindowHeader.columns() if name != "schema"), "hash"])
def test_an_altered_header_is_named(
    failures: Callable[[], str], lines: Callable[[str], Any], place: int, field: str
) -> None:
    values = lines("headers.jsonl").read()
    values[place][field] = altered(values[place][field])
    lines("headers.jsonl").write(values)
    assert f"headers.jsonl line {place + 1}: header of window" in failures()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_removed_header_is_noticed(failures: Callable[[], str], lines: Callable[[str], Any], place: int) -> None:
    values = lines("headers.jsonl").read()
    gone = values.pop(place)
    lines("headers.jsonl").write(values)
    assert f"trade 0 of window {gone['window']}: the window has no header" in failures()


@pytest.mark.parametrize("places", [(0, 1), (1, 2), (0, 2)])
def test_reordered_headers_are_noticed(
    failures: Callable[[], str], lines: Callable[[str], Any], places: tuple[int, int]
) -> None:
    values = lines("headers.jsonl").read()
    one, other = places
    values[one], values[other] = values[other], values[one]
    lines("headers.jsonl").write(values)
    assert f"headers.jsonl line {other + 1}: header of window {values[other]['window']}: previous" in failures()


def test_a_duplicated_header_is_named(failures: Callable[[], str], lines: Callable[[str], Any]) -> None:
    values = lines("headers.jsonl").read()
    lines("headers.jsonl").write([*values, values[1]])
    name = f"headers.jsonl line 4: header of window {values[1]['window']}"
    assert f"{name}: the window has a header before" in failures()


def test_windows_cut_off_at_the_end_do_not_have_the_root(
    failures: Callable[[], str], lines: Callable[[str], Any]
) -> None:
    last = lines("headers.jsonl").read()[-1]["window"]
    for file in (*KINDS, "headers.jsonl"):
        lines(file).write([value for value in lines(file).read() if value["window"] != last])
    assert "headers.jsonl line 2" in failures()
    assert "got root" in failures()


def test_another_root_is_refused(directory: Path) -> None:
    report = verify_directory(directory, root=bytes(32))
    assert len(report.failures) == 1
    assert "got root" in report.failures[0]


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("field", ["number", "first", "count", "previous", "windows_root", "hash"])
def test_an_altered_batch_is_named(
    failures: Callable[[], str], lines: Callable[[str], Any], place: int, field: str
) -> None:
    values = lines("batches.jsonl").read()
    values[place][field] = altered(values[place][field])
    lines("batches.jsonl").write(values)
    assert f"batches.jsonl line {place + 1}: batch {values[place]['number']}" in failures()


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("digit", [2, 40, 66, 100, 131])
def test_an_altered_signature_is_named(
    failures: Callable[[], str], lines: Callable[[str], Any], place: int, digit: int
) -> None:
    values = lines("batches.jsonl").read()
    address, signature = sorted(values[place]["signatures"].items())[1]
    digits = list(signature)
    digits[digit] = "0" if digits[digit] != "0" else "1"
    values[place]["signatures"][address] = "".join(digits)
    lines("batches.jsonl").write(values)
    assert f"batches.jsonl line {place + 1}: batch {place}: signature" in failures()


def test_signatures_of_too_few_or_of_those_who_are_no_validators_any_more_are_named(
    failures: Callable[[], str], lines: Callable[[str], Any], settled: Any
) -> None:
    values = lines("batches.jsonl").read()
    before = dict(values[1]["signatures"])
    validators = settled.deployment.quorum.validators
    values[1]["signatures"] = dict(sorted(before.items())[:2])
    lines("batches.jsonl").write(values)
    assert "batches.jsonl line 2: batch 1: got signatures of 2 validators, wanted 3 of the 5 of epoch 1" in failures()
    digest = settled.deployment.registry.domain.digest(settled.batches[1].batch.hash)
    revoked = {a: "0x" + sign(key_of(n), digest).hex() for n in range(3) if (a := address_of(n)) in validators}
    values[1]["signatures"] |= revoked
    lines("batches.jsonl").write(values)
    assert "got signatures of 2 validators" in failures()


@pytest.mark.parametrize("place", [0, 1])
def test_a_removed_batch_is_noticed(failures: Callable[[], str], lines: Callable[[str], Any], place: int) -> None:
    values = lines("batches.jsonl").read()
    values.pop(place)
    lines("batches.jsonl").write(values)
    assert "it is in no batch" in failures()


def test_a_duplicated_batch_is_named(failures: Callable[[], str], lines: Callable[[str], Any]) -> None:
    values = lines("batches.jsonl").read()
    lines("batches.jsonl").write([*values, values[1]])
    assert "batches.jsonl line 3: batch 1: got number 1, wanted 2" in failures()


def test_reordered_batches_are_named(failures: Callable[[], str], lines: Callable[[str], Any]) -> None:
    lines("batches.jsonl").write(lines("batches.jsonl").read()[::-1])
    assert "batches.jsonl line 1: batch 1: got number 1, wanted 0" in failures()


@pytest.mark.parametrize("digit", [3, 8, 40, -160, -70, -1])
@pytest.mark.parametrize("place", range(4))
def test_an_altered_transaction_is_named(failures: Callable[[], str], directory: Path, place: int, digit: int) -> None:
    with chain_json(directory) as chain:
        digits = list(chain["transactions"][place]["raw"])
        digits[digit] = "0" if digits[digit] != "0" else "1"
        chain["transactions"][place]["raw"] = "".join(digits)
    assert f"chain.json transaction {place + 1}" in failures()


@pytest.mark.parametrize("place", range(4))
def test_a_removed_transaction_is_noticed(failures: Callable[[], str], directory: Path, place: int) -> None:
    with chain_json(directory) as chain:
        chain["transactions"].pop(place)
    expected = {
        0: "deploy: the deployment is missing",
        1: "batch 0: its anchor is missing",
        2: "chain.json transaction 3: anchor of batch 1: signature: got signer",
        3: "batch 1: its anchor is missing",
    }
    assert expected[place] in failures()


def test_a_duplicated_transaction_is_named(failures: Callable[[], str], directory: Path) -> None:
    with chain_json(directory) as chain:
        chain["transactions"].insert(2, chain["transactions"][2])
    assert "chain.json transaction 4: validators of epoch 1: got validators of epoch 2" in failures()


def test_reordered_transactions_are_named(failures: Callable[[], str], directory: Path) -> None:
    with chain_json(directory) as chain:
        chain["transactions"][1:] = chain["transactions"][:0:-1]
    assert "chain.json transaction 2: anchor of batch 1: signature: got signer" in failures()


def test_transactions_that_anchor_each_others_batches_are_named(failures: Callable[[], str], directory: Path) -> None:
    with chain_json(directory) as chain:
        one, other = chain["transactions"][1], chain["transactions"][3]
        one["number"], other["number"] = other["number"], one["number"]
    assert "anchor of batch 1: got one that anchors batch 0" in failures()
    assert "anchor of batch 0: got one that anchors batch 1" in failures()


@pytest.mark.parametrize("purpose", ["deploy", "anchor", "rotate"])
def test_transactions_that_are_something_else_are_named(
    failures: Callable[[], str], directory: Path, purpose: str
) -> None:
    with chain_json(directory) as chain:
        for entry in chain["transactions"][1:]:
            entry["purpose"] = purpose
            if purpose == "deploy":
                del entry["number"]
    said = {"deploy": "deployed already", "anchor": "anchors nothing", "rotate": "appoints nobody"}
    assert said[purpose] in failures()


@pytest.mark.parametrize("field", ["contract", "code_hash"])
def test_an_altered_contract_is_named(failures: Callable[[], str], directory: Path, field: str) -> None:
    with chain_json(directory) as chain:
        chain[field] = altered(chain[field])
    assert f"chain.json {field}" in failures()


def test_a_contract_that_the_verifier_does_not_trust_is_refused(directory: Path, settled: Any) -> None:
    trusted = settled.chain.contract
    assert verify_directory(directory, root=settled.root, contract=trusted).ok
    report = verify_directory(directory, root=settled.root, contract=altered(trusted))
    assert report.failures == (f"got contract {trusted}, wanted {altered(trusted)}",)


@pytest.mark.parametrize(("field", "wrong"), [("chain_id", 7), ("gas_limit", 30_000), ("balances", {})])
def test_an_altered_genesis_is_noticed(failures: Callable[[], str], directory: Path, field: str, wrong: object) -> None:
    with chain_json(directory) as chain:
        chain["genesis"][field] = wrong
    assert "chain.json transaction 1" in failures()


@pytest.mark.parametrize(
    ("file", "column"),
    [
        (file, "ix" if name == "index" else name)
        for file, kind in KINDS.items()
        for name in kind.columns()
        if name != "salt"
    ],
)
def test_an_altered_row_is_named(
    failures: Callable[[], str], lines: Callable[[str], Any], directory: Path, file: str, column: str
) -> None:
    record = lines(file).read()[4]
    table = file.removesuffix(".jsonl")
    value = record["index" if column == "ix" else column]
    execute(directory, f"UPDATE {table} SET {column} = ? WHERE id = 5", altered(value))
    assert f"{KINDS[file].kind_name} {record['index']} of window {record['window']}" in failures()
    assert "run/gridpact.sqlite" in failures()


@pytest.mark.parametrize("file", KINDS)
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("DELETE FROM {table} WHERE id = 5", "missing from table {table}"),
        ("UPDATE {table} SET id = 500 WHERE id = 5", ""),
        ("UPDATE {table} SET ix = 900 WHERE id = 5", "{kind} 900 of window"),
        ("INSERT INTO {table} (window, ix) VALUES ('nowhere', 7)", "{kind} 7 of window 'nowhere': not in"),
    ],
)
def test_rows_are_compared_one_by_one(
    failures: Callable[[], str], directory: Path, file: str, change: str, complaint: str
) -> None:
    names = {"table": file.removesuffix(".jsonl"), "kind": KINDS[file].kind_name}
    execute(directory, change.format(**names))
    assert complaint.format(**names) in failures()
    assert bool(failures()) == bool(complaint)


@pytest.mark.parametrize("file", KINDS)
def test_a_duplicated_row_is_named(
    failures: Callable[[], str], lines: Callable[[str], Any], directory: Path, file: str
) -> None:
    table = file.removesuffix(".jsonl")
    names = ", ".join("ix" if name == "index" else name for name in KINDS[file].columns() if name != "salt")
    execute(directory, f"INSERT INTO {table} ({names}) SELECT {names} FROM {table} WHERE id = 2")
    record = lines(file).read()[1]
    name = f"{KINDS[file].kind_name} {record['index']} of window {record['window']}"
    assert f"{name}: 2 rows of table {table}" in failures()


def test_changes_that_the_database_has_not_taken_in_are_noticed(failures: Callable[[], str], directory: Path) -> None:
    (directory / "run" / "gridpact.sqlite-wal").write_bytes(b"x")
    assert "gridpact.sqlite-wal holds changes" in failures()


def test_a_database_is_only_read(directory: Path, settled: Any) -> None:
    before = sorted((path.name, path.read_bytes()) for path in (directory / "run").iterdir())
    assert verify_directory(directory, root=settled.root).ok
    assert sorted((path.name, path.read_bytes()) for path in (directory / "run").iterdir()) == before


@pytest.mark.parametrize("content", [b"no database", b""])
def test_what_is_no_database_is_refused(directory: Path, settled: Any, content: bytes) -> None:
    (directory / "run" / "gridpact.sqlite").write_bytes(content)
    with pytest.raises(EvidenceError, match=r"run/gridpact\.sqlite"):
        verify_directory(directory, root=settled.root)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(directory: Path, settled: Any, file: str) -> None:
    (directory / file).unlink()
    with pytest.raises(EvidenceError, match=f"{file}.*this file"):
        verify_directory(directory, root=settled.root)


@pytest.mark.parametrize("file", FILES[:-1])
@pytest.mark.parametrize("keep", [-1, -2, 30])
def test_a_truncated_file_is_named(directory: Path, settled: Any, file: str, keep: int) -> None:
    (directory / file).write_bytes((directory / file).read_bytes()[:keep])
    with pytest.raises(EvidenceError, match=f"{file} line .*truncated"):
        verify_directory(directory, root=settled.root)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\n",
        b"\n",
        b"{\n",
        b"[]\n",
        b"null\n",
        b'{"index": NaN}\n',
        b'{"index": 1, "index": 1}\n',
        b"[" * 100_000 + b"\n",
        b"9" * 5000 + b"\n",
        b"\x00\n",
    ],
    ids=range(10),
)
def test_a_malformed_file_is_named(directory: Path, settled: Any, file: str, line: bytes) -> None:
    (directory / file).write_bytes(line)
    with pytest.raises(EvidenceError, match=file):
        verify_directory(directory, root=settled.root)


@pytest.mark.parametrize(("file", "field"), RECORD_FIELDS)
def test_a_mistyped_field_is_placed(
    directory: Path, lines: Callable[[str], Any], settled: Any, file: str, field: str
) -> None:
    values = lines(file).read()
    values[1][field] = None
    lines(file).write(values)
    with pytest.raises(EvidenceError, match=f"{file} line 2 field '{field}': got None"):
        verify_directory(directory, root=settled.root)


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"headers\.jsonl"):
        verify_directory(tmp_path, root=bytes(32))


def test_a_directory_without_headers_is_refused(directory: Path) -> None:
    (directory / "headers.jsonl").write_bytes(b"")
    with pytest.raises(EvidenceError, match="at least one header"):
        verify_directory(directory, root=bytes(32))


def test_what_is_not_there_is_said_so_before_anything_else(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="got 'nothing of that name', wanted exported evidence"):
        verify_path(tmp_path / "nowhere")


def test_neither_root_nor_chain_is_refused(directory: Path) -> None:
    with pytest.raises(EvidenceError, match="got 'neither', wanted --root HASH or --rpc URL"):
        verify_directory(directory)


def test_a_verdict_by_a_chain_alone_says_on_which_contract_it_rests() -> None:
    report = Report(subject="day", checks=(Check(name="one", failures=()),), caveat="you know 0x12 as the contract")
    assert list(report.lines())[-1] == "VERIFIED: day: all 1 checks passed, provided that you know 0x12 as the contract"


def test_a_pipe_in_place_of_a_file_is_refused_without_waiting(directory: Path) -> None:
    (directory / "trades.jsonl").unlink()
    os.mkfifo(directory / "trades.jsonl")
    with pytest.raises(EvidenceError, match=r"trades\.jsonl: got 'something else', wanted a file"):
        verify_directory(directory, root=bytes(32))


@pytest.mark.parametrize("text", ["", "0x", "12", "0x" + "g" * 64, "0x" + "0" * 65])
def test_a_root_is_64_digits(text: str) -> None:
    with pytest.raises(EvidenceError, match="64 hexadecimal digits"):
        parse_root(text)


def test_the_command_says_what_it_checked(directory: Path, settled: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(directory), "--root", "0x" + settled.root.hex().upper()]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("VERIFIED")
    assert main([str(directory), "--root", "00" * 32]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("NOT VERIFIED")


@pytest.mark.parametrize("arguments", [[], ["--root", "12"], ["--rpc", "http://127.0.0.1:9"]])
def test_the_command_says_what_it_cannot_check(
    directory: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main([str(directory), *arguments]) == 2
    assert "CANNOT VERIFY" in capsys.readouterr().err


def execute(directory: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(directory / "run" / "gridpact.sqlite")) as database, database:
        assert database.execute(statement, values).rowcount == 1


class chain_json:  # noqa: N801 (a context manager named after its file)
    """The file chain.json, written back with what was changed."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "chain.json"
        self._value = json.loads(self._path.read_text())

    def __enter__(self) -> Any:
        return self._value

    def __exit__(self, *_: object) -> None:
        self._path.write_text(json.dumps(self._value))
