"""Between which prices an MTU's trades can lie: from the lowest asked to the highest bid."""

from dataclasses import dataclass

import numpy as np

from optimization.community import Floats
from optimization.markets.positions import NOISE, Marks, Positions, halved


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """The prices between which trades can lie.

    Attributes
    ----------
    lowest : (T,) currency/kWh, the lowest that anybody asks; infinity where nobody offers
    highest : (T,) currency/kWh, the highest that anybody bids; minus infinity where nobody does
    """

    lowest: Floats
    highest: Floats


def band(positions: Positions) -> Band:
    """The band of every MTU.

    Who must run names the grid's price. Where it has no grid and takes any price, the band reaches to the price at
    which the other side's own costs and values would serve all who do, or as far as it can.
    """
    market = positions.market
    buying, selling = market.import_price, market.export_price
    must_buy, must_sell = np.maximum(positions.lower, 0.0), np.maximum(-positions.upper, 0.0)
    bids = np.minimum(positions.first_bids(), buying)
    bids = np.where((must_buy > 0) & np.isfinite(buying), np.maximum(bids, buying), bids)
    offers = np.maximum(positions.first_offers(), selling)
    offers = np.where((must_sell > 0) & np.isfinite(selling), np.minimum(offers, selling), offers)
    any_price = (must_buy * np.isinf(buying)).sum(axis=0)
    any_offer = (must_sell * np.isinf(selling)).sum(axis=0)
    highest, lowest = bids.max(axis=0), offers.min(axis=0)
    if any_price.any():
        highest = np.where(any_price > 0, np.maximum(highest, _serving(positions, any_price)), highest)
    if any_offer.any():
        lowest = np.where(any_offer > 0, np.minimum(lowest, _taking(positions, any_offer)), lowest)
    return Band(lowest=lowest, highest=highest)


def _serving(positions: Positions, wanted: Floats) -> Floats:
    """(T,) currency/kWh at which all that peers would sell covers what is wanted (T,), or the dearest offered."""
    market = positions.market
    selling = market.export_price
    low, high = _named(positions, (positions.lower < 0), selling)

    def short(price: Floats) -> Marks:
        net = positions.net(positions.powers_at(np.broadcast_to(price, selling.shape), most=False))
        offered = np.where(price >= selling, np.maximum(-net, 0.0), 0.0).sum(axis=0)
        return np.asarray(offered < wanted - NOISE)

    return halved(np.nextafter(low, -np.inf), high, short)[1]


def _taking(positions: Positions, offered: Floats) -> Floats:
    """(T,) currency/kWh at which all that peers would buy takes what is offered (T,), or the cheapest bid."""
    market = positions.market
    buying = market.import_price
    low, high = _named(positions, (positions.upper > 0), buying)

    def enough(price: Floats) -> Marks:
        net = positions.net(positions.powers_at(np.broadcast_to(price, buying.shape), most=True))
        wanted = np.where(price <= buying, np.maximum(net, 0.0), 0.0).sum(axis=0)
        return np.asarray(wanted >= offered - NOISE)

    return halved(low, np.nextafter(high, np.inf), enough)[0]


def _named(positions: Positions, who: Marks, grid: Floats) -> tuple[Floats, Floats]:
    """(T,) lowest and highest price that some peers (N, T), or the grid for them, can name; 0 where none can."""
    assets = positions.market.assets
    theirs = who[positions.owner]
    ends = np.concatenate(
        [
            np.where(theirs, -assets.slope - assets.curvature * assets.upper, np.nan),
            np.where(theirs, -assets.slope - assets.curvature * assets.lower, np.nan),
            np.where(who & np.isfinite(grid), grid, np.nan),
        ]
    )
    none = np.isnan(ends)
    low, high = np.where(none, np.inf, ends).min(axis=0), np.where(none, -np.inf, ends).max(axis=0)
    empty = low > high
    return np.where(empty, 0.0, low), np.where(empty, 0.0, high)
