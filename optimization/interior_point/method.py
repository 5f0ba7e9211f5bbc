r"""Mehrotra's predictor-corrector method for a programme, with the arcs eliminated.

With :math:`W^{-1} = H + Z/X + U/V`, where v is the room below an upper bound and u its dual, each Newton step solves
:math:`A W A' d\lambda = r` and recovers all else from :math:`d\lambda`. Boxes are few and are kept as arrays; arcs are
many and are passed over by ``kernels``. The corrector enters with the weight, out of a few, that allows the longest
step.

References
----------
S. Mehrotra (1992), "On the implementation of a primal-dual interior point method", SIAM J. Optimization 2(4).
M. Colombo, J. Gondzio (2008), "Further development of multiple centrality correctors for interior point methods",
Computational Optimization and Applications 41(3), section 3 (weights of the corrector).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimization.community import Floats
from optimization.errors import SolverError
from optimization.interior_point import kernels
from optimization.interior_point.normal import Normal, normal
from optimization.interior_point.programme import Programme

WEIGHTS = np.array([1.0, 0.8, 0.6, 0.4, 0.2, 0.1, 0.03])
TO_BOUND = 0.995
START_FLOW = 30.0
"""Sum of all flows at the start, in half the sum of what boxes can move; larger starts are better centred."""

WITHOUT_ARCS = 10.0
"""Product of values and duals at the start where there are no arcs, in typical widths times typical marginal costs."""

LEAST_REDUCED_COST = 0.03
"""Of an arc at the start, in typical marginal costs; where arcs cost nothing the central path has no limit."""

AWAY = 1e-3
ROUNDING = 1e-13
LEAST_COST = 1e-12
"""Of the largest marginal cost: less than this is nothing."""

WELL_BALANCED = 1e-11
DAMPING = 1e-10
"""Added to the normal matrix, in typical powers per cost: prices that nothing depends on stay where they are."""

STIFFEST = 1e150
STALLED_STEP = 1e-7
STALLED_STEPS = 5
UNTRUSTED = 1e-2
LAGGING = 1e-3
"""Gap, in the larger residual, below which feasibility must catch up before products shrink on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How far an iterate is from a solution, each relative.

    Attributes
    ----------
    primal : largest imbalance of a row, against what goes through it
    dual : largest dual residual, against the largest marginal cost
    gap : sum of complementarity products, against the objective
    """

    primal: float
    dual: float
    gap: float

    @property
    def worst(self) -> float:
        """The largest of the three."""
        return max(self.primal, self.dual, self.gap)


@dataclass(frozen=True, slots=True, kw_only=True)
class Iterate:
    """Where the method ended.

    Attributes
    ----------
    boxes, arcs : (B,), (M,) values, positive
    room : (B,) what is left to the upper bounds, 1 where there is none
    price : (R,) duals of the rows
    reduced, upper_reduced : (B,) duals of the lower and upper bounds of the boxes; the latter 0 where there is none
    arc_reduced : (M,) duals of the arcs' lower bounds
    iterations : Newton steps
    quality : of this iterate
    cost_scale : the largest marginal cost that dual residuals are measured against
    """

    boxes: Floats
    room: Floats
    arcs: Floats
    price: Floats
    reduced: Floats
    upper_reduced: Floats
    arc_reduced: Floats
    iterations: int
    quality: Quality
    cost_scale: float


class Method:
    """An iterate of a programme, and the steps that improve it.

    Parameters
    ----------
    programme : what to solve
    start : an iterate of the same rows and boxes to go on from; None for the central path at one price
    iterations : steps that were made before, where there is no start
    centrality : of the start, in what suits most programmes; more leads further away from all bounds
    """

    def __init__(
        self, programme: Programme, start: Iterate | None = None, *, iterations: int = 0, centrality: float = 1.0
    ) -> None:
        boxes, arcs = programme.boxes, programme.arcs
        self._matrix, self._transposed = boxes.matrix.tocsr(), boxes.matrix.T.tocsr()
        self._cost, self._curvature, self._width = boxes.cost, boxes.curvature, boxes.width
        self._two = np.isfinite(boxes.width)
        self._target, self._constant = programme.target, programme.constant
        self._arcs = (arcs.seller, arcs.buyer, arcs.cost)
        self._count = boxes.cost.size + int(self._two.sum()) + arcs.cost.size
        self._throughput = abs(self._matrix)
        self._linear: Normal = normal(programme)
        self._exact = self._boxes_exact = False
        # Where nothing can move there is nowhere to step.
        self._stalled, self._iterations = 0 if self._count else STALLED_STEPS, iterations
        self._size = max(float(np.median(boxes.width[self._two])) if self._two.any() else 1.0, 1e-9)
        if start is None:
            self._start(programme, centrality)
        else:
            self._iterations = start.iterations
            self._x, self._v, self._z, self._u = start.boxes, start.room, start.reduced, start.upper_reduced
            self._price, self._cost_scale = start.price, start.cost_scale
            self._flow, self._reduced = start.arcs.copy(), start.arc_reduced.copy()
            self._measure()
        self._damping = DAMPING * self._size / self._cost_scale

    @property
    def quality(self) -> Quality:
        """Of the iterate."""
        return self._quality

    @property
    def product(self) -> float:
        """Mean of the products of values and duals, which is one on the central path."""
        return self._gap / self._count

    @property
    def price(self) -> Floats:
        """(R,) prices of the iterate."""
        return self._price

    def run(self, *, tolerance: float, steps: int, stop: Callable[[], bool] | None = None) -> Iterate:
        """The first iterate within the tolerance, or the best of the given number of steps.

        Parameters
        ----------
        tolerance : of all three parts of the quality
        steps : Newton steps at most
        stop : asked before each step whether to end early; None never does
        """
        best = self.iterate()
        for _ in range(steps):
            if best.quality.worst <= tolerance or self.stuck or (stop is not None and stop()):
                break
            try:
                length = self.advance()
            except SolverError:
                self._stalled = STALLED_STEPS
                break
            if not np.isfinite(self._quality.worst):
                self._stalled = STALLED_STEPS
                break
            self._stalled = self._stalled + 1 if length < STALLED_STEP else 0
            if self._quality.worst <= best.quality.worst or best.quality.worst > UNTRUSTED:
                best = self.iterate()
        return best

    @property
    def stuck(self) -> bool:
        """Whether steps have become too short to lead anywhere."""
        return self._stalled >= STALLED_STEPS

    def _start(self, programme: Programme, more: float) -> None:
        """One price for all rows, on its central path: products are equal, duals exact, only rows are unbalanced."""
        two, width, arcs = self._two, self._width, programme.arcs
        size = max(float(np.median(width[two])) if two.any() else 1.0, 1e-9)
        middle = np.where(two, 0.5 * np.where(two, width, 0.0), size)
        slopes = self._cost + self._curvature * middle
        entries = np.maximum(np.asarray(self._throughput.sum(axis=1)).ravel(), 1e-300)
        self._price = np.zeros(self._target.size)
        marginal = -(self._matrix @ slopes)[: programme.balances] / entries[: programme.balances]
        self._price[: programme.balances] = np.median(marginal) if marginal.size else 0.0
        slope = self._cost + self._transposed @ self._price
        self._cost_scale = max(1e-12, float(np.abs(slopes).max(initial=0.0)), float(arcs.cost.max(initial=0.0)))
        typical = float(np.median(np.abs(slope + self._curvature * middle))) if slope.size else 0.0
        spread = max(1e-3 * self._cost_scale, typical)
        total = float(width[two].sum()) / 2 if two.any() else 1.0
        self._reduced = np.maximum(arcs.cost, LEAST_REDUCED_COST * spread)
        inverse = float((1.0 / self._reduced).sum())
        centrality = more * (START_FLOW * total / inverse if inverse else WITHOUT_ARCS * spread * size)
        self._flow = centrality / self._reduced
        self._x = _central(slope, self._curvature, width, centrality, size)
        self._v = np.where(two, width - self._x, 1.0)
        self._z = centrality / self._x
        self._u = np.where(two, centrality / self._v, 0.0)
        self._measure()

    def _measure(self) -> None:
        """Residuals at the iterate."""
        x, v, z, u, two = self._x, self._v, self._z, self._u, self._two
        least = LEAST_COST * self._cost_scale
        flow, self._pull, self._diagonal, totals = kernels.weigh(
            *self._arcs, self._flow, self._reduced, self._price, self._exact, least
        )
        self._exact = self._exact or totals[2] <= ROUNDING
        self._unbalanced = self._matrix @ x + flow - self._target
        own, priced = self._cost + self._curvature * x, self._transposed @ self._price
        self._unfair = np.zeros_like(x) if self._boxes_exact else own + priced - z + u
        # Rounding is judged against what a residual is made of: cheap assets count as much as dear ones.
        made_of = np.abs(self._cost) + self._curvature * x + np.abs(priced) + z + u + least
        relative = float((np.abs(self._unfair) / made_of).max(initial=0.0))
        self._boxes_exact = self._boxes_exact or relative <= ROUNDING
        self._unroomed = np.where(two, x + v - np.where(two, self._width, 0.0), 0.0)
        self._gap = float(totals[0] + x @ z + v[two] @ u[two])
        value = self._constant + float(self._cost @ x + 0.5 * self._curvature @ (x * x) + self._arcs[2] @ self._flow)
        through = self._throughput @ x + np.abs(flow)
        most = float(through.max(initial=0.0))
        idle = 1e-3 * (min(self._size, most) if most > 1e-6 * self._size else self._size)
        self._quality = Quality(
            primal=float((np.abs(self._unbalanced) / np.maximum(through, idle)).max(initial=0.0)),
            dual=max(float(np.abs(self._unfair).max(initial=0.0)), float(totals[1])) / self._cost_scale,
            gap=self._gap / max(abs(value), abs(value - self._gap), 1e-12 * self._cost_scale),
        )

    def iterate(self) -> Iterate:
        """The iterate as a value."""
        return Iterate(
            boxes=self._x,
            room=self._v,
            arcs=self._flow.copy(),
            price=self._price,
            reduced=self._z,
            upper_reduced=self._u,
            arc_reduced=self._reduced.copy(),
            iterations=self._iterations,
            quality=self._quality,
            cost_scale=self._cost_scale,
        )

    def advance(self) -> float:
        """Make a step; returns its length."""
        x, v, z, u, two = self._x, self._v, self._z, self._u, self._two
        arcs = (*self._arcs, self._flow, self._reduced, self._price)
        weight = 1.0 / np.minimum(self._curvature + z / x + np.where(two, u / v, 0.0), STIFFEST)
        self._linear.factor(weight, self._flow, self._reduced, self._diagonal, self._damping)

        push = -self._unfair - z + np.where(two, u * (1.0 - self._unroomed / v), 0.0)
        first = self._solve(weight, self._unbalanced + self._matrix @ (weight * push) + self._pull)
        dx = weight * (push - self._transposed @ first)
        dv = np.where(two, -dx - self._unroomed, 0.0)
        dz = -z - z * dx / x
        du = np.where(two, -u - u * dv / v, 0.0)
        centre, bend, totals = kernels.predict(*arcs, first, self._exact)
        target = self._centring((dx, dv, dz, du), totals)

        lower, upper = (target - dx * dz) / x, np.where(two, (target - dv * du) / v, 0.0)
        second = self._solve(weight, self._matrix @ (weight * (lower - upper)) + target * centre + bend)
        cx = weight * (lower - upper - self._transposed @ second)
        cz = lower - z * cx / x
        cu = np.where(two, upper + u * cx / v, 0.0)
        longest = kernels.correct(*arcs, first, second, target, WEIGHTS, self._exact)
        lengths = [
            min(
                1.0,
                TO_BOUND * float(longest[k].min()),
                TO_BOUND * _longest((x, dx + k_weight * cx), (z, dz + k_weight * cz)),
                TO_BOUND * _longest((v[two], (dv - k_weight * cx)[two]), (u[two], (du + k_weight * cu)[two])),
            )
            for k, k_weight in enumerate(WEIGHTS)
        ]
        # A larger weight centres better: a smaller one must buy a clearly longer step.
        chosen = 0
        for k in range(1, WEIGHTS.size):
            if lengths[k] > lengths[chosen] + 0.01:
                chosen = k
        share, length = float(WEIGHTS[chosen]), lengths[chosen]
        kernels.step(*arcs, first, second, target, share, length, self._exact)
        self._x = x + length * (dx + share * cx)
        self._v = np.where(two, v + length * (dv - share * cx), 1.0)
        self._z = z + length * (dz + share * cz)
        self._u = np.where(two, u + length * (du + share * cu), 0.0)
        self._price = self._price + length * (first + share * second)
        self._iterations += 1
        self._measure()
        return length

    def _solve(self, weight: Floats, right: Floats) -> Floats:
        """The prices' direction; refined once where a first answer has left rows unbalanced."""
        answer = self._linear.solve(right)
        if not self._exact or self._quality.primal < WELL_BALANCED:
            return answer
        product = self._matrix @ (weight * (self._transposed @ answer))
        product += kernels.multiply(*self._arcs[:2], self._flow / self._reduced, answer)
        return answer + self._linear.solve(right - product - self._damping * answer)

    def _centring(self, direction: tuple[Floats, Floats, Floats, Floats], totals: Floats) -> float:
        """What each product of value and dual shall become: little, if the predictor alone gets far."""
        x, v, z, u, two = self._x, self._v, self._z, self._u, self._two
        dx, dv, dz, du = direction
        if self._quality.gap < LAGGING * max(self._quality.primal, self._quality.dual):
            return self._gap / self._count
        length = min(
            1.0,
            float(totals[0]),
            float(totals[1]),
            _longest((x, dx), (z, dz)),
            _longest((v[two], dv[two]), (u[two], du[two])),
        )
        after = (
            self._gap
            + length * (float(totals[2]) + float(x @ dz + z @ dx) + float(v[two] @ du[two] + u[two] @ dv[two]))
            + length**2 * (float(totals[3]) + float(dx @ dz) + float(dv[two] @ du[two]))
        )
        return (max(after, 0.0) / self._gap) ** 3 * self._gap / self._count


def _central(slope: Floats, curvature: Floats, width: Floats, centrality: float, size: float) -> Floats:
    """(B,) where each box's slope equals the pull of its logarithmic barriers, a little away from its bounds."""
    two = np.isfinite(width)
    top = np.where(two, width, 1e3 * size)
    low, high = np.zeros_like(top), top
    for _ in range(40):
        x = 0.5 * (low + high)
        pull = centrality / x - np.where(two, centrality / (top - x), 0.0)
        rising = slope + curvature * x > pull
        low, high = np.where(rising, low, x), np.where(rising, x, high)
    return np.clip(0.5 * (low + high), AWAY * top, (1.0 - AWAY) * top)


def _longest(*pairs: tuple[Floats, npt.NDArray[np.float64]]) -> float:
    """The largest step along directions that keeps all values non-negative."""
    fastest = max(float((-direction / values).max(initial=0.0)) for values, direction in pairs)
    return 1.0 / fastest if fastest > 0 else np.inf
