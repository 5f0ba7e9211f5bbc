r"""Solves a programme on the few arcs that matter, and proves with a pass over all of them that no other does.

At an optimum nearly all arcs of a dense graph are idle, and their reduced costs :math:`c + \lambda_s - \lambda_b` say so.
The method starts on the cheapest arcs of each row. Every few steps all arcs are priced; those whose reduced cost is
negative, or so small that they may yet trade, join on the central path, with flow ``mu / r``. It ends when the iterate is
within the tolerance and no arc left out has a negative reduced cost: then it is optimal for all of them.
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
        return Method(programme).run(tolerance=tolerance, steps=max_iterations, stop=stop)
    active = _cheapest(programme)
    method = Method(_restricted(programme, active))
    steps = STEPS
    while True:
        best = method.run(tolerance=tolerance, steps=min(steps, max_iterations), stop=stop)
        max_iterations -= steps
        outside = np.ones(arcs.cost.size, dtype=bool)
        outside[active] = False
        now = method.iterate() if not method.stuck else best
        reduced = arcs.cost + now.price[arcs.seller] - now.price[arcs.buyer]
        done = best.quality.worst <= tolerance
        least = -tolerance * now.cost_scale if done else _near(method, now)
        joining = np.flatnonzero(outside & (reduced < least))
        if max_iterations <= 0 or (stop is not None and stop()) or ((done or method.stuck) and not joining.size):
            return _whole(best, active, reduced)
        if joining.size:
            active, now = _joined(active, now, joining, reduced[joining], method.product)
            method = Method(_restricted(programme, active), now)
        steps = STEPS if joining.size else 2 * STEPS


def _near(method: Method, now: Iterate) -> float:
    """Reduced cost under which an arc left out may yet trade: what typical trading arcs have at this product."""
    flow = float(now.arcs.sum())
    typical = float(now.arcs @ now.arcs) / flow if flow else 1.0
    return MARGIN * method.product / typical


def _cheapest(programme: Programme) -> Indices:
    """The arcs that are among the cheapest at one of their ends, by their cost or by what trading over them gains."""
    boxes, arcs, rows = programme.boxes, programme.arcs, programme.target.size
    two = np.isfinite(boxes.width)
    slopes = boxes.cost + boxes.curvature * np.where(two, 0.5 * np.where(two, boxes.width, 0.0), 0.0)
    entries = np.maximum(np.asarray(abs(boxes.matrix).sum(axis=1)).ravel(), 1e-300)
    marginal = -(boxes.matrix @ slopes) / entries
    gain = arcs.cost + marginal[arcs.seller] - marginal[arcs.buyer]
    chosen = kernels.cheapest(arcs.seller, arcs.buyer, arcs.cost, rows, CHEAPEST)
    chosen |= kernels.cheapest(arcs.seller, arcs.buyer, gain, rows, CHEAPEST)
    return np.flatnonzero(chosen)


def _restricted(programme: Programme, active: Indices) -> Programme:
    arcs = programme.arcs
    return replace(
        programme, arcs=Arcs(seller=arcs.seller[active], buyer=arcs.buyer[active], cost=arcs.cost[active])
    )


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
