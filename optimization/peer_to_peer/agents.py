"""A peer that clears with its partners by messages and keeps its costs to itself."""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from optimization.canonical import canonical
from optimization.community import Floats, PeerId
from optimization.errors import ProblemError
from optimization.market import Market, Storages
from optimization.peer_to_peer.messages import Answer, Ask, Greeting
from optimization.peer_to_peer.network import network
from optimization.peer_to_peer.opening import hello
from optimization.peer_to_peer.peer_step import answer_all
from optimization.peer_to_peer.settling import cheapest
from optimization.peer_to_peer.store_step import answer_stores

REMEMBERED = 64
"""Rounds whose store schedules a peer remembers: the one that counts may not be the last, if answers were lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerView:
    """All that one peer knows, and nobody else has to.

    Attributes
    ----------
    peer : its id
    hours : length of an MTU
    partners : (D,) ids, sorted
    buying, selling : (D,) currency/kWh that the peer itself bears for what it buys and sells
    least, most : (D,) kW, bounds of what it buys, negative for selling
    low, high : (T, K) kW, bounds of its pieces
    slope, curve : (T, K) currency/kWh and currency/kWh per kW, what ``market.Assets`` holds as (P, T)
    stores : its own, whose ``peer`` is 0
    limits : how many limits it is under
    import_price, export_price : (T,) currency/kWh
    """

    peer: PeerId
    hours: float
    partners: tuple[PeerId, ...]
    buying: Floats
    selling: Floats
    least: Floats
    most: Floats
    low: Floats
    high: Floats
    slope: Floats
    curve: Floats
    stores: Storages
    limits: int
    import_price: Floats
    export_price: Floats


def views(market: Market) -> tuple[PeerView, ...]:
    """What each peer of a market knows, in the order of names: for simulations, where one side knows all."""
    net = network(canonical(market).market)
    market, stores, assets = net.market, net.market.stores, net.market.assets
    found = []
    for n, peer in enumerate(market.peers):
        links = slice(net.links_from[n], net.links_from[n + 1])
        pieces = assets.piece_peer == n
        own = stores.peer == n
        fields = {
            name: getattr(stores, name)[own]
            for name in Storages.__slots__
            if name not in ("peer", "names")
        }  # fmt: skip
        found.append(
            PeerView(
                peer=peer,
                hours=market.hours,
                partners=tuple(market.peers[m] for m in net.owner[net.mate[links]]),
                buying=net.buying[links],
                selling=net.selling[links],
                least=net.least[links],
                most=net.most[links],
                low=np.ascontiguousarray(assets.lower[pieces].T),
                high=np.ascontiguousarray(assets.upper[pieces].T),
                slope=np.ascontiguousarray(assets.slope[pieces].T),
                curve=np.ascontiguousarray(assets.curvature[pieces].T),
                stores=Storages(
                    peer=np.zeros(int(own.sum()), dtype=np.int64),
                    names=tuple(name for name, mine in zip(stores.names, own, strict=True) if mine),
                    **fields,
                ),
                limits=int(net.copies_from[n + 1] - net.copies_from[n]),
                import_price=market.import_price[n],
                export_price=market.export_price[n],
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a peer will do with what it has agreed to.

    Attributes
    ----------
    piece : (K, T) kW
    charge, discharge, worth : (S, T) kW, kW and currency/kWh
    """

    piece: Floats
    charge: Floats
    discharge: Floats
    worth: Floats


class PeerAgent:
    """Answers a coordinator's questions from one peer's view, exactly as the batched form does.

    Parameters
    ----------
    view : what the peer knows
    remembered : last rounds for which it can make a plan, at least as many as the coordinator has patience
    """

    def __init__(self, view: PeerView, *, remembered: int = REMEMBERED) -> None:
        self.view = view
        self._remembered = remembered
        stores, mtus = view.stores, view.low.shape[0]
        size = stores.size

        def beside(pieces: Floats, of_stores: Floats) -> Floats:
            return np.concatenate([pieces, np.broadcast_to(of_stores, (mtus, size))], axis=1)

        self._low, self._high = beside(view.low, -stores.max_discharge), beside(view.high, stores.max_charge)
        self._slope, self._curve = beside(view.slope, np.zeros(size)), beside(view.curve, np.ones(size))
        self._price = np.zeros((mtus, 1))
        self._schedules: OrderedDict[int, tuple[Floats, Floats, Floats]] = OrderedDict()

    def greeting(self) -> Greeting:
        """What this peer says before the first round."""
        view = self.view
        said = hello(
            np.zeros(view.low.shape[1], dtype=np.int64),
            low=view.low,
            high=view.high,
            slope=view.slope,
            curve=view.curve,
            partners=np.array([len(view.partners)]),
            import_price=view.import_price[:, np.newaxis],
            export_price=view.export_price[:, np.newaxis],
        )
        opening = said.opening[:, 0]
        self._price[:, 0] = np.where(np.isfinite(opening), opening, 0.0)
        return Greeting(stiffness=float(said.stiffness[0]), opening=opening)

    def answer(self, ask: Ask) -> Answer:
        """The proposals that are best for this peer, given what its partners last proposed."""
        view, stores = self.view, self.view.stores
        links, size = len(view.partners), stores.size
        step = 1.0 / ask.penalty
        target = ask.agreed - ask.price * step
        own, copies = slice(links, links + size), slice(links + size, links + size + view.limits)
        mirrors = slice(copies.stop, copies.stop + size)
        slope, curve = self._slope.copy(), self._curve.copy()
        pieces = view.low.shape[1]
        slope[:, pieces:] = -target[:, own] / step[own]
        curve[:, pieces:] = 1.0 / step[own]
        proposed, power = np.zeros_like(target), np.zeros_like(slope)
        imported = self._answer(
            target, step, view.buying * step[:links], view.selling * step[:links], view.least, view.most, proposed,
            low=self._low, high=self._high, slope=slope, curve=curve, power=power,
            copies=np.arange(copies.start, copies.stop), price=self._price,
            import_price=view.import_price, export_price=view.export_price,
        )  # fmt: skip
        proposed[:, own] = power[:, pieces:]
        net = self._schedule(ask.round, -target[:, mirrors], step[mirrors])
        charge, discharge, _ = self._schedules[ask.round]
        proposed[:, mirrors] = (discharge - charge).T
        return Answer(
            round=ask.round,
            proposed=proposed,
            lowest=view.low.sum(axis=1) + net,
            highest=view.high.sum(axis=1) + net,
            imported=imported,
            price=self._price[:, 0].copy(),
        )

    def _schedule(self, number: int, target: Floats, step: Floats) -> Floats:
        """(T,) kW that the stores consume when they answer too; the schedules are remembered."""
        view, stores = self.view, self.view.stores
        charge, discharge, worth = (np.zeros((stores.size, view.low.shape[0])) for _ in range(3))
        if stores.size:
            answer_stores(
                np.ascontiguousarray(target), step, stores.initial / view.hours,
                stores.lower / view.hours, stores.upper / view.hours, stores.state_cost,
                stores.max_charge, stores.max_discharge, stores.charge_efficiency, 1.0 / stores.discharge_efficiency,
                stores.cycle_cost, charge, discharge, worth, np.zeros(stores.size),
            )  # fmt: skip
        self._schedules[number] = (charge, discharge, worth)
        while len(self._schedules) > self._remembered:
            self._schedules.popitem(last=False)
        net: Floats = (charge - discharge).sum(axis=0)
        return net

    def plan(self, *, number: int, bought: Floats, grid: Floats) -> Plan:
        """The cheapest way to live with what was settled.

        Parameters
        ----------
        number : round of the answer on which the settlement rests
        bought : (T, D) kW over each link, negative for sold
        grid : (T,) kW imported less exported

        Raises
        ------
        ProblemError
            If the peer did not answer in that round, or so long ago that it has forgotten.
        """
        view = self.view
        if number not in self._schedules:
            raise ProblemError(
                f"peer {view.peer}: got a plan asked for round {number}, wanted one of the last {self._remembered} "
                "rounds that it answered"
            )
        charge, discharge, worth = self._schedules[number]
        total = bought.sum(axis=1) + grid - (charge - discharge).sum(axis=0)
        power = cheapest(
            total[:, np.newaxis],
            pieces_from=np.array([0, view.low.shape[1]]),
            low=view.low,
            high=view.high,
            slope=view.slope,
            curve=view.curve,
            price=self._price,
        )
        return Plan(piece=power.T.copy(), charge=charge, discharge=discharge, worth=worth)

    def _answer(
        self, target: Floats, step: Floats, buying: Floats, selling: Floats, least: Floats, most: Floats,
        proposed: Floats, *, low: Floats, high: Floats, slope: Floats, curve: Floats, power: Floats,
        copies: "np.ndarray[tuple[int], np.dtype[np.int64]]", price: Floats, import_price: Floats,
        export_price: Floats,
    ) -> Floats:  # fmt: skip
        """The batched step for one peer: writes proposals, powers and prices; (T,) what it imports."""
        mtus = price.shape[0]
        seen, imported = np.zeros((mtus, 1)), np.zeros((mtus, 1))
        answer_all(
            np.array([0, least.size]), np.array([0, low.shape[1]]), np.array([0, copies.size]), copies,
            target, step, buying, selling, least, most, proposed,
            low, high, slope, curve, power,
            price, seen, imported, import_price[:, np.newaxis].copy(), export_price[:, np.newaxis].copy(),
        )  # fmt: skip
        bought: Floats = imported[:, 0]
        return bought
