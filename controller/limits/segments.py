"""Which part of an envelope counts, once others of its source have come."""

from collections.abc import Iterable
from dataclasses import dataclass

from controller.limits.values import Envelope, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A bound of ``value_w`` in ``[start, end)``."""

    start: int
    end: int
    value_w: int

    def holds_at(self, instant: float) -> bool:
        """Whether an instant lies in it."""
        return self.start <= instant < self.end


def segments_of(envelope: Envelope, side: Side) -> tuple[Segment, ...]:
    """One side of an envelope, cut where it expires."""
    until = envelope.ends
    return tuple(
        Segment(start=period.start, end=min(period.end, until), value_w=value)
        for period in envelope.periods
        if (value := period.lower_w if side is Side.LOWER else period.upper_w) is not None and period.start < until
    )


def without(segments: Iterable[Segment], others: Iterable[Segment]) -> tuple[Segment, ...]:
    """What is left of segments outside of others."""
    left = list(segments)
    for other in others:
        left = [
            Segment(start=start, end=end, value_w=segment.value_w)
            for segment in left
            for start, end in (
                (segment.start, min(segment.end, other.start)),
                (max(segment.start, other.end), segment.end),
            )
            if start < end
        ]
    return tuple(left)
