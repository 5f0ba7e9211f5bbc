"""From registers to energies: differences of integers, gaps known as gaps."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from controller.microgrid import MeterReading
from controller.registers import Meter

SAME_METER = Meter()


def metered_wh(
    readings: Iterable[MeterReading],
    members: Sequence[str],
    instants: Sequence[int],
    meters: Mapping[str, Meter] | None = None,
) -> dict[tuple[str, int], int | None]:
    """Net energy that each member took in each MTU.

    Parameters
    ----------
    readings : registers in Wh, in any order
    members : whose energy is wanted
    instants : Unix seconds at which MTUs begin and end, ascending
    meters : of members whose meter was replaced, or rolls over; None for none

    Returns
    -------
    dict from member and MTU start to Wh, consumption positive; None where a register is missing
    """
    registers = {(r.member, r.instant): r for r in readings}
    known = meters or {}
    energies: dict[tuple[str, int], int | None] = {}
    for member in members:
        meter = known.get(member, SAME_METER)
        for start, end in pairwise(instants):
            before, after = registers.get((member, start)), registers.get((member, end))
            if before is None or after is None:
                energies[member, start] = None
            else:
                energies[member, start] = meter.flow(before, after).counted.net_wh
    return energies


def missing(
    readings: Iterable[MeterReading], members: Sequence[str], instants: Sequence[int]
) -> tuple[tuple[str, int], ...]:
    """The members and instants of which there is no reading."""
    known = {(r.member, r.instant) for r in readings}
    return tuple((member, instant) for instant in instants for member in members if (member, instant) not in known)
