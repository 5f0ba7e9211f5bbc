"""Limits of the DSO on groups of a driver's devices, which the service passes on and no more: drivers check them."""

from collections.abc import Iterable
from dataclasses import dataclass

from controller.limits.values import Band


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOn:
    """A limit as the DSO signed it.

    Attributes
    ----------
    group : id of the group within its microgrid
    driver : id of the identity that it is for
    holder : the DSO's
    counter : counts up with each limit of the group
    expires : Unix seconds; from then on it counts no more
    lower_w, upper_w : on the sum of the group's devices, 0 within; None does not bind
    payload, signature, key_id : what was signed
    """

    group: str
    driver: str
    holder: str
    counter: int
    expires: int
    lower_w: int | None
    upper_w: int | None
    payload: bytes
    signature: bytes
    key_id: str


Reach = tuple[int, int]
"""How many groups have no bound, and the W of all others: so what may be more compares as more."""


def newest(limits: Iterable[PassedOn]) -> list[PassedOn]:
    """Of each group and DSO the limit that counts; drivers are told no other."""
    found: dict[tuple[str, str], PassedOn] = {}
    for limit in limits:
        last = found.get((limit.group, limit.holder))
        if last is None or limit.counter > last.counter:
            found[limit.group, limit.holder] = limit
    return list(found.values())


def reach(limits: Iterable[PassedOn], at: float) -> tuple[Reach, Reach]:
    """What groups may give and take together at an instant, by the limits that are fresh then.

    A driver may not have heard of its newest limit, nor of having lost a group: of each group and driver the widest
    counts.
    """
    give: dict[tuple[str, str], Reach] = {}
    take: dict[tuple[str, str], Reach] = {}
    for limit in limits:
        if limit.expires > at:
            key = limit.group, limit.driver
            give[key] = max(give.get(key, (0, 0)), _reach(limit.lower_w))
            take[key] = max(take.get(key, (0, 0)), _reach(limit.upper_w))
    return _sum(give.values()), _sum(take.values())


def raised(before: Iterable[PassedOn], after: Iterable[PassedOn], band: Band, now: float) -> tuple[str, Reach] | None:
    """The bound of the connection beyond which groups may now go further than before, and what they may; None for none.

    What limits shrink never counts, so that they can be tightened although the connection's are exceeded already.
    """
    before, after = list(before), list(after)
    ends = sorted({now, *(limit.expires for limit in after if limit.expires > now)})
    lower = None if band.lower_w is None else -band.lower_w
    for side, name, bound in ((0, "lower", lower), (1, "upper", band.upper_w)):
        for at in ends if bound is not None else ():
            may = reach(after, at)[side]
            if may <= (0, max(0, bound or 0)):
                break  # later they may less
            if may > reach(before, at)[side]:
                return name, may
    return None


def _reach(bound: int | None) -> Reach:
    return (1, 0) if bound is None else (0, abs(bound))


def _sum(each: Iterable[Reach]) -> Reach:
    several = list(each)
    return sum(one[0] for one in several), sum(one[1] for one in several)
