"""What limits hold back of what devices were to do, summed up by member, MTU and limit until it is on disk.

A settlement corrects positions by it: who obeys is in no imbalance. Energies are W times milliseconds, whole numbers.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controller.clamp import Cap, Device

OBEYS_PPM = 900_000
"""A device that takes less than so much of its cap is held back by something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What is held back of a member's devices now.

    Attributes
    ----------
    member : its id
    limit, holder : the name of a limit that binds, and the id of the DSO whose it is; empty where it is nobody's
    consumption_w, production_w : W, not negative
    """

    member: str
    limit: str
    holder: str
    consumption_w: int
    production_w: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """What was held back of a member's devices in an MTU for a limit.

    Attributes
    ----------
    microgrid, member, mtu_start : whose, and when in Unix seconds
    limit, holder : as of a ``Holding``
    consumption_w_ms, production_w_ms : W times milliseconds, not negative
    """

    microgrid: str
    member: str
    mtu_start: int
    limit: str
    holder: str
    consumption_w_ms: int
    production_w_ms: int


def held_w(device: Device, cap: Cap) -> tuple[int, int]:
    """W of consumption and of production that a cap really holds back of a device.

    What it was to do less its cap; less what it is measured at where that is more, as it does not obey, and nothing
    where it is well below: then the limit is not what holds it.
    """
    measured = device.measured_w
    return (
        _held(device.consumption_w, cap.max_consumption_w, None if measured is None else measured),
        _held(device.production_w, cap.max_production_w, None if measured is None else -measured),
    )


def _held(planned_w: int, cap_w: int | None, measured_w: int | None) -> int:
    if cap_w is None or cap_w >= planned_w:
        return 0
    if measured_w is None:
        return planned_w - cap_w
    if measured_w * 1_000_000 < cap_w * OBEYS_PPM:
        return 0
    return max(0, planned_w - max(cap_w, measured_w))


class Tally:
    """Sums up what is held back, by member, MTU and limit, until somebody takes it."""

    def __init__(self) -> None:
        self._sums: defaultdict[tuple[str, str, int, str, str], list[int]] = defaultdict(lambda: [0, 0])

    def add(self, microgrid: str, mtu_s: int, holdings: Iterable[Holding], *, start_ms: int, end_ms: int) -> None:
        """Count what was held back in ``[start_ms, end_ms)``, Unix milliseconds, each part in its MTU."""
        length_ms = mtu_s * 1000
        for one in holdings:
            at = start_ms
            while at < end_ms:
                mtu_ms = at // length_ms * length_ms
                until = min(end_ms, mtu_ms + length_ms)
                sums = self._sums[microgrid, one.member, mtu_ms // 1000, one.limit, one.holder]
                sums[0] += one.consumption_w * (until - at)
                sums[1] += one.production_w * (until - at)
                at = until

    def take(self) -> tuple[HeldBack, ...]:
        """Everything since the last time, in order; nothing of it is here any more."""
        sums, self._sums = self._sums, defaultdict(lambda: [0, 0])
        return tuple(
            HeldBack(
                microgrid=microgrid,
                member=member,
                mtu_start=mtu,
                limit=limit,
                holder=holder,
                consumption_w_ms=consumption,
                production_w_ms=production,
            )
            for (microgrid, member, mtu, limit, holder), (consumption, production) in sorted(sums.items())
            if consumption or production
        )

    def give_back(self, taken: Sequence[HeldBack]) -> None:
        """Take back what could not be kept."""
        for one in taken:
            sums = self._sums[one.microgrid, one.member, one.mtu_start, one.limit, one.holder]
            sums[0] += one.consumption_w_ms
            sums[1] += one.production_w_ms
