"""The directory that proves a microgrid's books, as values, as files, and back.

==================  =========================================================================================
file                holds
==================  =========================================================================================
``headers.jsonl``   one header a line, with its hash, in the order of the chain of headers
``batches.jsonl``   one batch of headers a line, with its hash and what validators signed under it
``trades.jsonl``    one trade a line, with its leaf and its proof up to its header's root
``readings.jsonl``  the same for readings
``postings.jsonl``  the same for postings
``chain.json``      the embedded chain's genesis, the contract, and the signed transactions that replay it
==================  =========================================================================================

A directory holds one header for each run of each window, from the microgrid's first window on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Self, TypeVar

from contracts.batch import first_hole
from contracts.batch_evidence import SignedBatch, StatedBatch
from contracts.books import WindowBooks
from contracts.chain_evidence import ChainEvidence, read_hash
from contracts.errors import EvidenceError
from contracts.hashing import to_hex
from contracts.header import WindowHeader
from contracts.leaves import Leaf, PostingLeaf, ReadingLeaf, TradeLeaf
from contracts.merkle import MerkleTree
from contracts.records import read_object
from contracts.runs import KINDS, records_by_run, runs_by_window
from contracts.strict_json import read_lines, read_value, write_lines

HEADERS_FILE = "headers.jsonl"
BATCHES_FILE = "batches.jsonl"
CHAIN_FILE = "chain.json"

T = TypeVar("T")
L = TypeVar("L", bound=Leaf)
LeafT_co = TypeVar("LeafT_co", bound=Leaf, covariant=True)


def file_of(kind: type[Leaf]) -> str:
    """Name of the file that holds records of a kind."""
    return f"{kind.kind_name}s.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedHeader:
    """A header as evidence states it.

    Attributes
    ----------
    header : WindowHeader
        What it says.
    hash : bytes
        The hash stated for it, which may be wrong.
    place : str
        File and line, for messages.
    """

    header: WindowHeader
    hash: bytes
    place: str

    @classmethod
    def from_json(cls, value: object, place: str) -> Self:
        """The header that a line spells."""
        fields = read_object(value, (*WindowHeader.columns(), "hash"))
        stated = read_hash(fields.pop("hash"), "hash")
        return cls(header=WindowHeader.from_json(fields), hash=stated, place=place)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedRecord(Generic[LeafT_co]):
    """A record as evidence states it.

    Attributes
    ----------
    record : Leaf
        What it says.
    leaf : bytes
        The leaf hash stated for it, which may be wrong.
    proof : tuple of bytes
        The path stated for it up to its header's root, which may be wrong.
    place : str
        File and line, for messages.
    """

    record: LeafT_co
    leaf: bytes
    proof: tuple[bytes, ...]
    place: str

    @property
    def name(self) -> str:
        """How messages name it: where it is and what it is."""
        return f"{self.place}: {self.record.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedBooks:
    """Headers and the records that they commit to, not yet checked."""

    headers: tuple[StatedHeader, ...]
    trades: tuple[StatedRecord[TradeLeaf], ...]
    readings: tuple[StatedRecord[ReadingLeaf], ...]
    postings: tuple[StatedRecord[PostingLeaf], ...]

    def records(self) -> tuple[StatedRecord[Leaf], ...]:
        """Records of all kinds."""
        return (*self.trades, *self.readings, *self.postings)

    def of_kind(self, kind: type[Leaf]) -> tuple[StatedRecord[Leaf], ...]:
        """Records of one kind."""
        return tuple(stated for stated in self.records() if isinstance(stated.record, kind))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence(StatedBooks):
    """A whole directory, read but not yet checked."""

    batches: tuple[StatedBatch, ...]
    chain: ChainEvidence


def export_directory(
    directory: Path,
    *,
    headers: Sequence[WindowHeader],
    batches: Sequence[SignedBatch],
    trades: Iterable[TradeLeaf],
    readings: Iterable[ReadingLeaf],
    postings: Iterable[PostingLeaf],
    chain: ChainEvidence,
) -> None:
    """Write the directory that proves these books; equal books give equal bytes.

    Each file appears whole or not at all; other files of the directory stay as they are.

    Parameters
    ----------
    directory : Path
        Made where it is missing.
    headers : sequence of WindowHeader
        In the order of their chain, one for each run of each window.
    batches : sequence of SignedBatch
        In the order of their numbers; together they have these headers.
    trades, readings, postings : iterable of leaves
        In any order.
    chain : ChainEvidence
        What replays the chain.

    Raises
    ------
    EvidenceError
        If a run of a window has two headers, a record has none, a header does not commit to its records, or the
        batches have other headers.
    """
    if len({(header.window, header.run) for header in headers}) != len(headers):
        raise EvidenceError("one header for each run of a window", got=[header.window for header in headers])
    if (hole := first_hole([signed.batch for signed in batches])) is not None:
        raise EvidenceError("batches that follow each other", got=hole)
    if [each for signed in batches for each in signed.batch.headers] != [header.hash for header in headers]:
        raise EvidenceError("batches of these headers", got=[signed.batch.number for signed in batches])
    windows = runs_by_window(headers)
    by_run: dict[tuple[str, int], WindowBooks] = {}
    grouped = (_by_window(trades), _by_window(readings), _by_window(postings))
    for window in set().union(*grouped) | set(windows):
        if window not in windows:
            raise EvidenceError("records of windows that have a header", got=window)
        runs = windows[window]
        parts = zip(
            records_by_run(runs, grouped[0][window], TradeLeaf),
            records_by_run(runs, grouped[1][window], ReadingLeaf),
            records_by_run(runs, grouped[2][window], PostingLeaf),
            strict=True,
        )
        for run, (own_trades, own_readings, own_postings) in zip(runs, parts, strict=True):
            by_run[window, run.header.run] = WindowBooks(
                trades=own_trades, readings=own_readings, postings=own_postings
            )
        for kind, count in zip(KINDS, (len(group[window]) for group in grouped), strict=True):
            wanted = runs[-1].span(kind).stop
            if count != wanted:
                got = f"{count} {kind.kind_name}s of window {window}"
                raise EvidenceError(f"{wanted}, as the headers count", got=got)
    directory.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[object]] = {file_of(kind): [] for kind in (TradeLeaf, ReadingLeaf, PostingLeaf)}
    for header in headers:
        _add_lines(lines, header, by_run[header.window, header.run])
    for file, values in lines.items():
        write_lines(directory / file, values)
    write_lines(directory / HEADERS_FILE, ({**header.to_json(), "hash": to_hex(header.hash)} for header in headers))
    write_lines(directory / BATCHES_FILE, (signed.to_json() for signed in batches))
    write_lines(directory / CHAIN_FILE, [chain.to_json()])


def _by_window(leaves: Iterable[L]) -> defaultdict[str, list[L]]:
    grouped: defaultdict[str, list[L]] = defaultdict(list)
    for leaf in sorted(leaves, key=lambda leaf: leaf.index):
        grouped[leaf.window].append(leaf)
    return grouped


def _add_lines(lines: dict[str, list[object]], header: WindowHeader, books: WindowBooks) -> None:
    settlement: tuple[Leaf, ...] = (*books.readings, *books.postings)
    for tree, leaves, root in (
        (books.trades_tree(), books.trades, header.trades_root),
        (books.settlement_tree(), settlement, header.settlement_root),
    ):
        if tree.root != root:
            raise EvidenceError(f"root {to_hex(root)} of window {header.window}", got=to_hex(tree.root))
        for place, leaf in enumerate(leaves):
            lines[file_of(type(leaf))].append(line_of(leaf, tree, place))


def line_of(leaf: Leaf, tree: MerkleTree, place: int) -> dict[str, object]:
    """What evidence says of the leaf that is number `place` of a tree."""
    proof = [to_hex(sibling) for sibling in tree.proof(place)]
    return {**leaf.to_json(), "leaf": to_hex(leaf.hash), "proof": proof}


def read_directory(directory: Path) -> Evidence:
    """What a directory says, well-formed but not checked.

    Raises
    ------
    EvidenceError
        If a file is missing or malformed; the error names file, line and field.
    """
    if not directory.is_dir():
        raise EvidenceError("a directory", got=str(directory))
    headers = _read_stated(directory, HEADERS_FILE, StatedHeader.from_json)
    if not headers:
        raise EvidenceError("at least one header", got="none", file=HEADERS_FILE)
    try:
        chain = ChainEvidence.from_json(read_value(directory / CHAIN_FILE))
    except EvidenceError as err:
        raise err.at(CHAIN_FILE) from err
    return Evidence(
        headers=headers,
        batches=_read_stated(directory, BATCHES_FILE, StatedBatch.from_json),
        trades=_read_records(directory, TradeLeaf),
        readings=_read_records(directory, ReadingLeaf),
        postings=_read_records(directory, PostingLeaf),
        chain=chain,
    )


def _read_stated(directory: Path, file: str, read: Callable[[object, str], T]) -> tuple[T, ...]:
    found = []
    for number, value in read_lines(directory / file):
        try:
            found.append(read(value, f"{file} line {number}"))
        except EvidenceError as err:
            raise err.at(file, number) from err
    return tuple(found)


def _read_records(directory: Path, kind: type[L]) -> tuple[StatedRecord[L], ...]:
    records = []
    file = file_of(kind)
    for number, value in read_lines(directory / file):
        try:
            fields = read_object(value, (*kind.columns(), "leaf", "proof"))
            leaf, proof = read_hash(fields.pop("leaf"), "leaf"), read_proof(fields.pop("proof"))
            record = kind.from_json(fields)
        except EvidenceError as err:
            raise err.at(file, number) from err
        records.append(StatedRecord(record=record, leaf=leaf, proof=proof, place=f"{file} line {number}"))
    return tuple(records)


def read_proof(value: object, field: str = "proof") -> tuple[bytes, ...]:
    """The path that a JSON value spells."""
    if not isinstance(value, list):
        raise EvidenceError("a JSON array of hashes", got=value, field=field)
    return tuple(read_hash(sibling, field) for sibling in value)
