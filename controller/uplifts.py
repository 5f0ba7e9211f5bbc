"""The uplifts of a window's clearing: what makes members whole whom following clearings has made pay more than alone.

Computed when the window is cleared, from what it was decided on and the trades that are posted; stored with the
clearing, part of what the next window is decided on, and posted as they stand when the window is settled.

What counts is the regret of all windows of the horizon so far. A plan may cost a member something now and bring it more
later: what it received meanwhile goes back as its regret shrinks.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from controller.microgrid import Trade
from controller.settlement import pay_trades
from controller.snapshot import Snapshot
from optimization.quantities import PeerId
from optimization.uplift import Standing, loss_of, share_out

MICRO = 1_000_000
NOISE_MICRO = 1.0
"""A window's regret or gain of less is a solver's tolerance, and none."""

ROUNDED = 3
"""Decimals of a micro-currency beyond which a difference of floats says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplift:
    """How one member fares under a window's clearing; micro-currency all.

    What it pays in the window and has ahead of it after it, less what it had ahead of it before, is the window's
    regret: ``paid_micro + ahead_micro - alone_micro``.

    Attributes
    ----------
    member : id
    paid_micro : for the window's trades and network charges, less what it is paid
    alone_micro : what its own best plan at the tariff alone would cost at least from the window's start on
    ahead_micro : what its devices cost themselves in the window, and what the best plan alone would cost after it
    regret_micro : of this and all windows of the horizon before; negative where it has gained
    received_micro : uplifts of this and all windows before; negative where it has contributed
    uplift_micro : of this window, received or contributed
    """

    member: str
    paid_micro: int
    alone_micro: int
    ahead_micro: int
    regret_micro: int
    received_micro: int
    uplift_micro: int


def uplifts_of(
    snapshot: Snapshot, members: Sequence[PeerId], trades: Sequence[Trade], standing: Standing
) -> tuple[Uplift, ...]:
    """Each member's uplift, in the order of the ids.

    Regrets are rounded up, so that nobody is left with a part of a micro-currency. What a member saves while its tasks
    fall short, where alone they would not, is a gain only as far as it is more than what those tasks stand for; what it
    pays while more is done for it than alone is a regret only as far as it is more than that.

    Parameters
    ----------
    snapshot : what the window was decided on
    members : in the order of the standing
    trades : all of the window, those with the grid included
    standing : what the window changes for each member
    """
    paid: dict[str, int] = dict.fromkeys(members, 0)
    for posting in pay_trades(snapshot.microgrid, trades):
        if posting.account in paid:
            paid[posting.account] -= posting.amount_micro
    lost = [
        _regret_micro(paid[member], float(dearer), float(short), float(rounding))
        for member, dearer, short, rounding in zip(
            members, standing.dearer, standing.short, standing.rounding, strict=True
        )
    ]
    before = [snapshot.uplifts.get(member, (0, 0)) for member in members]
    regret = [past + amount for (past, _), amount in zip(before, lost, strict=True)]
    received = share_out(regret, members)
    uplifts = []
    for n, member in enumerate(members):
        alone = math.floor(float(standing.alone[n]) * MICRO)
        uplifts.append(
            Uplift(
                member=member,
                paid_micro=paid[member],
                alone_micro=alone,
                ahead_micro=alone + lost[n] - paid[member],
                regret_micro=regret[n],
                received_micro=received[n],
                uplift_micro=received[n] - before[n][1],
            )
        )
    return tuple(sorted(uplifts, key=lambda uplift: uplift.member))


def _regret_micro(paid: int, dearer: float, short: float, rounding: float) -> int:
    """A member's regret in a window, from what it paid, what else was dearer, and what stands for tasks undone."""
    exact = paid + round(dearer * MICRO, ROUNDED)
    undone = round(short * MICRO, ROUNDED)
    if abs(undone) >= max(NOISE_MICRO, rounding * MICRO):
        exact = loss_of(exact, undone)
    return 0 if abs(exact) < NOISE_MICRO else math.ceil(exact)


def to_json(uplifts: Sequence[Uplift]) -> str | None:
    """Uplifts as canonical JSON; none at all where none were computed."""
    if not uplifts:
        return None
    return json.dumps([asdict(uplift) for uplift in uplifts], sort_keys=True, separators=(",", ":"))


def from_json(text: str | None) -> tuple[Uplift, ...]:
    """The uplifts that ``to_json`` wrote."""
    return tuple(Uplift(**values) for values in json.loads(text)) if text else ()
