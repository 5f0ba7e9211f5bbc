"""Where a window leaves each member, and how those who gain make the others whole.

``regret`` says what these figures are and how they are found.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optimization.quantities import Floats
from optimization.rounding import apportion


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a window changes for each member, its payments left out.

    Attributes
    ----------
    alone : (N,) currency below which no plan of its own at the tariff can cost, before the window; A
    rest : (N,) the same of the rest of the horizon after it; B
    own : (N,) currency that its devices cost themselves in the window
    short : (N,) currency of the above that stands for tasks falling short, and that nobody pays: positive where the
        community leaves undone what the member could have done alone
    rounding : (N,) currency of it that whole watts may make: no task was given up for less
    """

    alone: Floats
    rest: Floats
    own: Floats
    short: Floats
    rounding: Floats

    @property
    def dearer(self) -> Floats:
        """(N,) currency by which the window costs the member more than it pays in it: c aside, its regret."""
        return np.asarray(self.own + self.rest - self.alone - self.short)


def loss_of(dearer: float, short: float) -> float:
    """What a member has lost, negative where it has gained; in the unit of the arguments.

    What stands for tasks is not money, and makes no loss or gain by itself. But what a member saves by leaving a task
    undone is a gain only as far as it is more than the task stands for; and what it pays for a task that alone it would
    leave undone is a loss only as far as it is more than that.

    Parameters
    ----------
    dearer : money by which it fares worse than alone; negative where it fares better
    short : what stands for tasks that it is left short of beyond what it would be alone; negative where alone it would
        be left short of more
    """
    if dearer < 0.0 < short:
        return min(0.0, dearer + short)
    if short < 0.0 < dearer:
        return max(0.0, dearer + short)
    return dearer


def share_out(regret: Sequence[int], ties: Sequence[str]) -> tuple[int, ...]:
    """What each member receives (positive) or contributes (negative).

    Who has a regret receives all of it. Who has gained contributes in proportion to the gain, and no more than it; what
    all gains together do not cover is left over in the sum.

    Parameters
    ----------
    regret : micro-currency of each member, negative where it has gained
    ties : a label for each; what cannot be divided goes to the smaller label
    """
    gained = [max(0, -amount) for amount in regret]
    lost = [max(0, amount) for amount in regret]
    whole = max(1, sum(gained))
    covered = min(sum(lost), sum(gained))
    given = apportion(covered, [covered * gain for gain in gained], whole, [0] * len(gained), gained, ties)
    return tuple(receives - gives for receives, gives in zip(lost, given, strict=True))
