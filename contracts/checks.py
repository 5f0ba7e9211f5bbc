"""Checks of records and headers against each other: pure functions from evidence to what is wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from contracts.books import WindowBooks, committed_count, committed_root, traded_energy_wh, turnover_micro
from contracts.evidence import Evidence, L, StatedHeader, StatedRecord, file_of
from contracts.hashing import to_hex
from contracts.header import GENESIS_PREVIOUS, WindowHeader
from contracts.leaves import Leaf, PostingLeaf, ReadingLeaf, TradeLeaf
from contracts.merkle import MerkleError, verify_proof
from contracts.report import Check

KINDS: tuple[type[Leaf], ...] = (TradeLeaf, ReadingLeaf, PostingLeaf)


def headers_by_window(headers: Iterable[StatedHeader]) -> dict[str, WindowHeader]:
    """Header of each window; the first where a window has several, which `check_header_order` reports."""
    found: dict[str, WindowHeader] = {}
    for stated in headers:
        found.setdefault(stated.header.window, stated.header)
    return found


def check_leaves(records: Sequence[StatedRecord[Leaf]]) -> Check:
    """Each stated leaf is the hash of its record."""
    failures = (
        f"{stated.name}: leaf does not match: got {to_hex(stated.leaf)}, wanted {to_hex(stated.record.hash)}"
        for stated in records
        if stated.leaf != stated.record.hash
    )
    return Check(name=f"leaves of {len(records)} records", failures=tuple(failures))


def check_proofs(records: Sequence[StatedRecord[Leaf]], headers: dict[str, WindowHeader]) -> Check:
    """Each record's own leaf leads, along its proof, to the root in its window's header."""
    failures = []
    for stated in records:
        header = headers.get(stated.record.window)
        if header is None:
            failures.append(f"{stated.name}: the window has no header")
            continue
        root = committed_root(header, type(stated.record))
        if not verify_proof(stated.record.hash, stated.proof, root):
            failures.append(f"{stated.name}: proof does not lead to the header's root {to_hex(root)}")
    return Check(name=f"proofs of {len(records)} records", failures=tuple(failures))


def check_complete(evidence: Evidence) -> Check:
    """Each window has exactly the records that its header counts: none missing, none twice, none beyond."""
    failures: list[str] = []
    headers = headers_by_window(evidence.headers)
    for kind in KINDS:
        places: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        for stated in evidence.of_kind(kind):
            places[stated.record.window][stated.record.index].append(stated.place)
        for window, header in headers.items():
            failures.extend(_count_failures(kind, window, places.get(window, {}), committed_count(header, kind)))
    return Check(name=f"nothing missing from or added to {len(headers)} windows", failures=tuple(failures))


def _count_failures(kind: type[Leaf], window: str, places: dict[int, list[str]], count: int) -> Iterator[str]:
    # A header may claim billions of records: name what is there or just missing, count the rest.
    beyond = max(places, default=-1) + 1
    for index in range(min(count, beyond)):
        if index not in places:
            yield f"{file_of(kind)}: {kind.kind_name} {index} of window {window} is missing"
    if beyond < count:
        last = f" to {count - 1}" if beyond < count - 1 else ""
        yield f"{file_of(kind)}: {kind.kind_name} {beyond}{last} of window {window} is missing"
    for index, where in places.items():
        if len(where) > 1:
            yield f"{where[-1]}: {kind.kind_name} {index} of window {window} is there {len(where)} times"
        if index >= count:
            yield f"{where[0]}: {kind.kind_name} {index} of window {window}: the header counts only {count}"


def check_books(evidence: Evidence) -> Check:
    """Each window's trees, rebuilt from all its records, and its totals are those of its header."""
    failures: list[str] = []
    trades, readings, postings = (
        _by_window(evidence.trades),
        _by_window(evidence.readings),
        _by_window(evidence.postings),
    )
    for stated in evidence.headers:
        window = stated.header.window
        books = WindowBooks(
            trades=tuple(trades.get(window, ())),
            readings=tuple(readings.get(window, ())),
            postings=tuple(postings.get(window, ())),
        )
        failures.extend(f"{_name(stated)}: {failure}" for failure in _book_failures(stated.header, books))
    return Check(name=f"roots and totals of {len(evidence.headers)} windows", failures=tuple(failures))


def _by_window(records: Iterable[StatedRecord[L]]) -> dict[str, list[L]]:
    grouped: dict[str, list[L]] = defaultdict(list)
    for stated in sorted(records, key=lambda stated: stated.record.index):
        grouped[stated.record.window].append(stated.record)
    return grouped


def _book_failures(header: WindowHeader, books: WindowBooks) -> Iterator[str]:
    for what, build, root in (
        ("trades_root", books.trades_tree, header.trades_root),
        ("settlement_root", books.settlement_tree, header.settlement_root),
    ):
        try:
            rebuilt = build().root
        except MerkleError as err:
            yield f"{what}: {err}"
            continue
        if rebuilt != root:
            yield f"{what}: got {to_hex(root)}, the records give {to_hex(rebuilt)}"
    energy, turnover = traded_energy_wh(books.trades), turnover_micro(books.trades)
    if header.traded_energy_wh != energy:
        yield f"traded_energy_wh: got {header.traded_energy_wh}, the trades give {energy}"
    if header.turnover_micro != turnover:
        yield f"turnover_micro: got {header.turnover_micro}, the trades give {turnover}"
    if balance := sum(posting.amount_micro for posting in books.postings):
        yield f"postings sum to {balance} micro-currency, wanted 0"


def check_headers(headers: Sequence[StatedHeader]) -> Check:
    """Each header has its stated hash and follows the one before it, in one microgrid, in time."""
    failures = [
        f"{_name(stated)}: hash does not match: got {to_hex(stated.hash)}, wanted {to_hex(stated.header.hash)}"
        for stated in headers
        if stated.hash != stated.header.hash
    ]
    for before, stated in pairwise(headers):
        earlier, header = before.header, stated.header
        if header.previous != earlier.hash:
            failures.append(
                f"{_name(stated)}: previous: got {to_hex(header.previous)}, "
                f"the header before it has {to_hex(earlier.hash)}"
            )
        if header.microgrid != earlier.microgrid:
            failures.append(f"{_name(stated)}: microgrid: got {header.microgrid}, wanted {earlier.microgrid}")
        if header.window_start < earlier.window_end:
            failures.append(
                f"{_name(stated)}: window_start: got {header.window_start}, "
                f"wanted at least {earlier.window_end}, where the window before ends"
            )
    windows = [stated.header.window for stated in headers]
    failures += [
        f"{_name(stated)}: the window has a header before"
        for place, stated in enumerate(headers)
        if stated.header.window in windows[:place]
    ]
    return Check(name=f"chain of {len(headers)} headers", failures=tuple(failures))


def check_first_header(headers: Sequence[StatedHeader]) -> Check:
    """The first header is the microgrid's first: nothing was cut off before it."""
    first = headers[0]
    failures = []
    if first.header.previous != GENESIS_PREVIOUS:
        failures.append(
            f"{_name(first)}: previous: got {to_hex(first.header.previous)}, "
            f"wanted {to_hex(GENESIS_PREVIOUS)} as the first header has: headers are missing before it"
        )
    return Check(name="the first header has none before it", failures=tuple(failures))


def check_root(headers: Sequence[StatedHeader], root: bytes) -> Check:
    """The last header's hash is the one that the verifier got elsewhere."""
    last = headers[-1]
    failures = []
    if last.header.hash != root:
        failures.append(f"{_name(last)}: got root {to_hex(last.header.hash)}, wanted {to_hex(root)}")
    return Check(name=f"root {to_hex(root)}", failures=tuple(failures))


def _name(stated: StatedHeader) -> str:
    return f"{stated.place}: header of window {stated.header.window}"
