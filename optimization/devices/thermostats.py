"""The cheapest schedules of thermostatic loads that are on or off, with a certified interval."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from optimization.devices.oracle import Integers, PowerCost, Response, power_cost
from optimization.devices.thermal_dp import cost_all, switch_all
from optimization.devices.thermostatic import Thermostatic
from optimization.errors import ProblemError
from optimization.quantities import Floats, Horizon

QUICK = 48
"""Cells across the band for the iterations of a price search."""

FINE = 1920
"""Cells across the band for certificates."""

_FIRST_STAGE = 120
"""Cells that a finer resolution begins with; mostly they are enough."""

_SCHEDULE_CELLS = 64
"""Cells for the schedule where the resolution is ``QUICK``."""

ROUGH = 12
"""Cells where only the schedule matters: it is as good as with ``QUICK``, the bound far below it."""

_ROUNDS = 3
"""Rounds a stage that narrow the bound, where the resolution is more than ``QUICK``, else one; the first gain most."""

_ENOUGH = 1e-4
"""Width of the interval, relative to the cost, that is not narrowed further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """B thermostatic loads that are on or off, a block each. Loads that cool have mirrored temperatures.

    Attributes
    ----------
    devices : the B loads
    horizon : T MTUs
    resolution : temperature cells across the band, at least 1; more narrow the interval and cost time
    keep : (B,) part of a temperature's excess that is left after an MTU
    lift : (B, T) K that being on adds in an MTU, non-negative
    drift : (B, T) K added in any case
    lower, upper : (B, T) comfort bands
    initial : (B,) temperatures when the horizon begins
    discomfort : (B, 2) currency per K outside in an MTU, and for being outside
    start_cost : (B,) currency per start
    rated : (B,) kW while on
    least : (B, 2) MTUs of the shortest run and rest
    running : (B,) whether it is on when the horizon begins
    forced : (B,) MTUs for which it must stay so
    """

    devices: tuple[Thermostatic, ...]
    horizon: Horizon
    resolution: int
    keep: Floats
    lift: Floats
    drift: Floats
    lower: Floats
    upper: Floats
    initial: Floats
    discomfort: Floats
    start_cost: Floats
    rated: Floats
    least: Integers
    running: npt.NDArray[np.bool_]
    forced: Integers

    @classmethod
    def of(
        cls, devices: Sequence[Thermostatic], horizon: Horizon, shortfall_price: float, *, resolution: int = QUICK
    ) -> "Switched":
        """The batch of some loads that do not modulate; their discomfort has a price of its own, not the shortfall's.

        Raises
        ------
        ProblemError
            If a load modulates or its series do not fit the horizon.
        """
        del shortfall_price
        for device in devices:
            if device.modulating:
                raise ProblemError(f"{device.id}.modulating: got True, wanted a load that is on or off")
            if device.performance.size != horizon.mtus:
                raise ProblemError(
                    f"{device.id}.performance: got {device.performance.size} MTUs, wanted {horizon.mtus}"
                )
        sign = np.array([1.0 if d.performance[0] > 0 else -1.0 for d in devices])[:, None]
        rated = np.array([d.rated_kw for d in devices], dtype=np.float64)
        dynamics = [d.dynamics(horizon) for d in devices]
        lower, upper = (sign * _rows([getattr(d, name) for d in devices], horizon) for name in ("lower_c", "upper_c"))
        return cls(
            devices=tuple(devices),
            horizon=horizon,
            resolution=resolution,
            keep=np.array([keep for keep, _, _ in dynamics], dtype=np.float64),
            lift=sign * rated[:, None] * _rows([gain for _, gain, _ in dynamics], horizon),
            drift=sign * _rows([drift for _, _, drift in dynamics], horizon),
            lower=np.minimum(lower, upper),
            upper=np.maximum(lower, upper),
            initial=sign[:, 0] * np.array([d.initial_c for d in devices], dtype=np.float64),
            discomfort=np.array(
                [(horizon.hours * d.discomfort_cost, d.outside_cost) for d in devices], dtype=np.float64
            ).reshape(-1, 2),
            start_cost=np.array([d.start_cost for d in devices], dtype=np.float64),
            rated=rated,
            least=np.array([(d.min_on_mtus, d.min_off_mtus) for d in devices], dtype=np.int64).reshape(-1, 2),
            running=np.array([d.running for d in devices], dtype=np.bool_),
            forced=np.array([_forced(d) for d in devices], dtype=np.int64),
        )

    @property
    def block(self) -> Integers:
        """(B,) the block of each load: its own."""
        return np.arange(len(self.devices), dtype=np.int64)

    def at(self, resolution: int) -> "Switched":
        """The same loads with other temperature cells: ``FINE`` for certificates."""
        return replace(self, resolution=resolution)

    def respond(self, cost: PowerCost, blocks: Integers | None = None) -> Response:
        """Schedules that are nearly the cheapest under the costs of power, with proven bounds; see ``oracle.Batch``."""
        chosen = slice(None) if blocks is None else blocks
        rated = self.rated[chosen, None]
        nothing = np.zeros_like(cost.price)
        charge = _mtu_costs(cost, nothing + rated, self.horizon.hours) - _mtu_costs(cost, nothing, self.horizon.hours)
        on = np.zeros(cost.price.shape, dtype=np.bool_)
        effort = _effort(self.resolution)
        own, bound = switch_all(
            np.ascontiguousarray(charge),
            self.keep[chosen],
            self.lift[chosen],
            self.drift[chosen],
            self.lower[chosen],
            self.upper[chosen],
            self.initial[chosen],
            self.discomfort[chosen],
            self.start_cost[chosen],
            self.least[chosen],
            self.running[chosen],
            self.forced[chosen],
            effort,
            on,
        )
        power = rated * on
        paid = own + power_cost(cost, power, self.horizon.hours)
        bound += power_cost(cost, nothing, self.horizon.hours)
        return Response(power_kw=power, own_cost=own, bound=np.minimum(bound, paid))

    def own_cost(self, power_kw: Floats, blocks: Integers | None = None) -> Floats:
        """(B,) currency of discomfort and starts of given (B, T) schedules."""
        chosen = slice(None) if blocks is None else blocks
        own: Floats = cost_all(
            power_kw > 0.5 * self.rated[chosen, None],
            self.keep[chosen],
            self.lift[chosen],
            self.drift[chosen],
            self.lower[chosen],
            self.upper[chosen],
            self.initial[chosen],
            self.discomfort[chosen],
            self.start_cost[chosen],
            self.running[chosen],
        )
        return own


def _rows(series: Sequence[Floats], horizon: Horizon) -> Floats:
    """(B, T) of B series; also for none."""
    return np.array(series, dtype=np.float64).reshape(-1, horizon.mtus)


def _forced(device: Thermostatic) -> int:
    """MTUs for which a load must stay as it was, because its run or rest has not lasted its minimum."""
    if device.elapsed_mtus is None:
        return 0
    return max(0, (device.min_on_mtus if device.running else device.min_off_mtus) - device.elapsed_mtus)


def _mtu_costs(cost: PowerCost, power_kw: Floats, hours: float) -> Floats:
    """(B, T) currency of power in each MTU."""
    kinked = (cost.kink * np.maximum(0.0, power_kw[:, :, None] - cost.kink_at)).sum(axis=2)
    pull = 0.5 * cost.weight * (power_kw - cost.target) ** 2
    return np.asarray(hours * (cost.price * power_kw + kinked + pull))


def _effort(resolution: int) -> tuple[int, int, int, int, float]:
    """The ``effort`` of ``switch``: at once, or from a coarse stage on in rounds."""
    if resolution <= QUICK:
        return resolution, resolution, _SCHEDULE_CELLS, int(resolution == QUICK), _ENOUGH
    first = min(resolution, _FIRST_STAGE)
    return first, resolution, first, _ROUNDS, _ENOUGH
