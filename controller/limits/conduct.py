"""Whether devices do what they are told: who does not counts at what it is seen to do, so that others give instead."""

from collections import deque
from collections.abc import Container, Mapping
from dataclasses import dataclass

from controller.clamp import Span
from controller.commands import Response

OBEY_S = 10.0
"""Seconds that a device has to do what it is told; telemetry that came before says nothing about it."""
LEEWAY_W = 50
LEEWAY_PART = 20
"""What is measured may exceed what was told by so many W, or such a part of it: meters differ, electronics draw on."""
REMEMBERED_S = 60.0
"""Seconds for which it is known what was told: longer than telemetry is fresh, and `OBEY_S`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A device at a look.

    Attributes
    ----------
    told : between which powers it is, if it does what it is told from now on
    worst, failsafe : between which it may be at all, and in its failsafe
    measured : W, and the instant of the steady clock at which telemetry said so; None where that is not fresh
    response : what is known of its commands
    """

    told: Span
    worst: Span
    failsafe: Span
    measured: tuple[int, float] | None
    response: Response


class Conduct:
    """What the devices of a microgrid were told, and who did not do it."""

    def __init__(self) -> None:
        self._told: dict[str, deque[tuple[float, Span]]] = {}
        self._doubted: set[str] = set()

    def is_plain(self, id_: str, told: Span, measured_w: int | None, response: Response) -> bool:
        """Whether nothing speaks for a doubt at first sight, as is the rule: `doubt` would find none."""
        if response not in {Response.TOLD, Response.VERIFIED} or id_ in self._doubted:
            return False
        return measured_w is None or _fits(Span(low_w=measured_w, high_w=measured_w), told)

    def doubt(self, id_: str, sight: Sight) -> Span | None:
        """Between which powers a device may be that does not do what it is told; None where nothing speaks for that.

        Who does less than it may is not doubted: what is left to it stays its own.
        """
        seen = self._seen(id_, sight)
        if seen is None or _fits(seen, sight.told):
            if sight.measured is not None or sight.response is Response.VERIFIED:
                self._doubted.discard(id_)
            return None
        if sight.response is not Response.NOTHING:
            self._doubted.add(id_)
        return _hull(seen, sight.told)

    def note(self, told: Mapping[str, Span], now: float) -> None:
        """Remember what devices are told from now on; of others it is forgotten."""
        for id_ in [id_ for id_ in self._told if id_ not in told]:
            del self._told[id_]
        for id_, span in told.items():
            known = self._told.setdefault(id_, deque())
            if not known or known[-1][1] != span:
                known.append((now, span))
            while len(known) > 1 and known[1][0] < now - REMEMBERED_S:
                known.popleft()

    def keep(self, ids: Container[str]) -> None:
        """Forget who is not among these any more."""
        self._doubted = {id_ for id_ in self._doubted if id_ in ids}

    def _seen(self, id_: str, sight: Sight) -> Span | None:
        """Between which powers a device is; None where there is no reason to look closer than at what it is told."""
        doubted = id_ in self._doubted
        if sight.measured is None:
            if sight.response is Response.OTHER or (doubted and sight.response is not Response.VERIFIED):
                return sight.worst
            return sight.failsafe if sight.response is Response.NOTHING else None
        power_w, arrived = sight.measured
        at = Span(low_w=power_w, high_w=power_w)
        if sight.response is Response.OTHER:
            # What it did before it was told less says nothing about what it does now.
            before = self._in_force(id_, arrived, arrived)
            return at if before is None or _within(before, sight.told) else _hull(at, sight.worst)
        if doubted or sight.response is Response.NOTHING:
            return at
        allowed = self._in_force(id_, arrived - OBEY_S, arrived)
        return None if allowed is None or _fits(at, allowed) else at

    def _in_force(self, id_: str, first: float, last: float) -> Span | None:
        """All that a device was told between two instants; None where that is not known from the first on."""
        known = self._told.get(id_, ())
        found: Span | None = None
        for since, span in known:
            if since > last:
                break
            found = span if found is None or since <= first else _hull(found, span)
        return found if known and known[0][0] <= first else None


def _hull(one: Span, other: Span) -> Span:
    return Span(low_w=min(one.low_w, other.low_w), high_w=max(one.high_w, other.high_w))


def _within(inner: Span, outer: Span) -> bool:
    return outer.low_w <= inner.low_w and inner.high_w <= outer.high_w


def _fits(seen: Span, told: Span) -> bool:
    return seen.low_w >= told.low_w - _leeway(told.low_w) and seen.high_w <= told.high_w + _leeway(told.high_w)


def _leeway(power_w: int) -> int:
    return max(LEEWAY_W, abs(power_w) // LEEWAY_PART)
