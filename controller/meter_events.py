"""What is out of the ordinary about readings: kept, never dropped, and told to whom it concerns."""

from dataclasses import dataclass
from enum import Enum

from controller.registers import Registers


class EventKind(Enum):
    """What happened."""

    # Taken, and noted.
    ROLLOVER = "ROLLOVER"
    REPLACEMENT = "REPLACEMENT"
    LATE = "LATE"
    GAP = "GAP"
    DUPLICATE = "DUPLICATE"
    SUBSTITUTED = "SUBSTITUTED"
    LOSS = "LOSS"
    # Not taken; the rest of the batch is.
    CONTRADICTORY = "CONTRADICTORY"
    FAULTY = "FAULTY"
    # Refused with the whole batch.
    BACKWARDS = "BACKWARDS"
    LEAP = "LEAP"
    FUTURE = "FUTURE"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    MALFORMED = "MALFORMED"
    FOREIGN_METER = "FOREIGN_METER"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    SEQUENCE_REPLAYED = "SEQUENCE_REPLAYED"


REFUSING = frozenset(
    {
        EventKind.BACKWARDS,
        EventKind.LEAP,
        EventKind.FUTURE,
        EventKind.OUT_OF_RANGE,
        EventKind.MALFORMED,
        EventKind.FOREIGN_METER,
        EventKind.BAD_SIGNATURE,
        EventKind.SEQUENCE_REPLAYED,
    }
)
"""Kinds of what refused a whole batch."""
OPEN_TO_DECISION = frozenset({EventKind.CONTRADICTORY, EventKind.BACKWARDS, EventKind.LEAP, EventKind.FAULTY})
"""Kinds whose reported registers the operator may let count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterEvent:
    """One such thing.

    Attributes
    ----------
    kind : what
    member : whose meter; empty where that is not known
    instant : Unix seconds of the reading; None where that is not known
    reporter : the gateway, or ``operator:`` and an id
    sequence : of the gateway's batch; 0 where there is none
    reported : the registers that were stated; None where none were
    known : those that they are held against; None where there are none
    known_instant : of which instant those are; None where there are none
    note : for people
    """

    kind: EventKind
    member: str
    instant: int | None
    reporter: str
    sequence: int
    reported: Registers | None = None
    known: Registers | None = None
    known_instant: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEvent:
    """An event as it is kept.

    Attributes
    ----------
    number : from 1 on within the microgrid
    created : Unix seconds
    event : what happened
    decision : KEPT or ACCEPTED by the operator; empty where nothing was decided
    reason : why, in the operator's words
    """

    number: int
    created: int
    event: MeterEvent
    decision: str = ""
    reason: str = ""
