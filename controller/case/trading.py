"""Trades of a clearing as rows of whole Wh: opposite ones netted, remainders carried, noise left out."""

from dataclasses import dataclass

import numpy as np

from controller.case.format import WATTS, Case
from optimization.community import Floats
from optimization.market import LARGEST, Links, Market
from optimization.rounding import Integers, round_trades

KILO = 1000.0

LARGEST_CARRIED_KWH = 1e8
"""Above this a float kWh has no micro-Wh to carry forward: it is rounded as it stands."""

SHOWN = 1e-6
"""Share of the power scale: a trade below it that comes to no whole Wh is a solver's noise and not listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeRow:
    """One trade in one MTU.

    Attributes
    ----------
    seller, buyer : ids of peers, or what else sells or buys in a design: the grid, a manager
    mtu : from 0
    power : in the case's unit, positive
    energy_wh : whole Wh, what is left over carried to the link's next MTU
    price : currency per unit of energy that the buyer pays the seller; None where the design has none
    """

    seller: str
    buyer: str
    mtu: int
    power: float
    energy_wh: int
    price: float | None


def netted(links: Links, trade: Floats) -> Floats:
    """(L, T) trades of which none runs against another between the same two peers.

    Both directions at once change nothing but who is named as seller; solvers differ in how much of it they leave.
    """
    count = 1 + int(max(links.seller.max(initial=0), links.buyer.max(initial=0)))
    forth, back = links.seller * count + links.buyer, links.buyer * count + links.seller
    order = np.argsort(forth)
    at = np.minimum(np.searchsorted(forth[order], back), max(forth.size - 1, 0))
    if not forth.size:
        return trade
    twin = order[at]
    against = np.where((forth[twin] == back)[:, None], trade[twin], 0.0)
    return np.maximum(trade - against, 0.0)


def whole_wh(energy_kwh: Floats) -> Integers:
    """(L, T) whole Wh of energies, remainders carried from MTU to MTU.

    Each link is rounded by itself, so nothing depends on the order or the number of the others; an energy of a peer is
    the sum of its trades.
    """
    energy_wh = np.zeros(energy_kwh.shape, dtype=np.int64)
    carry = np.zeros(energy_kwh.shape[0], dtype=np.int64)
    small = energy_kwh.max(axis=1, initial=0.0) <= LARGEST_CARRIED_KWH
    for t in range(energy_kwh.shape[1]):
        energy_wh[small, t], carry[small] = round_trades(energy_kwh[small, t], carry[small])
    energy_wh[~small] = np.rint(np.maximum(energy_kwh[~small], 0.0) * KILO).astype(np.int64)
    return energy_wh


def rows_of(case: Case, links: Links, trade: Floats, price: Floats) -> tuple[TradeRow, ...]:
    """The trades of a clearing, by MTU, seller, buyer.

    What the buyer pays the seller is between what a kWh is worth to the seller, with what the link costs its side, and
    what it is worth to the buyer, less what it costs that side: both agree unless a capacity binds; then it is halfway.
    """
    market = case.market
    energy_wh = whole_wh(trade * (market.hours * WATTS[case.unit] / KILO))
    asked = price[links.seller] + links.seller_preference[:, None]
    offered = price[links.buyer] - (links.buyer_preference + links.network_charge)[:, None]
    paid = (asked + offered) / 2
    listed = (energy_wh > 0) | (trade > SHOWN * power_scale(market))
    rows = [
        TradeRow(
            seller=market.peers[links.seller[row]],
            buyer=market.peers[links.buyer[row]],
            mtu=mtu,
            power=float(trade[row, mtu]),
            energy_wh=int(energy_wh[row, mtu]),
            price=float(paid[row, mtu]),
        )
        for row, mtu in np.argwhere(listed).tolist()
    ]
    return tuple(sorted(rows, key=lambda row: (row.mtu, row.seller, row.buyer)))


def power_scale(market: Market) -> float:
    """The largest power that a peer's own assets and storages admit, at least one unit; "any amount" does not count."""
    assets, stores = market.assets, market.stores
    bounds = [assets.lower, assets.upper, stores.max_charge, stores.max_discharge]
    known = np.abs(np.concatenate([bound.ravel() for bound in bounds]))
    return float(known[known < LARGEST].max(initial=1.0))


def net_sold(market: Market, trade: Floats) -> Floats:
    """(N, T) what each peer sold to others less what it bought from them."""
    total = np.zeros((len(market.peers), market.mtus))
    np.add.at(total, market.links.seller, trade)
    np.subtract.at(total, market.links.buyer, trade)
    return total
