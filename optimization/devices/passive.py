"""Batches of what has no memory: loads that nobody controls, and production that may be curtailed. Exact."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from optimization.devices.curtailable import Curtailable
from optimization.devices.fixed import FixedLoad
from optimization.devices.oracle import Integers, PowerCost, Response, power_cost
from optimization.devices.power_step import cheapest_powers, kernel_arguments
from optimization.peer_to_peer.chunks import SMALL
from optimization.quantities import Floats, Horizon


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedLoads:
    """Loads that nobody controls, a block each; they cost nothing by themselves.

    Attributes
    ----------
    devices : B loads
    horizon : the MTUs
    block : (B,) 0 to B - 1
    power_kw : (B, T) kW
    """

    devices: tuple[FixedLoad, ...]
    horizon: Horizon
    block: Integers
    power_kw: Floats

    @classmethod
    def of(cls, devices: Sequence[FixedLoad], horizon: Horizon, shortfall_price: float) -> "FixedLoads":
        """The batch of these devices, in their order; they have no task, so the shortfall price is without meaning."""
        return cls(
            devices=tuple(devices),
            horizon=horizon,
            block=np.arange(len(devices)),
            power_kw=np.array([device.power_kw for device in devices]),
        )

    def respond(self, cost: PowerCost, blocks: Integers | None = None) -> Response:
        """The loads as they are; see ``oracle.Batch``."""
        power = self.power_kw if blocks is None else self.power_kw[blocks]
        bound = power_cost(cost, power, self.horizon.hours)
        return Response(power_kw=power.copy(), own_cost=np.zeros(bound.size), bound=bound)

    def own_cost(self, power_kw: Floats, blocks: Integers | None = None) -> Floats:
        """(B,) zeros."""
        return np.zeros(power_kw.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Curtailables:
    """PV and wind plants, a block each. Of equal costs the most production is chosen.

    Attributes
    ----------
    devices : B plants
    horizon : the MTUs
    block : (B,) 0 to B - 1
    available_kw : (B, T) kW
    curtailment_cost : (B,) currency per kWh available and not produced
    """

    devices: tuple[Curtailable, ...]
    horizon: Horizon
    block: Integers
    available_kw: Floats
    curtailment_cost: Floats

    @classmethod
    def of(cls, devices: Sequence[Curtailable], horizon: Horizon, shortfall_price: float) -> "Curtailables":
        """The batch of these devices, in their order; they have no task, so the shortfall price is without meaning."""
        return cls(
            devices=tuple(devices),
            horizon=horizon,
            block=np.arange(len(devices)),
            available_kw=np.array([device.available_kw for device in devices]),
            curtailment_cost=np.array([device.curtailment_cost for device in devices]),
        )

    def respond(self, cost: PowerCost, blocks: Integers | None = None) -> Response:
        """The cheapest schedules; see ``oracle.Batch``."""
        blocks = self.block if blocks is None else blocks
        power = np.empty((blocks.size, self.horizon.mtus))
        kernel = _produce_in_parallel if power.size * 20 > SMALL else _produce
        kernel(
            *kernel_arguments(cost),
            blocks, self.available_kw, self.curtailment_cost, power,
        )  # fmt: skip
        own = self.own_cost(power, blocks)
        return Response(power_kw=power, own_cost=own, bound=own + power_cost(cost, power, self.horizon.hours))

    def own_cost(self, power_kw: Floats, blocks: Integers | None = None) -> Floats:
        """(B,) currency of what is curtailed."""
        blocks = self.block if blocks is None else blocks
        curtailed = (self.available_kw[blocks] + power_kw).sum(axis=1)
        return np.asarray(self.horizon.hours * self.curtailment_cost[blocks] * curtailed)


@njit(cache=True)
def _produce_one(i, price, kink_at, kink, target, weight, blocks, available, curtailment, power):  # type: ignore[no-untyped-def]
    """The production of one plant; producing saves what curtailing costs, like fuel with a negative price."""
    lower = -available[blocks[i]]
    upper = np.zeros(lower.size)
    saved = -curtailment[blocks[i]]
    cheapest_powers(lower, upper, price[i], kink_at[i], kink[i], target[i], weight, 0.0, saved, True, power[i])
    for t in range(lower.size):
        # Adding nothing turns a negative zero into zero.
        power[i, t] += 0.0


@njit(cache=True)
def _produce(price, kink_at, kink, target, weight, blocks, available, curtailment, power):  # type: ignore[no-untyped-def]
    for i in range(blocks.size):
        _produce_one(i, price, kink_at, kink, target, weight, blocks, available, curtailment, power)


@njit(cache=True, parallel=True)
def _produce_in_parallel(price, kink_at, kink, target, weight, blocks, available, curtailment, power):  # type: ignore[no-untyped-def]
    for i in prange(blocks.size):
        _produce_one(i, price, kink_at, kink, target, weight, blocks, available, curtailment, power)
