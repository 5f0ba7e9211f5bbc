"""Checks of batches against the headers that they have: pure functions from evidence to what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from contracts.batch import GENESIS_BATCH, Batch
from contracts.batch_evidence import StatedBatch
from contracts.errors import ContractsError
from contracts.evidence import StatedHeader
from contracts.hashing import to_hex
from contracts.report import Check


def rebuilt(batches: Sequence[StatedBatch], headers: Sequence[StatedHeader]) -> tuple[Batch | None, ...]:
    """Each batch with the headers that it counts, following the one before; None where there is no such batch."""
    made: list[Batch | None] = []
    previous, first = GENESIS_BATCH, 0
    for number, stated in enumerate(batches):
        mine = headers[first : first + stated.count]
        batch = None
        if mine and (number == 0 or made[-1] is not None):
            try:
                batch = Batch(
                    microgrid=headers[0].header.microgrid,
                    number=number,
                    previous=previous,
                    first=first,
                    headers=tuple(each.header.hash for each in mine),
                )
            except ContractsError:
                batch = None
        made.append(batch)
        previous, first = b"" if batch is None else batch.hash, first + stated.count
    return tuple(made)


def check_batches(batches: Sequence[StatedBatch], headers: Sequence[StatedHeader]) -> Check:
    """The batches take the headers in their order, each once; each has its root and its hash and follows the last."""
    failures: list[str] = []
    first = 0
    for number, (stated, batch) in enumerate(zip(batches, rebuilt(batches, headers), strict=True)):
        failures += _place_failures(stated, number, first)
        if first + stated.count > len(headers):
            failures.append(f"{stated.name}: it counts header {len(headers)}, which is missing")
        if batch is not None:
            failures += _content_failures(stated, batch)
        first += stated.count
    failures += [
        f"{stated.place}: header of window {stated.header.window}: it is in no batch" for stated in headers[first:]
    ]
    return Check(name=f"{len(batches)} batches of {len(headers)} headers", failures=tuple(failures))


def _place_failures(stated: StatedBatch, number: int, first: int) -> Iterator[str]:
    if stated.number != number:
        yield f"{stated.name}: got number {stated.number}, wanted {number}"
    if stated.first != first:
        yield f"{stated.name}: first: got {stated.first}, wanted {first}"


def _content_failures(stated: StatedBatch, batch: Batch) -> Iterator[str]:
    for field, got, wanted in (
        ("previous", stated.previous, batch.previous),
        ("windows_root", stated.windows_root, batch.windows_root),
        ("hash", stated.hash, batch.hash),
    ):
        if got != wanted:
            yield f"{stated.name}: {field}: got {to_hex(got)}, the headers give {to_hex(wanted)}"
