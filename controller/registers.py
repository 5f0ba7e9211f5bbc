"""A meter's registers: what flowed between two readings, through the end of a register and through another meter.

Energy is a difference of integers. A register that has come to its end begins again at zero; how much it holds is
declared, as nothing else tells that from one that went back. A meter that is replaced ends at its last registers, and
the next begins at its first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from controller.microgrid import MeterReading

REGISTERS = ("import_wh", "export_wh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Registers:
    """The two registers of a meter, or what they counted between two instants, in Wh."""

    import_wh: int
    export_wh: int

    @classmethod
    def of(cls, reading: MeterReading) -> Self:
        """Those that a reading states."""
        return cls(import_wh=reading.import_wh, export_wh=reading.export_wh)

    @property
    def net_wh(self) -> int:
        """What was taken less what was given: consumption positive."""
        return self.import_wh - self.export_wh

    def __add__(self, other: "Registers") -> "Registers":
        return Registers(import_wh=self.import_wh + other.import_wh, export_wh=self.export_wh + other.export_wh)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterChange:
    """What was declared of a member's meter from an instant on.

    Attributes
    ----------
    instant : Unix seconds; readings of it and later ones are of the meter as it is after it
    rollover_wh : at which the registers begin again at zero, Wh; None where they never do
    final : the last registers of the meter that was taken away; None where it is the same meter
    first : the first registers of the one in its place; None where it is the same meter
    """

    instant: int
    rollover_wh: int | None
    final: Registers | None = None
    first: Registers | None = None

    def __post_init__(self) -> None:
        if (self.final is None) != (self.first is None):
            raise ValueError("got last or first registers alone, wanted both of a replacement, or none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What flowed between two readings.

    Attributes
    ----------
    counted : by each register, Wh
    rolled : the registers that came to their end meanwhile
    back : the registers that went back, as none does
    """

    counted: Registers
    rolled: tuple[str, ...] = ()
    back: tuple[str, ...] = ()

    def __add__(self, other: "Flow") -> "Flow":
        return Flow(
            counted=self.counted + other.counted,
            rolled=tuple(sorted({*self.rolled, *other.rolled})),
            back=tuple(sorted({*self.back, *other.back})),
        )


@dataclass(frozen=True, slots=True)
class Meter:
    """A member's meter over time; ``changes`` in order of their instants."""

    changes: Sequence[MeterChange] = ()

    def rollover_wh(self, instant: int) -> int | None:
        """At which the registers begin again at zero, at an instant; None where they never do."""
        known = [change.rollover_wh for change in self.changes if change.instant <= instant]
        # What is declared of the first meter counts for all the time before as well.
        first = next((change.rollover_wh for change in self.changes[:1] if change.final is None), None)
        return known[-1] if known else first

    def replaced(self, *, after: int, until: int) -> tuple[MeterChange, ...]:
        """The replacements later than one instant and not later than another, in order of time."""
        return tuple(c for c in self.changes if c.final is not None and after < c.instant <= until)

    def flow(self, before: MeterReading, after: MeterReading) -> Flow:
        """What flowed from a reading to a later one, through all replacements between."""
        found = Flow(counted=Registers(import_wh=0, export_wh=0))
        last = Registers.of(before)
        for change in self.replaced(after=before.instant, until=after.instant):
            assert change.final is not None and change.first is not None  # noqa: PT018  # it is a replacement
            found += between(last, change.final, self.rollover_wh(change.instant - 1))
            last = change.first
        return found + between(last, Registers.of(after), self.rollover_wh(after.instant))


def between(before: Registers, after: Registers, rollover_wh: int | None) -> Flow:
    """What one meter counted; of a register that rolls over the least that fits."""
    counted, rolled, back = {}, [], []
    for name in REGISTERS:
        difference = getattr(after, name) - getattr(before, name)
        if difference < 0 and rollover_wh is not None:
            difference += rollover_wh
            rolled.append(name)
        elif difference < 0:
            back.append(name)
        counted[name] = difference
    return Flow(counted=Registers(**counted), rolled=tuple(rolled), back=tuple(back))
