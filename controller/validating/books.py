"""Whether a header follows from the records under it, and stands where it should."""

import hashlib
from collections.abc import Sequence
from dataclasses import fields

from contracts.header import WindowHeader
from contracts.leaves import Leaf
from contracts.merkle import MerkleError
from controller.validating.evidence import DoubtError, SealedRun, WindowEvidence


def check_books(evidence: WindowEvidence, *, previous: bytes, before: Sequence[SealedRun]) -> None:
    """Refuse a header that its records do not give.

    Parameters
    ----------
    evidence : of one run of a window
    previous : hash of the header before it
    before : the window's runs so far, in order

    Raises
    ------
    DoubtError
        If anything differs.
    """
    stated, books = evidence.header, evidence.books
    for kind, leaves in (("trades", books.trades), ("readings", books.readings), ("postings", books.postings)):
        first = sum(len(getattr(run, kind)) for run in evidence.earlier)
        _check_places(kind, leaves, window=stated.window, first=first)
    digest = hashlib.sha256(evidence.inputs.encode()).digest()
    if digest != stated.inputs_digest:
        raise DoubtError(f"inputs_digest: got 0x{stated.inputs_digest.hex()}, the inputs give 0x{digest.hex()}")
    try:
        computed = books.header(
            microgrid=stated.microgrid,
            window=stated.window,
            window_start=stated.window_start,
            window_end=stated.window_end,
            run=stated.run,
            previous=previous,
            inputs_digest=digest,
        )
    except MerkleError as err:
        raise DoubtError(f"records: {err}") from err
    _compare(stated, computed)
    total = sum(posting.amount_micro for posting in books.postings)
    if total:
        raise DoubtError(f"postings: got a sum of {total} micro, wanted 0")
    own = evidence.frozen()[0].snapshot
    window = own.window
    wanted = (window.name, window.start, window.end)
    if (stated.window, stated.window_start, stated.window_end) != wanted:
        raise DoubtError(f"window: got {stated.window}, the inputs are those of {window.name}")
    name = own.microgrid.name
    if stated.microgrid != name:
        raise DoubtError(f"microgrid: got {stated.microgrid}, the inputs are those of {name}")
    _check_runs(evidence, before)


def _check_runs(evidence: WindowEvidence, before: Sequence[SealedRun]) -> None:
    """Refuse a run that does not come after those that were sealed before, as they were sealed."""
    run = evidence.header.run
    if run != len(before) or run != len(evidence.earlier):
        raise DoubtError(f"run: got {run} with records of {len(evidence.earlier)} before it, wanted {len(before)}")
    for books, sealed in zip(evidence.earlier, before, strict=True):
        got = books.trades_tree().root, books.settlement_tree().root
        if got != (sealed.trades_root, sealed.settlement_root):
            raise DoubtError(f"records of run {sealed.run}: got others than those of its header")
        if evidence.header.inputs_digest != sealed.inputs_digest:
            raise DoubtError(f"inputs_digest: got another than that of run {sealed.run}")


def _compare(stated: WindowHeader, computed: WindowHeader) -> None:
    for field in fields(WindowHeader):
        got, wanted = getattr(stated, field.name), getattr(computed, field.name)
        if got != wanted:
            raise DoubtError(f"{field.name}: got {_text(got)}, the records give {_text(wanted)}")


def _check_places(kind: str, leaves: Sequence[Leaf], *, window: str, first: int) -> None:
    for place, leaf in enumerate(leaves, start=first):
        if (leaf.window, leaf.index) != (window, place):
            raise DoubtError(f"{kind}: got number {leaf.index} of {leaf.window}, wanted number {place} of {window}")


def _text(value: object) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
