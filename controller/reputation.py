"""How well members did what they had traded with neighbours: a number that others' preferences may go by. Pure, exact.

Of each MTU counts how much of what a member traded with neighbours it also gave or took, as far as its meter tells: its
imbalance beyond a tolerance is what it missed, and falls on all of its neighbours alike. Energy with the grid counts
nothing, and of two members only what they traded in the end: to sell and buy back earns nothing.

A score is the share that was kept, over all partners of a week, with a few kWh of neither good nor bad before them: who
is new stands in the middle. The partner with whom a member traded most counts at most as much as all the others
together, so that nobody gets a score out of trades with one partner alone, be it a second membership of its own.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.microgrid import GRID_ACCOUNT, Trade

SCORE_S = 7 * 86_400
"""Windows that begin so long before another may count for it."""
PPM = 1_000_000
NEUTRAL_PPM = 500_000
NEUTRAL_WH = 5000
"""So much of neither good nor bad comes before all that was traded."""
TOLERANCE_WH = 10
TOLERANCE_SHARE = 20
"""An imbalance of 10 Wh, or of a twentieth of what was traded with neighbours, is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """What a member traded with a partner, in either direction, and how much of it it kept.

    Attributes
    ----------
    member, partner : ids
    contracted_wh : positive
    kept_wh : from 0 to all of it
    """

    member: str
    partner: str
    contracted_wh: int
    kept_wh: int


def performances(trades: Iterable[Trade], metered: Mapping[tuple[str, int], int]) -> tuple[Performance, ...]:
    """How each member performed towards each partner in a window, in order of both; pairs without energy are left out.

    Parameters
    ----------
    trades : all of the window, those with the grid included
    metered : Wh that each member took, by member and MTU; complete
    """
    position: dict[tuple[str, int], int] = defaultdict(int)
    between: dict[tuple[str, str, int], int] = defaultdict(int)
    for trade in trades:
        position[trade.buyer, trade.mtu_start] += trade.energy_wh
        position[trade.seller, trade.mtu_start] -= trade.energy_wh
        if GRID_ACCOUNT not in (trade.seller, trade.buyer):
            between[trade.seller, trade.buyer, trade.mtu_start] += trade.energy_wh
            between[trade.buyer, trade.seller, trade.mtu_start] -= trade.energy_wh
    traded: dict[tuple[str, int], int] = defaultdict(int)
    for (member, _, mtu), energy in between.items():
        traded[member, mtu] += abs(energy)
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for (member, partner, mtu), energy in sorted(between.items()):
        if energy == 0:
            continue
        total = traded[member, mtu]
        imbalance = abs(metered[member, mtu] - position[member, mtu])
        missed = min(total, max(0, imbalance - max(TOLERANCE_WH, total // TOLERANCE_SHARE)))
        contracted, kept = sums.get((member, partner), (0, 0))
        sums[member, partner] = contracted + abs(energy), kept + abs(energy) * (total - missed) // total
    return tuple(
        Performance(member=member, partner=partner, contracted_wh=contracted, kept_wh=kept)
        for (member, partner), (contracted, kept) in sorted(sums.items())
    )


def scores(members: Iterable[str], found: Iterable[Performance]) -> dict[str, int]:
    """Each member's score in parts per million: 1,000,000 for who kept everything, 500,000 for who is new.

    Parameters
    ----------
    members : whose scores are wanted
    found : at most one of each pair, of a week
    """
    of: dict[str, list[Performance]] = {member: [] for member in members}
    for one in found:
        if one.member in of:
            of[one.member].append(one)
    return {member: _score(own) for member, own in sorted(of.items())}


def _score(own: list[Performance]) -> int:
    contracted = sum(one.contracted_wh for one in own)
    kept = sum(one.kept_wh for one in own)
    most = max(own, key=lambda one: (one.contracted_wh, one.kept_wh), default=None)
    if most is not None and 2 * most.contracted_wh > contracted:
        others = contracted - most.contracted_wh
        kept += most.kept_wh * others // most.contracted_wh - most.kept_wh
        contracted = 2 * others
    return (PPM * kept + NEUTRAL_PPM * NEUTRAL_WH) // (contracted + NEUTRAL_WH)
