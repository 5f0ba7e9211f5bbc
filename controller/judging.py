"""Whether a reading counts: held against the registers around it, of which none ever goes back."""

from dataclasses import dataclass

from controller.microgrid import ESTIMATED, FAULTY, MEASURED, SUBSTITUTED, MeterReading
from controller.registers import REGISTERS, Registers, between

FLOW_W = 10**6
"""No connection carries more: what would need it was misread."""
SECONDS_PER_HOUR = 3600
RANKS = {FAULTY: 0, ESTIMATED: 1, SUBSTITUTED: 2, MEASURED: 3}
DECIDED = 4
"""Rank of what the operator decided: nothing that a gateway says takes its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stands:
    """A known register: ``rank`` says how much it counts."""

    instant: int
    registers: Registers
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """The known registers just before, at, and just after an instant; None where there are none.

    Across a replacement they are the declared first registers of the meter before it, and last ones after it. More than
    ``flow_w`` does not flow, and registers begin again at ``rollover_wh``; None where they never do.
    """

    before: Stands | None = None
    at: Stands | None = None
    after: Stands | None = None
    rollover_wh: int | None = None
    flow_w: int = FLOW_W


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """It counts; ``rolled`` are the registers that began anew since the reading before."""

    rolled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """The same is known already."""

    known: Stands


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradictory:
    """Another value is known of the instant, and counts until the operator decides."""

    known: Stands


@dataclass(frozen=True, slots=True, kw_only=True)
class WentBack:
    """A register is lower than before, or higher than after."""

    register: str
    got: int
    wanted: str
    known: Stands


@dataclass(frozen=True, slots=True, kw_only=True)
class Leapt:
    """A register counted more than can have flowed, or more than it holds."""

    register: str
    got: int
    wanted: str
    known: Stands | None


Verdict = Taken | Duplicate | Contradictory | WentBack | Leapt


def judge(reading: MeterReading, around: Around, *, rank: int | None = None) -> Verdict:
    """What becomes of a reading.

    Parameters
    ----------
    reading : its quality is one of ``RANKS``
    around : what is known of the meter
    rank : ``DECIDED`` for what the operator says; None for that of the reading's quality
    """
    own = RANKS[reading.quality] if rank is None else rank
    registers = Registers.of(reading)
    known = around.at
    if known is not None and known.registers == registers and known.rank >= own:
        return Duplicate(known=known)
    if known is not None and known.rank >= own and known.rank and rank is None:
        return Contradictory(known=known)
    for name in REGISTERS:
        if around.rollover_wh is not None and getattr(registers, name) >= around.rollover_wh:
            wanted = f"less than {around.rollover_wh}, where the register begins again at 0"
            return Leapt(register=name, got=getattr(registers, name), wanted=wanted, known=None)
    rolled: tuple[str, ...] = ()
    if around.before is not None:
        before = around.before
        found = _held(registers, before, before.registers, registers, reading.instant - before.instant, around, own)
        if not isinstance(found, Taken):
            return found
        rolled = found.rolled
    if around.after is not None:
        after = around.after
        found = _held(registers, after, registers, after.registers, after.instant - reading.instant, around, own)
        if not isinstance(found, Taken):
            return found
    return Taken(rolled=rolled)


def _held(
    stated: Registers, known: Stands, first: Registers, second: Registers, seconds: int, around: Around, rank: int
) -> Taken | WentBack | Leapt:
    """Whether what was stated goes with a known register, before or after it.

    How much flowed at most is no matter to what the operator decided.
    """
    is_before = first is not stated
    side = "before" if is_before else "after"
    most = around.flow_w * seconds // SECONDS_PER_HOUR + 1
    flow = between(first, second, around.rollover_wh)
    for name in REGISTERS:
        value, other = getattr(stated, name), getattr(known.registers, name)
        counted = getattr(flow.counted, name)
        if name in flow.back or (name in flow.rolled and counted > most):
            wanted = f"{'at least' if is_before else 'at most'} {other}, the register's value {side}"
            return WentBack(register=name, got=value, wanted=wanted, known=known)
        if counted > most and rank < DECIDED:
            bound = other + most if is_before else other - most
            wanted = (
                f"at {'most' if is_before else 'least'} {bound}: what flows at {around.flow_w} W "
                f"{'since the value before' if is_before else 'until the value after'}"
            )
            return Leapt(register=name, got=value, wanted=wanted, known=known)
    return Taken(rolled=flow.rolled)
