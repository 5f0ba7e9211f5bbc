"""Whole-number schedules that get cheaper block by block, the limits first.

One block at a time leaves its home and comes back as its oracle likes it best under the cost that the neighbourhood
then has for its power: the marginal cost curve of its home through trades and grid (``marginal``), and beyond each
envelope's remaining room a price above any shortfall's. Each answer is exact and taken only where it costs less, so
the whole gets cheaper step by step; flows are re-routed with it and stay feasible.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from optimization.decomposition.problem import Problem, block_power
from optimization.devices import FixedLoad
from optimization.devices.oracle import Integers, PowerCost, power_cost
from optimization.marginal import Flows, apply, curves
from optimization.quantities import Floats
from optimization.trading import Trades, trade

LIMIT_FACTOR = 10.0
"""What a kWh beyond an envelope costs, relative to the shortfall price: limits come before tasks."""

LEAST_GAIN = 1e-9

ABSENT = 1e7
"""Currency that a block out of its home counts: any schedule of its own is cheaper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A state of the search that can be gone back to, of chosen blocks and all flows.

    Attributes
    ----------
    chosen : blocks
    rows : of each, the (R, T) kW of its devices
    block_kw, own : of each
    net, sums, flows : of all
    """

    chosen: Integers
    rows: tuple[Floats, ...]
    block_kw: Floats
    own: Floats
    net: Floats
    sums: Floats
    flows: Flows


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedules:
    """Whole-number schedules of everything.

    Attributes
    ----------
    power_kw : (R, T) kW of all devices, in the community's order
    net_kw : (N, T)
    own_cost : currency of the devices themselves
    trades : the cheapest for these net powers
    excess_kwh : energy beyond envelopes, 0 where all are kept
    """

    power_kw: Floats
    net_kw: Floats
    own_cost: float
    trades: Trades
    excess_kwh: float

    @property
    def cost(self) -> float:
        """Currency of devices and trades."""
        return self.own_cost + float(self.trades.cost.sum())


class Descent:
    """The state of the search; arrays that it writes to.

    Parameters
    ----------
    problem : the community
    power : per part, (R, T) kW of its devices
    produced : (D, T) kW of the plants
    """

    def __init__(self, problem: Problem, power: tuple[Floats, ...], produced: Floats) -> None:
        self.problem = problem
        self.hours = problem.community.horizon.hours
        self.penalty = LIMIT_FACTOR * problem.community.shortfall_price
        blocks, mtus = problem.peer.size, problem.fixed_kw.shape[1]
        self.power = [rows.copy() for rows in power]
        self.produced = produced.copy()
        self.block_kw = np.empty((blocks, mtus))
        self.own = np.empty(blocks)
        self.part = np.empty(blocks, dtype=np.int64)
        self.local = np.empty(blocks, dtype=np.int64)
        for k, part in enumerate(problem.parts):
            self.replace_part(k, self.power[k])
            self.part[part.place] = k
            self.local[part.place] = np.arange(part.place.size)
        self.first_row = [
            np.searchsorted(part.blocks.batch.block, np.arange(part.place.size + 1)) for part in problem.parts
        ]
        self.envelopes = [np.flatnonzero(problem.member[:, n]) for n in range(problem.fixed_kw.shape[0])]
        self.refresh()

    def replace_part(self, k: int, rows: Floats) -> None:
        """Give all devices of a part new (R, T) kW; net powers follow at the next ``refresh``."""
        part = self.problem.parts[k]
        batch = part.blocks.batch
        self.power[k] = rows
        self.block_kw[part.place] = block_power(batch.block, rows, part.place.size)
        self.own[part.place] = batch.own_cost(rows)
        self.own[part.place] += self.problem.change_cost(part.place, self.block_kw[part.place])

    def refresh(self) -> None:
        """Recompute net powers, and the cheapest trades for them."""
        problem = self.problem
        self.net = problem.fixed_kw.copy()
        np.add.at(self.net, problem.peer, self.block_kw)
        np.subtract.at(self.net, problem.plant_peer, self.produced)
        self.sums = problem.member @ self.net
        self.trades = trade(problem.network, self.net)
        self.flows = Flows.of(self.trades)

    def excess(self) -> float:
        """kWh beyond the envelopes."""
        above = np.maximum(0.0, self.sums - self.problem.upper_kw)
        below = np.maximum(0.0, self.problem.lower_kw - self.sums)
        return self.hours * float((above + below).sum())

    def value(self) -> float:
        """Currency of everything, what is beyond limits at its penalty; as of the last refresh."""
        return float(self.own.sum() + self.plant_cost() + self.trades.cost.sum()) + self.penalty * self.excess()

    def plant_cost(self) -> float:
        """Currency for what plants do not produce."""
        curtailed = (self.problem.available_kw - self.produced).sum(axis=1)
        return self.hours * float(self.problem.curtailment_cost @ curtailed)

    def cost_at(self, peer: int, place: int, power: Floats) -> PowerCost:
        """What a block's power costs beside everybody else's, given its present (T,) power."""
        curve = curves(self.problem.network, self.flows, peer)
        price, kink = curve.price, curve.kink
        at = curve.kink_at - (self.net[peer] - power)[:, None]
        member = self.envelopes[peer]
        if member.size:
            beside = self.sums[member] - power
            upper, lower = self.problem.upper_kw[member] - beside, self.problem.lower_kw[member] - beside
            below = np.isfinite(lower)
            price = price - self.penalty * below.sum(axis=0)
            bounds = np.concatenate([np.where(np.isfinite(upper), upper, 0.0), np.where(below, lower, 0.0)])
            rises = self.penalty * np.concatenate([np.isfinite(upper), below]).astype(np.float64)
            at = np.concatenate([at, bounds.T], axis=1)
            kink = np.concatenate([kink, rises.T], axis=1)
        change = self.problem.change_price[place] if place >= 0 else 0.0
        if change:
            price = price - change
            at = np.concatenate([at, self.problem.planned_kw[place][:, None]], axis=1)
            kink = np.concatenate([kink, np.full((price.size, 1), 2.0 * change)], axis=1)
        return PowerCost(price=price[None], kink_at=at[None], kink=kink[None], target=np.zeros((1, price.size)))

    def improve(self, place: int) -> float:
        """Let one block answer; returns the change of all costs, 0 where it found nothing cheaper."""
        k, local = int(self.part[place]), int(self.local[place])
        peer = int(self.problem.peer[place])
        now = self.block_kw[place].copy()
        cost = self.cost_at(peer, place, now)
        response = self.problem.parts[k].blocks.batch.respond(cost, np.array([local]))
        power = response.power_kw.sum(axis=0)
        change = self.problem.change_cost(np.array([place]), np.stack([now, power]))
        costs = power_cost(_twice(cost), np.stack([now, power]), self.hours)
        before, after = self.own[place] - change[0] + costs[0], response.own_cost[0] + costs[1]
        if after >= before - LEAST_GAIN:
            return 0.0
        self.power[k][self.first_row[k][local] : self.first_row[k][local + 1]] = response.power_kw
        self.own[place] = response.own_cost[0] + change[1]
        self.block_kw[place] = power
        self._move(peer, power - now)
        return float(after - before)

    def rearrange(self, chosen: Integers, order: Integers, settling: int) -> float:
        """Take blocks out, put them back in an order, and let them settle; returns the change of all costs.

        Parameters
        ----------
        chosen : blocks that leave together
        order : the same, as they come back
        settling : most rounds in which each may move again
        """
        total = 0.0
        for place in chosen:
            total += self._leave(int(place))
        for _ in range(1 + settling):
            gain = sum(self.improve(int(place)) for place in order)
            total += gain
            if gain == 0.0:
                break
        return total

    def _leave(self, place: int) -> float:
        """Set a block's power to zero, at a cost that any schedule of its own undercuts."""
        peer = int(self.problem.peer[place])
        now = self.block_kw[place].copy()
        none = np.zeros_like(now)
        cost = self.cost_at(peer, place, now)
        change = self.problem.change_cost(np.array([place]), np.stack([now, none]))
        costs = power_cost(_twice(cost), np.stack([now, none]), self.hours)
        before = self.own[place] - change[0] + costs[0]
        self.own[place] = ABSENT + change[1]
        self.block_kw[place] = none
        self._move(peer, -now)
        return float(ABSENT + costs[1] - before)

    def saved(self, chosen: Integers) -> "Saved":
        """What ``restore`` needs to undo moves of the chosen blocks."""
        rows = []
        for place in chosen:
            k, local = int(self.part[place]), int(self.local[place])
            rows.append(self.power[k][self.first_row[k][local] : self.first_row[k][local + 1]].copy())
        return Saved(
            chosen=chosen,
            rows=tuple(rows),
            block_kw=self.block_kw[chosen],
            own=self.own[chosen],
            net=self.net.copy(),
            sums=self.sums.copy(),
            flows=self.flows.copy(),
        )

    def restore(self, kept: "Saved") -> None:
        """Undo what the chosen blocks did since they were saved."""
        for place, rows in zip(kept.chosen, kept.rows, strict=True):
            k, local = int(self.part[place]), int(self.local[place])
            self.power[k][self.first_row[k][local] : self.first_row[k][local + 1]] = rows
        self.block_kw[kept.chosen] = kept.block_kw
        self.own[kept.chosen] = kept.own
        self.net, self.sums, self.flows = kept.net, kept.sums, kept.flows

    def improve_plant(self, plant: int) -> bool:
        """Let one plant produce what pays."""
        problem = self.problem
        peer = int(problem.plant_peer[plant])
        now = -self.produced[plant]
        cost = self.cost_at(peer, -1, now)
        # Convex in each MTU: the best of the ends and kinks.
        ends = np.stack([np.zeros_like(now), -problem.available_kw[plant], now], axis=1)
        candidates = np.concatenate(
            [ends, np.clip(cost.kink_at[0], -problem.available_kw[plant][:, None], 0.0)], axis=1
        )
        kinked = cost.kink[0][:, None, :] * np.maximum(0.0, candidates[:, :, None] - cost.kink_at[0][:, None, :])
        value = (cost.price[0][:, None] + problem.curtailment_cost[plant]) * candidates + kinked.sum(axis=2)
        best = np.argmin(value, axis=1)
        mtus = np.arange(now.size)
        gain = value[:, 2] - value[mtus, best]
        power = np.where(gain > LEAST_GAIN, candidates[mtus, best], now)
        if not (power != now).any():
            return False
        self.produced[plant] = -power
        self._move(peer, power - now)
        return True

    def _move(self, peer: int, change: Floats) -> None:
        self.net[peer] += change
        self.sums[self.envelopes[peer]] += change
        apply(self.problem.network, self.flows, peer, self.net[peer])

    def sweep(self, order: Integers, stop: Callable[[], bool] | None = None) -> int:
        """Let all blocks of an order answer, and then all plants; returns how many moved."""
        moved = 0
        for count, place in enumerate(order):
            moved += self.improve(int(place)) < 0.0
            if stop is not None and count % 64 == 0 and stop():
                break
        for plant in range(len(self.produced)):
            moved += self.improve_plant(plant)
        self.refresh()
        return moved

    def schedules(self) -> Schedules:
        """The state as a value."""
        problem = self.problem
        devices = [device for _, device in problem.community.devices()]
        power = np.zeros((len(devices), problem.fixed_kw.shape[1]))
        for row, device in enumerate(devices):
            if isinstance(device, FixedLoad):
                power[row] = device.power_kw
        power[problem.plant_row] = -self.produced
        for k, part in enumerate(problem.parts):
            power[part.blocks.rows] = self.power[k]
        return Schedules(
            power_kw=power,
            net_kw=self.net.copy(),
            own_cost=float(self.own.sum()) + self.plant_cost(),
            trades=self.trades,
            excess_kwh=self.excess(),
        )


def _twice(cost: PowerCost) -> PowerCost:
    """One block's costs for two of its schedules."""
    return PowerCost(
        price=np.repeat(cost.price, 2, axis=0),
        kink_at=np.repeat(cost.kink_at, 2, axis=0),
        kink=np.repeat(cost.kink, 2, axis=0),
        target=np.repeat(cost.target, 2, axis=0),
    )
