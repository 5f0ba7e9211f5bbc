"""Rounds of consensus ADMM over a network: all agents answer their targets, all exchange, the targets move.

The state is one target a slot. With t the antisymmetric part of a pair's proposals and y the price of its link, the two
targets are t - y / rho and -t - y / rho; the plain round is y -= rho (sum of the two proposals) / 2 and so forth, the
consensus ADMM on reciprocity of Baroche et al. (2019), or Douglas-Rachford splitting in the targets.

References
----------
T. Baroche, F. Moret, P. Pinson (2019), "Prosumer markets: a unified formulation", IEEE PowerTech.
J. Eckstein, D. P. Bertsekas (1992), "On the Douglas-Rachford splitting method and the proximal point algorithm for
maximal monotone operators", Mathematical Programming 55: why rounds may be over-relaxed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, prange

from optimization.community import Floats
from optimization.market import Indices
from optimization.peer_to_peer.chunks import SMALL
from optimization.peer_to_peer.network import Network
from optimization.peer_to_peer.peer_step import answer_all
from optimization.peer_to_peer.store_step import answer_stores

_CHUNK = 8192
"""Slots summed up at a time, in an order that the number of threads does not change."""

_BEYOND = 1e4
"""Times what all assets can do, or all costs of a path, beyond which proposals or prices count as diverged."""


@njit(cache=True, error_model="numpy")
def _exchange(begin, stop, target, proposal, previous, mate, root_weight, relaxation, new, change, sums):  # type: ignore[no-untyped-def]
    """Some chunks of ``exchange``, counted through all MTUs."""
    slots = target.shape[1]
    chunks = sums.shape[1]
    for part in range(begin, stop):
        t = part // chunks
        chunk = part % chunks
        apart = 0.0
        moved = 0.0
        shift = 0.0
        weighted = 0.0
        size = 0.0
        price_shift = 0.0
        trade_shift = 0.0
        price_size = 0.0
        trade_size = 0.0
        for e in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, slots)):
            m = mate[e]
            x = proposal[t, e]
            y = proposal[t, m]
            weight = root_weight[e] * root_weight[e]
            traded = 0.5 * (target[t, e] - target[t, m])
            priced = 0.5 * (target[t, e] + target[t, m])
            price_move = -0.5 * (x + y)
            trade_move = 0.5 * (x - y) - traded
            f = price_move + trade_move
            new[t, e] = target[t, e] + relaxation * f
            w = f * root_weight[e]
            change[t, e] = w
            r = x + previous[t, m]
            d = x - previous[t, e]
            apart += r * r
            moved += d * d
            shift += f * f
            weighted += w * w
            size += x * x
            price_shift += price_move * price_move * weight
            trade_shift += trade_move * trade_move * weight
            price_size += priced * priced * weight
            trade_size += traded * traded * weight
        sums[t, chunk, 0] = apart
        sums[t, chunk, 1] = moved
        sums[t, chunk, 2] = shift
        sums[t, chunk, 3] = weighted
        sums[t, chunk, 4] = size
        sums[t, chunk, 5] = price_shift
        sums[t, chunk, 6] = trade_shift
        sums[t, chunk, 7] = price_size
        sums[t, chunk, 8] = trade_size


@njit(cache=True, parallel=True, error_model="numpy")
def _exchange_in_chunks(count, *rest):  # type: ignore[no-untyped-def]
    for part in prange(count):
        _exchange(part, part + 1, *rest)


def exchange(
    target: Floats, proposal: Floats, previous: Floats, mate: Indices, root_weight: Floats, relaxation: float,
    new: Floats, change: Floats, sums: Floats,
) -> None:  # fmt: skip
    """Writes the targets that follow from all proposals.

    Parameters
    ----------
    target, proposal, previous : (T, W) targets, answers to them, and the answers of the round before
    mate, root_weight : (W,) slot of the other side; root of the penalty
    relaxation : 1 for the plain round
    new : (T, W) written: the next targets
    change : (T, W) written: what the plain round would change, times the root of the penalty
    sums : (T, chunks, 9) written, sums of squares: see ``Heard``
    """
    rest: tuple[Any, ...] = (target, proposal, previous, mate, root_weight, relaxation, new, change, sums)
    parts = sums.shape[0] * sums.shape[1]
    # An exchange takes some ten operations for each slot.
    if 10 * target.size < SMALL:
        _exchange(0, parts, *rest)
    else:
        _exchange_in_chunks(parts, *rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a round came to, as sums of squares over all slots.

    Attributes
    ----------
    apart : kW^2 between each proposal and what its partner proposed a round before
    moved : kW^2 between the proposals of two rounds
    shift : kW^2 by which the plain round would move the targets
    length : the same times the penalty
    size : kW^2 of the proposals
    balance : how fast prices move beside trades, both relative: large where the penalty is small
    """

    apart: float
    moved: float
    shift: float
    length: float
    size: float
    balance: float


class Rounds:
    """The agents of a network with what they last said.

    Attributes
    ----------
    target, proposal, previous : (T, W) kW
    price, seen : (T, N) currency/kWh of a peer's trades and of its assets, as in ``answer_all``
    imported : (T, N) kW, negative for an export
    power : (T, K) kW, consumption positive
    charge, discharge : (S, T) kW
    worth : (S, T) currency/kWh stored
    limit_price : (G, T) currency/kWh
    step : (W,) kW per currency/kWh, inverses of the penalties
    new, change : (T, W) as ``exchange`` writes them
    """

    def __init__(self, net: Network, *, step: Floats, target: Floats, price: Floats) -> None:
        market = net.market
        mtus, peers, stores = market.mtus, len(market.peers), market.stores
        self._net = net
        self._slope = net.slope.copy()
        self._curve = net.curve.copy()
        self._weigh(step)
        self._import_price = np.ascontiguousarray(market.import_price.T)
        self._export_price = np.ascontiguousarray(market.export_price.T)
        self._energy = (stores.initial / market.hours, stores.lower / market.hours, stores.upper / market.hours)
        self._loss = 1.0 / stores.discharge_efficiency
        self._bounds = tuple(
            np.array([getattr(limit, side) for limit in market.limits]).reshape(-1, mtus) for side in ("lower", "upper")
        )
        self._sums = np.zeros((mtus, (net.slots + _CHUNK - 1) // _CHUNK, 9))
        self._missed = np.zeros(stores.size)
        self._first = (step, target.copy(), np.array(price))
        self.target = target
        self.proposal = 0.5 * (target - target[:, net.mate])
        self.previous = self.proposal.copy()
        self.power = np.zeros_like(net.low)
        self.price = np.array(price)
        self.seen = np.array(price)
        self.imported = np.zeros((mtus, peers))
        self.charge, self.discharge, self.worth = (np.zeros((stores.size, mtus)) for _ in range(3))
        self.limit_price = np.zeros((len(market.limits), mtus))
        self.new = np.zeros_like(target)
        self.change = np.zeros_like(target)

    def begin_anew(self) -> None:
        """Forgets all that was said since before the first round, penalties included."""
        step, target, price = self._first
        self._weigh(step)
        self.target[:] = target
        self.proposal[:] = 0.5 * (target - target[:, self._net.mate])
        self.previous[:] = self.proposal
        self.price[:] = price
        self.seen[:] = price
        for said in (self.power, self.imported, self.charge, self.discharge, self.worth, self.limit_price):
            said[:] = 0.0

    def answer(self) -> None:
        """All agents answer their targets."""
        net, stores = self._net, self._net.market.stores
        self.previous, self.proposal = self.proposal, self.previous
        if stores.size:
            # A store is to its owner a piece with the penalty for curvature, lowest at the target.
            self._slope[:, net.store_piece] = -self.target[:, net.stores] / self.step[net.stores]
        answer_all(
            net.links_from, net.pieces_from, net.copies_from, net.copy_slot,
            self.target, self.step, self._buying, self._selling, net.least, net.most, self.proposal,
            net.low, net.high, self._slope, self._curve, self.power,
            self.price, self.seen, self.imported, self._import_price, self._export_price,
        )  # fmt: skip
        if stores.size:
            self.proposal[:, net.stores] = self.power[:, net.store_piece]
            mirrors = net.store_mirrors
            initial, least, most = self._energy
            answer_stores(
                np.ascontiguousarray(-self.target[:, mirrors]), self.step[mirrors], initial, least, most,
                stores.state_cost, stores.max_charge, stores.max_discharge,
                stores.charge_efficiency, self._loss, stores.cycle_cost,
                self.charge, self.discharge, self.worth, self._missed,
            )  # fmt: skip
            self.proposal[:, mirrors] = (self.discharge - self.charge).T
        for g in range(len(net.market.limits)):
            self._answer_limit(g)

    def _answer_limit(self, g: int) -> None:
        """The limit's copies, shifted onto its bounds: the nearest that keep to them."""
        net = self._net
        first = net.copy_mirrors.start
        slots = slice(first + net.limit_from[g], first + net.limit_from[g + 1])
        if slots.start == slots.stop:
            return
        target = self.target[:, slots]
        total = -target.sum(axis=1)
        lower, upper = self._bounds
        excess = total - np.clip(total, lower[g], upper[g])
        price = excess / self.step[slots].sum()
        self.limit_price[g] = price
        self.proposal[:, slots] = target + price[:, np.newaxis] * self.step[slots]

    def exchange(self, relaxation: float) -> Heard:
        """All agents hear their partners: the next targets, and what the round came to."""
        exchange(
            self.target, self.proposal, self.previous, self._net.mate, self._root_weight, relaxation,
            self.new, self.change, self._sums,
        )  # fmt: skip
        apart, moved, shift, length, size, price_shift, trade_shift, price_size, trade_size = (
            float(v) for v in self._sums.sum(axis=(0, 1))
        )
        against = trade_shift * trade_size
        return Heard(
            apart=apart,
            moved=moved,
            shift=shift,
            length=length,
            size=size,
            balance=float(np.sqrt(price_shift * price_size / against)) if against > 0.0 else np.inf,
        )

    def rescale(self, factor: float) -> None:
        """Multiplies all penalties, prices and trades left as they are."""
        mate = self._net.mate
        mirrored = self.target[:, mate]
        self.target = 0.5 * (self.target - mirrored) + 0.5 / factor * (self.target + mirrored)
        self._weigh(self.step / factor)

    def _weigh(self, step: Floats) -> None:
        net = self._net
        self.step = step
        self._root_weight = np.sqrt(1.0 / step)
        self._buying = net.buying * step[: net.links]
        self._selling = net.selling * step[: net.links]
        self._curve[:, net.store_piece] = 1.0 / step[net.stores]

    @property
    def complete(self) -> bool:
        """Whether all agents answered in this round."""
        return True

    @property
    def stuck(self) -> str | None:
        """A store whose own bounds admit no schedule."""
        market = self._net.market
        scale = 1e-9 * (1.0 + np.abs(market.stores.upper).max(axis=1, initial=0.0))
        if (self._missed > scale).any():
            s = int(np.argmax(self._missed > scale))
            return f"storage {market.peers[market.stores.peer[s]]}/{market.stores.names[s]}"
        return None

    @property
    def diverged(self) -> bool:
        """Whether proposals or prices are so far beyond what assets can do and cost that no clearing explains them."""
        net, market = self._net, self._net.market
        able = np.maximum(np.abs(net.low), np.abs(net.high)).sum(axis=1).max(initial=0.0)
        known = (
            np.abs(net.slope) + net.curve * np.maximum(np.abs(net.low), np.abs(net.high)),
            net.buying,
            net.selling,
            np.abs(market.import_price[np.isfinite(market.import_price)]),
            np.abs(market.export_price[np.isfinite(market.export_price)]),
            np.abs(market.stores.state_cost),
            market.stores.cycle_cost,
        )
        dear = (1.0 + len(market.peers)) * max(np.abs(costs).max(initial=0.0) for costs in known)
        return bool(
            np.abs(self.proposal).max(initial=0.0) > _BEYOND * (1.0 + able)
            or np.abs(self.price).max(initial=0.0) > _BEYOND * (1e-3 + dear)
        )
