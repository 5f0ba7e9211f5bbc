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
from optimization.decomposition.surroundings import spent_on, write_cost
from optimization.detours import sides
from optimization.devices import FixedLoad
from optimization.devices.oracle import Integers, PowerCost
from optimization.marginal import KINKS, Flows, apply
from optimization.quantities import Floats
from optimization.trading import Trades, trade

LIMIT_FACTOR = 10.0
"""What a kWh beyond an envelope costs, relative to the shortfall price: limits come before tasks."""

LEAST_GAIN = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A state of the search that can be gone back to, of chosen blocks and all flows.

    Attributes
    ----------
    chosen : blocks
    rows : of each, the (R, T) kW of its devices
    block_kw, own : of each
    net, sums, flows : of all
    produced : (D, T) kW of all plants
    """

    chosen: Integers
    rows: tuple[Floats, ...]
    block_kw: Floats
    own: Floats
    net: Floats
    sums: Floats
    flows: Flows
    produced: Floats


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
        self.absent = np.zeros(blocks, dtype=np.bool_)
        self.part = np.empty(blocks, dtype=np.int64)
        self.local = np.empty(blocks, dtype=np.int64)
        for k, part in enumerate(problem.parts):
            self.replace_part(k, self.power[k])
            self.part[part.place] = k
            self.local[part.place] = np.arange(part.place.size)
        self.first_row = [
            np.searchsorted(part.blocks.batch.block, np.arange(part.place.size + 1)) for part in problem.parts
        ]
        self.sides = sides(problem.network)
        self.nothing = np.zeros(mtus)
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
        """Currency of plants and of the loads that nobody controls."""
        return float(self.problem.plant_cost(self.produced).sum() + self.problem.unforeseen_cost.sum())

    def cost_at(self, peer: int, power: Floats, planned: Floats, change: float) -> PowerCost:
        """What power of a peer costs beside everybody else's.

        Parameters
        ----------
        peer : whose
        power : (T,) kW at present
        planned : (T,) kW that was foreseen for it
        change : currency per kWh of departing from that
        """
        problem, network = self.problem, self.problem.network
        members = self.envelopes[peer]
        mtus = power.size
        price = np.empty((1, mtus))
        at, kink = np.empty((2, 1, mtus, KINKS + 2 * members.size + 1))
        write_cost(
            peer, self.hours, self.sides, network.cost, (network.import_price, network.export_price), self.flows.kwh,
            self.net[peer], power, (members, self.sums, problem.lower_kw, problem.upper_kw, self.penalty),
            (planned, change), price[0], at[0], kink[0],
        )  # fmt: skip
        return PowerCost(price=price, kink_at=at, kink=kink, target=self.nothing[None])

    def improve(self, place: int) -> float:
        """Let one block answer; returns the change of all costs, 0 where it found nothing cheaper.

        One that is absent comes back whatever it costs.
        """
        k, local = int(self.part[place]), int(self.local[place])
        peer = int(self.problem.peer[place])
        now = self.block_kw[place].copy()
        cost = self._cost_of(peer, place, now)
        response = self.problem.parts[k].blocks.batch.respond(cost, np.array([local]))
        power = response.power_kw[0] if len(response.power_kw) == 1 else response.power_kw.sum(axis=0)
        left, came = self._changed(place, now), self._changed(place, power)
        before = self.own[place] - left + self._spent(cost, now)
        after = response.own_cost[0] + self._spent(cost, power)
        if after >= before - LEAST_GAIN and not self.absent[place]:
            return 0.0
        self._put(place, response.power_kw, power, response.own_cost[0] + came)
        return float(after - before)

    def take(self, place: int, rows: Floats) -> float:
        """Give one block other (R, T) schedules of its devices, feasible ones; returns the change of all costs."""
        k, local = int(self.part[place]), int(self.local[place])
        now, power = self.block_kw[place].copy(), rows.sum(axis=0)
        cost = self._cost_of(int(self.problem.peer[place]), place, now)
        own = float(self.problem.parts[k].blocks.batch.own_cost(rows, np.array([local]))[0])
        before = self.own[place] - self._changed(place, now) + self._spent(cost, now)
        after = own + self._spent(cost, power)
        self._put(place, rows, power, own + self._changed(place, power))
        return float(after - before)

    def _put(self, place: int, rows: Floats, power: Floats, own: float) -> None:
        k, local = int(self.part[place]), int(self.local[place])
        change = power - self.block_kw[place]
        self.absent[place] = False
        self.power[k][self.first_row[k][local] : self.first_row[k][local + 1]] = rows
        self.own[place] = own
        self.block_kw[place] = power
        self._move(int(self.problem.peer[place]), change)

    def _cost_of(self, peer: int, place: int, power: Floats) -> PowerCost:
        return self.cost_at(peer, power, self.problem.planned_kw[place], float(self.problem.change_price[place]))

    def _spent(self, cost: PowerCost, power: Floats) -> float:
        return float(spent_on(cost.price[0], cost.kink_at[0], cost.kink[0], power, self.hours))

    def _changed(self, place: int, power: Floats) -> float:
        """Currency for departing from what was foreseen."""
        change = self.problem.change_price[place]
        return self.hours * change * float(np.abs(power - self.problem.planned_kw[place]).sum()) if change else 0.0

    def rearrange(self, order: Integers, settling: int, *, plants: Integers, share: float | None) -> float:
        """Take blocks out, put them back in an order, and let them settle; returns the change of all costs.

        Parameters
        ----------
        order : blocks that leave together, as they come back
        settling : most rounds in which each may move again
        plants : that may move with them
        share : of what is available that these plants produce when the blocks come back; None for as they are
        """
        total = 0.0
        for place in order:
            total += self._leave(int(place))
        if share is not None:
            for plant in plants:
                total += self._set_plant(int(plant), share * self.problem.available_kw[plant])
        for _ in range(1 + settling):
            gain = sum(self.improve(int(place)) for place in order)
            gain += sum(self.improve_plant(int(plant)) for plant in plants)
            total += gain
            if gain == 0.0:
                break
        return total

    def _leave(self, place: int) -> float:
        """Let a block be absent, as if it were none; returns the change of all costs."""
        peer = int(self.problem.peer[place])
        now = self.block_kw[place].copy()
        none = np.zeros_like(now)
        cost = self._cost_of(peer, place, now)
        before = self.own[place] - self._changed(place, now) + self._spent(cost, now)
        self.own[place] = self._changed(place, none)
        self.absent[place] = True
        self.block_kw[place] = none
        self._move(peer, -now)
        return float(self._spent(cost, none) - before)

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
            produced=self.produced.copy(),
        )

    def restore(self, kept: "Saved") -> None:
        """Undo what the chosen blocks did since they were saved."""
        for place, rows in zip(kept.chosen, kept.rows, strict=True):
            k, local = int(self.part[place]), int(self.local[place])
            self.power[k][self.first_row[k][local] : self.first_row[k][local + 1]] = rows
        self.block_kw[kept.chosen] = kept.block_kw
        self.own[kept.chosen] = kept.own
        self.net, self.sums, self.flows = kept.net, kept.sums, kept.flows
        self.produced = kept.produced

    def improve_plant(self, plant: int) -> float:
        """Let one plant produce what pays; returns the change of all costs, 0 where nothing pays more."""
        problem = self.problem
        peer = int(problem.plant_peer[plant])
        now = -self.produced[plant]
        cost = self.cost_at(peer, now, problem.plant_planned_kw[plant], float(problem.plant_change_price[plant]))
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
            return 0.0
        self.produced[plant] = -power
        self._move(peer, power - now)
        return -self.hours * float(gain[gain > LEAST_GAIN].sum())

    def _set_plant(self, plant: int, produced: Floats) -> float:
        """Let one plant produce what it is told; returns the change of all costs."""
        problem, peer = self.problem, int(self.problem.plant_peer[plant])
        now, power = -self.produced[plant], -produced
        cost = self.cost_at(peer, now, problem.plant_planned_kw[plant], float(problem.plant_change_price[plant]))
        change = self._spent(cost, power) - self._spent(cost, now)
        change += self.hours * float(problem.curtailment_cost[plant] * (power - now).sum())
        self.produced[plant] = produced
        self._move(peer, power - now)
        return change

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
            moved += self.improve_plant(plant) < 0.0
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
