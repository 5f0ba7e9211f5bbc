"""A community as its decomposition sees it: blocks that only power connects, in arrays."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from optimization.community import Community
from optimization.devices import Curtailable, FixedLoad
from optimization.devices.batches import Blocks, batches
from optimization.devices.oracle import Integers, PowerCost, Response, power_cost
from optimization.devices.thermostats import Switched
from optimization.quantities import Floats
from optimization.trading import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A batch of decided blocks within the whole.

    Attributes
    ----------
    blocks : the batch, its devices' rows among all devices, its blocks' peers
    place : (B,) of each of its blocks among the problem's blocks, which are in the order of their peers
    """

    blocks: Blocks
    place: Integers


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What some blocks would do at prices.

    Attributes
    ----------
    place : (B,) the blocks among all
    peer : (B,) their peers
    response : of their batch
    power_kw : (B, T) of each block
    cost : (B,) currency of own cost and power; what was foreseen left out, as ``cost_of`` does
    """

    place: Integers
    peer: Integers
    response: Response
    power_kw: Floats
    cost: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A community in arrays.

    Attributes
    ----------
    community : as it was stated
    network : its links and tariff
    parts : the blocks that decide something, batch by batch
    peer : (B,) the peer of each block, ascending
    fixed_kw : (N, T) kW of uncontrolled consumption
    plant_row : (D,) rows of the plants that can be curtailed, in the order of their peers
    plant_peer : (D,)
    available_kw : (D, T)
    curtailment_cost : (D,) currency/kWh
    plant_planned_kw : (D, T) kW foreseen for a plant, as consumption; 0 where nothing was
    plant_change_price : (D,) currency per kWh of departing from it; 0 where nothing was foreseen
    unforeseen_cost : (N,) currency by which loads that nobody controls depart from what was foreseen for them
    planned_kw : (B, T) kW foreseen for a block; 0 where nothing was
    change_price : (B,) currency per kWh of departing from it; 0 where nothing was foreseen for some device of it
    member : (K, N) whether an envelope sums a peer
    lower_kw, upper_kw : (K, T) envelopes
    """

    community: Community
    network: Network
    parts: tuple[Part, ...]
    peer: Integers
    fixed_kw: Floats
    plant_row: Integers
    plant_peer: Integers
    available_kw: Floats
    curtailment_cost: Floats
    plant_planned_kw: Floats
    plant_change_price: Floats
    unforeseen_cost: Floats
    planned_kw: Floats
    change_price: Floats
    member: Floats
    lower_kw: Floats
    upper_kw: Floats

    @classmethod
    def of(cls, community: Community) -> "Problem":
        """The arrays of a community."""
        horizon = community.horizon
        index = {peer.id: n for n, peer in enumerate(community.peers)}
        listed = [(index[peer.id], device) for peer, device in community.devices()]
        fixed = np.zeros((len(index), horizon.mtus))
        plants = [(n, row, d) for row, (n, d) in enumerate(listed) if isinstance(d, Curtailable)]
        for n, device in listed:
            if isinstance(device, FixedLoad):
                fixed[n] += device.power_kw
        deciding = [
            blocks for blocks in batches(community) if not isinstance(blocks.batch.devices[0], FixedLoad | Curtailable)
        ]
        peers = np.concatenate([np.empty(0, dtype=np.int64), *[blocks.peer for blocks in deciding]])
        order = np.argsort(peers, kind="stable")
        places = np.empty(order.size, dtype=np.int64)
        places[order] = np.arange(order.size)
        cuts = np.cumsum([0, *[blocks.peer.size for blocks in deciding]])
        parts = tuple(
            Part(blocks=blocks, place=places[start:end])
            for blocks, start, end in zip(deciding, cuts[:-1], cuts[1:], strict=True)
        )
        planned, change = _planned(community, parts, order.size)
        plant_planned, plant_change = _plants_planned(community, [d for _, _, d in plants])
        return cls(
            community=community,
            network=Network.of(community),
            parts=parts,
            peer=peers[order],
            fixed_kw=fixed,
            plant_row=np.array([row for _, row, _ in plants], dtype=np.int64),
            plant_peer=np.array([n for n, _, _ in plants], dtype=np.int64),
            available_kw=np.array([d.available_kw for _, _, d in plants]).reshape(-1, horizon.mtus),
            curtailment_cost=np.array([d.curtailment_cost for _, _, d in plants]),
            plant_planned_kw=plant_planned,
            plant_change_price=plant_change,
            unforeseen_cost=_unforeseen(community),
            planned_kw=planned,
            change_price=change,
            member=np.array(
                [[float(peer.id in envelope.peers) for peer in community.peers] for envelope in community.envelopes]
            ).reshape(-1, len(index)),
            lower_kw=np.array([e.lower_kw for e in community.envelopes]).reshape(-1, horizon.mtus),
            upper_kw=np.array([e.upper_kw for e in community.envelopes]).reshape(-1, horizon.mtus),
        )

    def answers(self, price: Floats) -> Iterator[Answer]:
        """The blocks' best responses to the (N, T) prices, part by part."""
        for part in self.parts:
            batch = part.blocks.batch
            cost = self.cost_of(part.place, price[part.blocks.peer])
            response = batch.respond(cost)
            power = block_power(batch.block, response.power_kw, part.place.size)
            spent = response.own_cost + power_cost(cost, power, self.community.horizon.hours)
            yield Answer(place=part.place, peer=part.blocks.peer, response=response, power_kw=power, cost=spent)

    def refined(self, resolution: int) -> "Problem":
        """The same with on/off thermostats answered for on finer temperature cells, for a tighter bound."""
        parts = [
            replace(part, blocks=replace(part.blocks, batch=part.blocks.batch.at(resolution)))
            if isinstance(part.blocks.batch, Switched)
            else part
            for part in self.parts
        ]
        return replace(self, parts=tuple(parts))

    def cost_of(self, place: Integers, price: Floats) -> PowerCost:
        """What power costs blocks at (B, T) prices, what was foreseen for them included."""
        change = self.change_price[place]
        if not change.any():
            none = np.zeros((*price.shape, 0))
            return PowerCost(price=price, kink_at=none, kink=none, target=np.zeros_like(price))
        return PowerCost(
            price=price - change[:, None],
            kink_at=self.planned_kw[place][:, :, None],
            kink=np.broadcast_to(2.0 * change[:, None, None], (*price.shape, 1)).copy(),
            target=np.zeros_like(price),
        )

    def foreseen(self, place: Integers) -> Floats:
        """(B,) currency that ``cost_of`` leaves out: of departing from what was foreseen by all of it."""
        hours = self.community.horizon.hours
        return np.asarray(hours * self.change_price[place] * self.planned_kw[place].sum(axis=1))

    def plant_cost(self, produced: Floats) -> Floats:
        """(D,) currency for what plants could produce and do not, and for departing from what was foreseen."""
        hours = self.community.horizon.hours
        change = np.abs(produced + self.plant_planned_kw).sum(axis=1)
        curtailed = (self.available_kw - produced).sum(axis=1)
        return np.asarray(hours * (self.curtailment_cost * curtailed + self.plant_change_price * change))

    def change_cost(self, place: Integers, power: Floats) -> Floats:
        """(B,) currency for departing from what was foreseen."""
        hours = self.community.horizon.hours
        return np.asarray(hours * self.change_price[place] * np.abs(power - self.planned_kw[place]).sum(axis=1))


def block_power(block: Integers, power: Floats, blocks: int) -> Floats:
    """(B, T) kW of blocks whose devices are rows of (R, T)."""
    if blocks == len(power):
        return power
    total = np.zeros((blocks, power.shape[1]))
    np.add.at(total, block, power)
    return total


def _planned(community: Community, parts: tuple[Part, ...], blocks: int) -> tuple[Floats, Floats]:
    """(B, T) and (B,); a chain is bound by what was foreseen for it only where that is known of all its programmes.

    Departures of programmes of one chain may cancel in their sum: what the sum costs is at most what they do.
    """
    planned = np.zeros((blocks, community.horizon.mtus))
    change = np.zeros(blocks)
    if community.change_price == 0.0 or not community.planned_kw:
        return planned, change
    change[:] = community.change_price
    for part in parts:
        for device, block in zip(part.blocks.batch.devices, part.blocks.batch.block, strict=True):
            if device.id in community.planned_kw:
                planned[part.place[block]] += community.planned_kw[device.id]
            else:
                change[part.place[block]] = 0.0
    planned[change == 0.0] = 0.0
    return planned, change


def _plants_planned(community: Community, plants: list[Curtailable]) -> tuple[Floats, Floats]:
    planned, change = np.zeros((len(plants), community.horizon.mtus)), np.zeros(len(plants))
    for row, plant in enumerate(plants):
        if plant.id in community.planned_kw:
            planned[row], change[row] = community.planned_kw[plant.id], community.change_price
    return planned, change


def _unforeseen(community: Community) -> Floats:
    return np.array(
        [
            community.change_price
            * community.horizon.hours
            * sum(
                float(np.abs(device.power_kw - community.planned_kw[device.id]).sum())
                for device in peer.devices
                if isinstance(device, FixedLoad) and device.id in community.planned_kw
            )
            for peer in community.peers
        ]
    )
