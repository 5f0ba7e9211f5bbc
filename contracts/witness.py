"""What a party saw of a microgrid's headers, held against what others saw and against the chain.

A service can show each caller a chain of headers that is whole in itself. Whether all are shown the same one, and
whether it is the one that is anchored, parties find out by comparing what each of them kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.batch import GENESIS_BATCH, MAX_WINDOWS, Batch
from contracts.chain import Chain
from contracts.checks import check_first_header, check_headers
from contracts.errors import EvidenceError
from contracts.evidence import HEADERS_FILE, StatedHeader
from contracts.hashing import ZERO_HASH, to_hex
from contracts.registry import Registry
from contracts.report import Check
from contracts.strict_json import read_lines


def read_seen(path: Path) -> tuple[StatedHeader, ...]:
    """The headers that a party kept, in their order: a witness's file, or a directory of evidence.

    Raises
    ------
    EvidenceError
        If there are none, or a line is none.
    """
    file = path / HEADERS_FILE if path.is_dir() else path
    found = []
    for number, value in read_lines(file):
        try:
            found.append(StatedHeader.from_json(value, f"{file.name} line {number}"))
        except EvidenceError as err:
            raise err.at(file.name, number) from err
    return tuple(found)


def check_seen(seen: Sequence[StatedHeader]) -> Check:
    """What a party kept is one chain from the microgrid's first header on."""
    checks = [check_first_header(seen), check_headers(seen)] if seen else []
    failures = tuple(failure for check in checks for failure in check.failures)
    return Check(name=f"chain of {len(seen):,} headers", failures=failures)


def compare(parties: Mapping[str, Sequence[StatedHeader]]) -> Check:
    """All parties saw the same headers, as far as each of them saw any.

    Parameters
    ----------
    parties : mapping from a name to what that party kept
    """
    (first, reference), *others = sorted(parties.items(), key=lambda item: (-len(item[1]), item[0]))
    failures = []
    for name, seen in others:
        for position, (theirs, wanted) in enumerate(zip(seen, reference, strict=False)):
            if theirs.header.hash != wanted.header.hash:
                failures.append(
                    f"header {position}: {name} saw {to_hex(theirs.header.hash)} of {_named(theirs)}, "
                    f"{first} {to_hex(wanted.header.hash)} of {_named(wanted)}"
                )
                # All that come after carry it.
                break
    return Check(name=f"what {len(parties)} parties saw", failures=tuple(failures))


def _named(stated: StatedHeader) -> str:
    header = stated.header
    return f"window {header.window}" + (f", run {header.run}" if header.run else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchored:
    """How far the chain holds what was seen.

    Attributes
    ----------
    batches : int
        Of headers that were seen.
    headers : int
        That are in them, from the first on.
    check : Check
        Whether the contract holds anything else.
    """

    batches: int
    headers: int
    check: Check


def held_batches(chain: Chain, registry: Registry, microgrid: str) -> tuple[bytes, ...]:
    """Hashes of all batches that the contract holds for a microgrid, in order.

    Raises
    ------
    AnchorError
        If the chain does not answer, or is another one.
    """
    held: list[bytes] = []
    while (found := registry.held(chain, microgrid, len(held))) != ZERO_HASH:
        held.append(found)
    return tuple(held)


def check_held(microgrid: str, held: Sequence[bytes], seen: Sequence[bytes]) -> Anchored:
    """Which of the headers that were seen are in the batches that a contract holds.

    A batch's hash does not say how many headers it has: each number is tried, that of the batch before first.

    Parameters
    ----------
    microgrid : str
        Resource name.
    held : sequence of bytes
        What the contract holds, from batch 0 on; asked for before the service was asked for headers.
    seen : sequence of bytes
        Hashes of the headers.
    """
    first, previous, size = 0, GENESIS_BATCH, 1
    for number, wanted in enumerate(held):
        most = min(MAX_WINDOWS, len(seen) - first)
        sizes = (
            [size, *(count for count in range(1, most + 1) if count != size)] if size <= most else range(1, most + 1)
        )
        for count in sizes:
            headers = tuple(seen[first : first + count])
            batch = Batch(microgrid=microgrid, number=number, previous=previous, first=first, headers=headers)
            if batch.hash == wanted:
                first, previous, size = first + count, batch.hash, count
                break
        else:
            failure = (
                f"batch {number}: the contract holds {to_hex(wanted)}, which no number of the headers from "
                f"header {first} on gives: {len(seen) - first:,} of them were seen"
            )
            return Anchored(batches=number, headers=first, check=_check(held, (failure,)))
    return Anchored(batches=len(held), headers=first, check=_check(held, ()))


def _check(held: Sequence[bytes], failures: tuple[str, ...]) -> Check:
    return Check(name=f"{len(held):,} batches on the chain", failures=failures)
