"""The runs of a window: its first settlement, then its corrections, each under a header of its own.

Records are counted through over all runs of a window: those of a run begin where those of the run before end, so that
the place of a record says which run it belongs to. A correction trades nothing. Its postings take back postings of
earlier runs, one for one, and enter others in their place.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from contracts.books import committed_count
from contracts.header import WindowHeader
from contracts.leaves import Leaf, PostingLeaf, ReadingLeaf, TradeLeaf

KINDS: tuple[type[Leaf], ...] = (TradeLeaf, ReadingLeaf, PostingLeaf)

L = TypeVar("L", bound=Leaf)

_REVERSAL = re.compile(r"reverses (0|[1-9][0-9]{0,17})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a window.

    Attributes
    ----------
    header : WindowHeader
        What commits to it.
    firsts : tuple of int
        Index of its first record of each of `KINDS`.
    """

    header: WindowHeader
    firsts: tuple[int, ...]

    def span(self, kind: type[Leaf]) -> range:
        """Indices of its records of a kind."""
        first = self.firsts[KINDS.index(kind)]
        return range(first, first + committed_count(self.header, kind))


def runs_by_window(headers: Iterable[WindowHeader]) -> dict[str, tuple[Run, ...]]:
    """The runs of each window, in the order of the headers."""
    found: dict[str, list[Run]] = defaultdict(list)
    for header in headers:
        known = found[header.window]
        firsts = tuple(known[-1].span(kind).stop if known else 0 for kind in KINDS)
        known.append(Run(header=header, firsts=firsts))
    return {window: tuple(known) for window, known in found.items()}


def run_of(runs: Sequence[Run], record: Leaf) -> Run | None:
    """The run of a window that counts a record; None where none does."""
    return next((run for run in runs if record.index in run.span(type(record))), None)


def records_by_run(runs: Sequence[Run], records: Iterable[L], kind: type[L]) -> tuple[tuple[L, ...], ...]:
    """A window's records of a kind, those of each run by themselves in order of their indices."""
    ordered = sorted(records, key=lambda record: record.index)
    return tuple(tuple(record for record in ordered if record.index in run.span(kind)) for run in runs)


def reversal(index: int) -> str:
    """The reference of a posting that takes back the posting of its window with that index."""
    return f"reverses {index}"


def reversed_index(reference: str) -> int | None:
    """Index of the posting that a posting with this reference takes back; None where it takes back none."""
    match = _REVERSAL.fullmatch(reference)
    return None if match is None else int(match[1])
