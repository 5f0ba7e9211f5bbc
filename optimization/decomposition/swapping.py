"""Blocks that try what they did at other prices: good schedules that no step towards them finds.

On the way to its prices the search has asked every block for its cheapest schedules under many. Each is tried in turn,
the heaviest of each block in the mixture first: the block takes it, the others of its home answer, and what comes of it
is kept where it is cheaper, else undone. A generator that is to run with the heat pump, and the battery with both, is
on its way there already when the others answer.
"""

from collections.abc import Callable

import numpy as np

from optimization.certificate import relative_gap
from optimization.decomposition.descent import LEAST_GAIN, Descent
from optimization.decomposition.hulls import Hulls
from optimization.devices.oracle import Integers, pulled
from optimization.quantities import Floats

SETTLING = 4
"""Rounds in which the others of a home may answer."""

ALIKE_KW = 1e-6
PULL = 1e3
"""How hard a chain's devices are pulled to the sum that its column is."""


def swap(
    descent: Descent,
    hulls: Hulls,
    *,
    limit: int,
    bound: float,
    gap: float,
    stop: Callable[[], bool] | None = None,
) -> int:
    """Try the hulls' columns until none gains; returns how many attempts gained.

    Parameters
    ----------
    descent : the schedules, which get cheaper in place
    hulls : of the descent's blocks
    limit : most attempts
    bound : currency below which nothing can cost
    gap : relative gap at which it ends, as of ``certificate.relative_gap``
    stop : asked before each attempt
    """
    value = descent.value()
    gained = attempts = 0
    for place, column in _columns(hulls):
        if attempts >= limit or relative_gap(value, bound) <= gap or (stop is not None and stop()):
            break
        if np.abs(column - descent.block_kw[place]).max(initial=0.0) <= ALIKE_KW:
            continue
        attempts += 1
        change = _tried(descent, place, column)
        if change < 0.0:
            gained += 1
            value += change
    descent.refresh()
    return gained


def _columns(hulls: Hulls) -> list[tuple[int, Floats]]:
    """Blocks and columns: the heaviest of each block, then the next of each, and so on."""
    order = np.argsort(-hulls.weight, axis=1, kind="stable")
    return [
        (place, hulls.column[place, order[place, rank]])
        for rank in range(order.shape[1])
        for place in range(len(order))
        if np.isfinite(hulls.cost[place, order[place, rank]])
    ]


def _tried(descent: Descent, place: int, column: Floats) -> float:
    """The change of all costs that a block's other schedule makes once its home has answered; 0 where it is undone."""
    problem = descent.problem
    chosen = np.flatnonzero(problem.peer == problem.peer[place])
    plants = np.flatnonzero(problem.plant_peer == problem.peer[place])
    others = [int(other) for other in chosen if other != place]
    kept = descent.saved(np.asarray(chosen, dtype=np.int64))
    change = descent.take(place, _rows(descent, place, column))
    for _ in range(SETTLING):
        gain = sum(descent.improve(other) for other in others)
        gain += sum(descent.improve_plant(int(plant)) for plant in plants)
        gain += descent.improve(place)
        change += gain
        if gain > -LEAST_GAIN:
            break
    if change < -LEAST_GAIN:
        return float(change)
    descent.restore(kept)
    return 0.0


def _rows(descent: Descent, place: int, column: Floats) -> Floats:
    """(R, T) kW of a block's devices: the column of a single one, of a chain what comes nearest to it."""
    k, local = int(descent.part[place]), int(descent.local[place])
    if descent.first_row[k][local + 1] - descent.first_row[k][local] == 1:
        return column[None].copy()
    block: Integers = np.array([local])
    return descent.problem.parts[k].blocks.batch.respond(pulled(column[None], PULL), block).power_kw
