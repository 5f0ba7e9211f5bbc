"""Checks of records and headers against each other: pure functions from evidence to what is wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from contracts.books import WindowBooks, committed_root, traded_energy_wh, turnover_micro
from contracts.evidence import L, StatedBooks, StatedHeader, StatedRecord, file_of
from contracts.hashing import to_hex
from contracts.header import GENESIS_PREVIOUS, WindowHeader
from contracts.leaves import Leaf, PostingLeaf, ReadingLeaf, TradeLeaf
from contracts.merkle import MerkleError, verify_proof
from contracts.report import Check
from contracts.runs import KINDS, Run, reversed_index, run_of, runs_by_window


def check_leaves(records: Sequence[StatedRecord[Leaf]]) -> Check:
    """Each stated leaf is the hash of its record."""
    failures = (
        f"{stated.name}: leaf does not match: got {to_hex(stated.leaf)}, wanted {to_hex(stated.record.hash)}"
        for stated in records
        if stated.leaf != stated.record.hash
    )
    return Check(name=f"leaves of {len(records)} records", failures=tuple(failures))


def check_proofs(records: Sequence[StatedRecord[Leaf]], headers: Sequence[StatedHeader]) -> Check:
    """Each record's own leaf leads, along its proof, to the root in the header of its window's run."""
    failures = []
    windows = _runs(headers)
    for stated in records:
        runs = windows.get(stated.record.window, ())
        if not runs:
            failures.append(f"{stated.name}: the window has no header")
            continue
        # What no run counts is named where records are counted: its proof is held against the first.
        run = run_of(runs, stated.record) or runs[0]
        root = committed_root(run.header, type(stated.record))
        if not verify_proof(stated.record.hash, stated.proof, root):
            failures.append(f"{stated.name}: proof does not lead to the header's root {to_hex(root)}")
    return Check(name=f"proofs of {len(records)} records", failures=tuple(failures))


def _runs(headers: Iterable[StatedHeader]) -> dict[str, tuple[Run, ...]]:
    """The runs of each window; a header that is there twice counts once, which `check_headers` reports."""
    once = {(stated.header.window, stated.header.run): stated.header for stated in reversed([*headers])}
    return runs_by_window(reversed(once.values()))


def check_complete(books: StatedBooks) -> Check:
    """Each window has exactly the records that its headers count: none missing, none twice, none beyond."""
    failures: list[str] = []
    windows = _runs(books.headers)
    for kind in KINDS:
        places: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        for stated in books.of_kind(kind):
            places[stated.record.window][stated.record.index].append(stated.place)
        for window, runs in windows.items():
            failures.extend(_count_failures(kind, window, places.get(window, {}), runs[-1].span(kind).stop))
    return Check(name=f"nothing missing from or added to {len(windows)} windows", failures=tuple(failures))


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


def check_books(books: StatedBooks) -> Check:
    """Each run's trees, rebuilt from all its records, and its totals are those of its header."""
    failures: list[str] = []
    trades, readings, postings = (
        _by_window(books.trades),
        _by_window(books.readings),
        _by_window(books.postings),
    )
    windows = _runs(books.headers)
    for stated in books.headers:
        window = stated.header.window
        run = next(known for known in windows[window] if known.header.run == stated.header.run)
        own = WindowBooks(
            trades=_within(run.span(TradeLeaf), trades.get(window, {})),
            readings=_within(run.span(ReadingLeaf), readings.get(window, {})),
            postings=_within(run.span(PostingLeaf), postings.get(window, {})),
        )
        failures.extend(f"{_name(stated)}: {failure}" for failure in _book_failures(stated.header, own))
        known = {index: leaf for index, leaves in postings.get(window, {}).items() for leaf in leaves}
        failures.extend(f"{_name(stated)}: {failure}" for failure in _reversal_failures(run, known))
    return Check(name=f"roots and totals of {len(books.headers)} windows", failures=tuple(failures))


def _by_window(records: Iterable[StatedRecord[L]]) -> dict[str, dict[int, list[L]]]:
    grouped: dict[str, dict[int, list[L]]] = defaultdict(lambda: defaultdict(list))
    for stated in records:
        grouped[stated.record.window][stated.record.index].append(stated.record)
    return grouped


def _within(span: range, records: Mapping[int, Sequence[L]]) -> tuple[L, ...]:
    # A header may claim billions of records: only those that are there are looked at.
    return tuple(record for index in sorted(records) if index in span for record in records[index])


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


def _reversal_failures(run: Run, postings: Mapping[int, PostingLeaf]) -> Iterator[str]:
    """What is wrong with what a run takes back: each posting of an earlier run at most once, and whole."""
    span = run.span(PostingLeaf)
    taken = {
        back: index
        for index, posting in postings.items()
        if index < span.start and (back := reversed_index(posting.reference)) is not None
    }
    for index in sorted(index for index in postings if index in span):
        posting = postings[index]
        back = reversed_index(posting.reference)
        if back is None:
            continue
        if back >= span.start or back not in postings:
            yield f"posting {index} reverses posting {back}: wanted one of an earlier run"
            continue
        if back in taken:
            yield f"posting {index} reverses posting {back}: posting {taken[back]} has done so"
        taken[back] = index
        original = postings[back]
        if reversed_index(original.reference) is not None:
            yield f"posting {index} reverses posting {back}: that is a reversal itself"
        wanted = original.account, original.kind, -original.amount_micro
        got = posting.account, posting.kind, posting.amount_micro
        if got != wanted:
            yield f"posting {index} reverses posting {back}: got {got}, wanted {wanted}"


def check_headers(headers: Sequence[StatedHeader]) -> Check:
    """Each header has its stated hash and follows the one before it; windows are in time, runs in turn."""
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
    failures += _order_failures(headers)
    return Check(name=f"chain of {len(headers)} headers", failures=tuple(failures))


def _order_failures(headers: Sequence[StatedHeader]) -> Iterator[str]:
    """What is wrong with the order of windows and their runs."""
    # A proof begins with its record's own header: earlier runs of windows may lie before it.
    whole = headers[0].header.previous == GENESIS_PREVIOUS
    newest: dict[str, WindowHeader] = {}
    ends = 0
    for stated in headers:
        header, name = stated.header, _name(stated)
        known = newest.get(header.window)
        if header.run == 0 and header.window_start < ends:
            wanted = f"at least {ends}, where the window before ends"
            yield f"{name}: window_start: got {header.window_start}, wanted {wanted}"
        if known is not None and header.run <= known.run:
            yield f"{name}: the window has a header before of run {known.run}"
        elif header.run and (known is not None or whole) and header.run != (0 if known is None else known.run + 1):
            wanted = "0, the window's first" if known is None else str(known.run + 1)
            yield f"{name}: run: got {header.run}, wanted {wanted}"
        if known is not None and (header.window_start, header.window_end) != (known.window_start, known.window_end):
            got = f"{header.window_start} to {header.window_end}"
            yield f"{name}: got {got}, wanted {known.window_start} to {known.window_end} as in run {known.run}"
        if header.run and header.trades_count:
            yield f"{name}: trades_count: got {header.trades_count}, wanted 0: a correction trades nothing"
        newest[header.window] = header
        if header.run == 0:
            ends = max(ends, header.window_end)


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
    run = f", run {stated.header.run}" if stated.header.run else ""
    return f"{stated.place}: header of window {stated.header.window}{run}"
