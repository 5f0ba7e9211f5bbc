"""What the devices of one driver leave to each other: limits of groups, interlocks, the ramp of the whole. Pure.

Of each device two spans of power are kept: what it is meant to do, and what it may do at worst. A device that needs no
more than it was meant to has only to fit beside what the others are meant to do, so that a limit that shrinks sheds no
more than it has to. One that wants more has to fit beside what the others may do: so a limit is kept also while one of
them lies, hangs or is on its way down.
"""

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from device_drivers.errors import InvalidValueError
from device_drivers.setpoint import Bounds

WINDOW_S = 10.0
"""s over which the steps of the ramp are counted."""
NOTHING = Bounds(lower_w=0, upper_w=0)


@dataclass(slots=True, kw_only=True)
class _Member:
    meant: Bounds
    possible: Bounds
    groups: tuple[str, ...]
    partners: tuple[str, ...]
    off_at: float = -math.inf
    runs: bool = True


@dataclass(slots=True, kw_only=True)
class _Group:
    limit: Bounds
    members: tuple[str, ...]
    meant: list[int] = field(default_factory=lambda: [0, 0])
    possible: list[int] = field(default_factory=lambda: [0, 0])


class Gateway:
    """All devices of a driver.

    Parameters
    ----------
    ratings : mapping of str to Bounds
        By device what it takes and gives at most.
    groups : mapping of str to collection of str
        By group its devices.
    interlocks : iterable of collections of str
        Devices of which never two run.
    trusted_s : float
        s for which a device that was seen off, and does not answer since, still counts as off in an interlock.
    ramp_w_per_10s : int or None
        W by which the whole may change within any 10 s, of which none is left at the start; None where that does not
        matter.

    Raises
    ------
    InvalidValueError
        If a group or an interlock names a device that is not there, or a rating is missing or too large for a ramp.
    """

    def __init__(
        self,
        ratings: Mapping[str, Bounds],
        *,
        groups: Mapping[str, Collection[str]],
        interlocks: Iterable[Collection[str]] = (),
        trusted_s: float = 10.0,
        ramp_w_per_10s: int | None = None,
    ) -> None:
        locked = [tuple(one) for one in interlocks]
        for name, members in [*groups.items(), *((f"interlock {k + 1}", one) for k, one in enumerate(locked))]:
            unknown = sorted(set(members) - set(ratings))
            if unknown:
                raise InvalidValueError(f"{name}: got the device {unknown[0]!r}, wanted one of this driver")
        self._groups = {
            name: _Group(limit=Bounds(lower_w=None, upper_w=None), members=tuple(members))
            for name, members in groups.items()
        }
        self._members: dict[str, _Member] = {}
        for id_, rating in ratings.items():
            mine = tuple(name for name, members in groups.items() if id_ in members)
            if (mine or ramp_w_per_10s is not None) and (rating.lower_w is None or rating.upper_w is None):
                raise InvalidValueError(f"bounds of {id_!r}: got {rating}, wanted both ends: groups and ramps count it")
            partners = tuple(other for one in locked if id_ in one for other in one if other != id_)
            member = _Member(meant=NOTHING, possible=NOTHING, groups=mine, partners=partners)
            self._members[id_] = member
            # Until it was read a device may do anything.
            worst = Bounds(lower_w=min(0, rating.lower_w or 0), upper_w=max(0, rating.upper_w or 0))
            self.mean(id_, worst)
            self.allow_for(id_, worst)
        self._trusted_s = trusted_s
        self._ramp_w = ramp_w_per_10s
        self._steps: deque[tuple[float, int]] = deque()
        self._stepped_w = 0
        self._started = False

    # What is known of the devices.

    def limit(self, group: str, bounds: Bounds) -> bool:
        """Bounds on the sum of a group from now on; whether they are news."""
        news = self._groups[group].limit != bounds
        self._groups[group].limit = bounds
        return news

    def members(self, group: str) -> tuple[str, ...]:
        """The devices of a group."""
        return self._groups[group].members

    def mean(self, device: str, span: Bounds) -> None:
        """A device is meant to do this."""
        member = self._members[device]
        self._count(member, "meant", member.meant, span)
        member.meant = span

    def allow_for(self, device: str, span: Bounds) -> None:
        """A device may do this at worst."""
        member = self._members[device]
        self._count(member, "possible", member.possible, span)
        member.possible = span

    def meant(self, device: str) -> Bounds:
        """What a device is meant to do."""
        return self._members[device].meant

    def possible(self, device: str) -> Bounds:
        """What a device may do at worst."""
        return self._members[device].possible

    def see(self, device: str, *, runs: bool | None, now: float) -> None:
        """A device was told to run, or was seen to run or not; None: nobody knows."""
        member = self._members[device]
        if runs is False:
            member.off_at, member.runs = now, False
        elif runs:
            member.runs = True

    # What they leave to each other.

    def room(self, device: str) -> Bounds:
        """W that a device may take: beside the others, in each of its groups; 0 always."""
        member = self._members[device]
        lower: int | None = None
        upper: int | None = None
        for name in member.groups:
            group = self._groups[name]
            if group.limit.upper_w is not None:
                fits = self._fits(group, member, 1, group.limit.upper_w)
                upper = fits if upper is None else min(upper, fits)
            if group.limit.lower_w is not None:
                fits = self._fits(group, member, 0, -group.limit.lower_w)
                lower = -fits if lower is None else max(lower, -fits)
        return Bounds(lower_w=lower, upper_w=upper)

    def blocked_by(self, device: str, now: float) -> str | None:
        """The device of an interlock that runs or may run; None where none does."""
        for other in self._members[device].partners:
            partner = self._members[other]
            if partner.runs or now > partner.off_at + self._trusted_s:
                return other
        return None

    def affected(self, device: str) -> set[str]:
        """The other devices whose room or interlock depends on this one."""
        member = self._members[device]
        others = {other for name in member.groups for other in self._groups[name].members}
        return (others | set(member.partners)) - {device}

    def step(self, now: float) -> int | None:
        """W by which the whole may still change at this instant; None for any."""
        if self._ramp_w is None:
            return None
        if not self._started:
            # Whoever drove these devices before may just have used up all of it.
            self._started = True
            self.stepped(self._ramp_w, now)
        while self._steps and self._steps[0][0] + WINDOW_S <= now:
            self._stepped_w -= self._steps.popleft()[1]
        return max(0, self._ramp_w - self._stepped_w)

    def stepped(self, power_w: int, now: float) -> None:
        """The whole changes by so many W, whoever asked for it."""
        if self._ramp_w is not None and power_w:
            self._steps.append((now, abs(power_w)))
            self._stepped_w += abs(power_w)

    def _fits(self, group: _Group, member: _Member, side: int, limit_w: int) -> int:
        own_w = _size(member.meant, side)
        keeps = min(own_w, limit_w - (group.meant[side] - own_w))
        grows = limit_w - (group.possible[side] - _size(member.possible, side))
        return max(keeps, grows, 0)

    def _count(self, member: _Member, what: str, before: Bounds, after: Bounds) -> None:
        for name in member.groups:
            sums: list[int] = getattr(self._groups[name], what)
            for side in (0, 1):
                sums[side] += _size(after, side) - _size(before, side)


def _size(span: Bounds, side: int) -> int:
    """W of production (side 0) or consumption (side 1), not negative."""
    return (span.upper_w or 0) if side else -(span.lower_w or 0)
