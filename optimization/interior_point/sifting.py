r"""Solves a programme on the few arcs that matter, and proves with a pass over all of them that no other does.

At an optimum nearly all arcs of a dense graph are idle, and their reduced costs :math:`c + \lambda_s - \lambda_b` say
so. The method starts on the cheapest arcs of each row. Every few steps all arcs are priced; those whose reduced cost is
negative, or so small that they may yet trade, join on the central path, with flow ``mu / r``. It ends when the iterate
is within the tolerance and no arc left out has a negative reduced cost: then it is optimal for all of them.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from optimization.community import Floats
from optimization.interior_point import kernels
from optimization.interior_point.method import Iterate, Method
from optimization.interior_point.programme import Arcs, Programme
from optimization.market import Indices

MANY = 30
"""Arcs per row from which sifting pays."""

LEAST_ARCS = 5_000
CHEAPEST = 8
STEPS = 5
MARGIN = 3.0
CENTRAL = 1e-6
"""Relative gap down to which an iterate is far enough from its bounds for arcs to join it."""

GOOD = 1e-7
"""Quality of an iterate that a second start would hardly improve."""

MORE_CENTRAL = 1e3
WRONG = 10
"""One in so many rows: where more arcs left out have negative reduced costs, the choice was a bad one."""


def solve(
    programme: Programme, *, tolerance: float, max_iterations: int, stop: Callable[[], bool] | None = None
) -> Iterate:
    """The first iterate within the tolerance, or the best one found; arcs left out carry nothing.

    Parameters
    ----------
    programme : what to solve
    tolerance : of the relative primal and dual residuals and of the relative gap
    max_iterations : Newton steps at most
    stop : asked once an iteration whether to end early; None never does
    """
    arcs = programme.arcs
    if arcs.cost.size < max(LEAST_ARCS, MANY * programme.target.size):
        return _straight(programme, tolerance=tolerance, max_iterations=max_iterations, stop=stop)
    most, spent = CHEAPEST, 0
    central: tuple[Indices, Iterate, float] | None = None
    active = _cheapest(programme, most)
    method = Method(_restricted(programme, active))
    steps = STEPS
    while True:
        best = method.run(tolerance=tolerance, steps=min(steps, max_iterations - spent), stop=stop)
        done = best.quality.worst <= tolerance
        now = best if done or method.stuck else method.iterate()
        outside = np.ones(arcs.cost.size, dtype=bool)
        outside[active] = False
        reduced = _reduced(arcs, now)
        near = _near(method, now)
        joining = np.flatnonzero(outside & (reduced < (-tolerance * now.cost_scale if done else near)))
        spent = now.iterations
        if spent >= max_iterations or (stop is not None and stop()) or (done and not joining.size):
            return _whole(best, active, reduced)
        wrong = int((reduced[joining] < -near).sum())
        if method.stuck or WRONG * wrong > programme.target.size:
            # Too few arcs to serve everybody, or nearly: their prices lead nowhere.
            if active.size == arcs.cost.size:
                return _whole(best, active, reduced)
            most *= 3
            active = np.union1d(_cheapest(programme, most), active)
            if 2 * active.size > arcs.cost.size:
                active = np.arange(arcs.cost.size)
            method = Method(_restricted(programme, active), iterations=spent)
            steps, central = 2 * STEPS, None
            continue
        if now.quality.gap >= CENTRAL:
            central = active, now, method.product
        if joining.size:
            if central is not None:
                # An iterate near its end has no room for newcomers: they join where it was still central.
                before, now, product = central
                joining = np.setdiff1d(np.union1d(active, joining), before)
                now = replace(now, iterations=spent)
                active, now = _joined(before, now, joining, _reduced(arcs, now, joining), product)
            else:
                active, now = _joined(active, now, joining, reduced[joining], method.product)
            method = Method(_restricted(programme, active), now)
        steps = STEPS if joining.size else 2 * STEPS


def _straight(
    programme: Programme, *, tolerance: float, max_iterations: int, stop: Callable[[], bool] | None
) -> Iterate:
    """The best iterate on all arcs, after a second start further from all bounds where the first leads nowhere."""
    first = Method(programme).run(tolerance=tolerance, steps=max_iterations, stop=stop)
    left = max_iterations - first.iterations
    if first.quality.worst <= max(tolerance, GOOD) or left <= 0:
        return first
    again = Method(programme, iterations=first.iterations, centrality=MORE_CENTRAL)
    second = again.run(tolerance=tolerance, steps=left, stop=stop)
    return min(first, second, key=lambda iterate: iterate.quality.worst)


def _reduced(arcs: Arcs, now: Iterate, chosen: Indices | slice = slice(None)) -> Floats:
    """Reduced costs of arcs."""
    reduced: Floats = arcs.cost[chosen] + now.price[arcs.seller[chosen]] - now.price[arcs.buyer[chosen]]
    return reduced


def _near(method: Method, now: Iterate) -> float:
    """Reduced cost under which an arc left out may yet trade: what typical trading arcs have at this product."""
    flow = float(now.arcs.sum())
    typical = float(now.arcs @ now.arcs) / flow if flow else 1.0
    return MARGIN * method.product / typical


def _cheapest(programme: Programme, most: int) -> Indices:
    """The arcs that are among the cheapest at one of their ends, by their cost or by what trading over them gains."""
    boxes, arcs, rows = programme.boxes, programme.arcs, programme.target.size
    two = np.isfinite(boxes.width)
    slopes = boxes.cost + boxes.curvature * np.where(two, 0.5 * np.where(two, boxes.width, 0.0), 0.0)
    entries = np.maximum(np.asarray(abs(boxes.matrix).sum(axis=1)).ravel(), 1e-300)
    marginal = -(boxes.matrix @ slopes) / entries
    gain = arcs.cost + marginal[arcs.seller] - marginal[arcs.buyer]
    chosen = kernels.cheapest(arcs.seller, arcs.buyer, arcs.cost, rows, most)
    chosen |= kernels.cheapest(arcs.seller, arcs.buyer, gain, rows, most)
    return np.flatnonzero(chosen)


def _restricted(programme: Programme, active: Indices) -> Programme:
    arcs = programme.arcs
    return replace(programme, arcs=Arcs(seller=arcs.seller[active], buyer=arcs.buyer[active], cost=arcs.cost[active]))


def _joined(
    active: Indices, now: Iterate, joining: Indices, reduced: Floats, product: float
) -> tuple[Indices, Iterate]:
    """The arcs with those that join, in their order, and the iterate with these on its central path."""
    dual = np.maximum(reduced, product / max(float(now.arcs.max(initial=0.0)), 1e-300))
    together = np.concatenate([active, joining])
    order = np.argsort(together, kind="stable")
    return together[order], replace(
        now,
        arcs=np.concatenate([now.arcs, product / dual])[order],
        arc_reduced=np.concatenate([now.arc_reduced, dual])[order],
    )


def _whole(best: Iterate, active: npt.NDArray[np.int64], reduced: Floats) -> Iterate:
    """The iterate over all arcs."""
    arcs, dual = np.zeros_like(reduced), np.maximum(reduced, 0.0)
    arcs[active], dual[active] = best.arcs, best.arc_reduced
    return replace(best, arcs=arcs, arc_reduced=dual)
