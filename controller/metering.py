"""From registers to energies: differences of integers, gaps known as gaps."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from controller.microgrid import MeterReading


def metered_wh(
    readings: Iterable[MeterReading], members: Sequence[str], instants: Sequence[int]
) -> dict[tuple[str, int], int | None]:
    """Net energy that each member took in each MTU.

    Parameters
    ----------
    readings : registers in Wh, in any order
    members : whose energy is wanted
    instants : Unix seconds at which MTUs begin and end, ascending

    Returns
    -------
    dict from member and MTU start to Wh, consumption positive; None where a register is missing
    """
    registers = {(r.member, r.instant): r.import_wh - r.export_wh for r in readings}
    energies: dict[tuple[str, int], int | None] = {}
    for member in members:
        for start, end in pairwise(instants):
            before, after = registers.get((member, start)), registers.get((member, end))
            energies[member, start] = None if before is None or after is None else after - before
    return energies


def missing(
    readings: Iterable[MeterReading], members: Sequence[str], instants: Sequence[int]
) -> tuple[tuple[str, int], ...]:
    """The members and instants of which there is no reading."""
    known = {(r.member, r.instant) for r in readings}
    return tuple((member, instant) for instant in instants for member in members if (member, instant) not in known)
