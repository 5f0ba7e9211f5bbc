r"""What each peer consumes at a price, exactly: the supply and demand from which orders are cut.

A peer first uses what it makes itself: its pieces form one curve of net consumption, falling in the price. At price
:math:`\pi` a piece consumes :math:`\mathrm{clip}((-\pi - b)/a, \underline p, \overline p)`, a linear one everything or
nothing. The net position of least cost at a wanted total follows from the price at which the curve passes through it.
Storages stand idle: a single period's orders cannot say what a later one is worth to them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimization.community import Floats
from optimization.market import Indices, Market

HALVINGS = 128
"""Most halvings of an interval of prices; it ends before where no float is left between its ends."""

NOISE = 1e-12
"""The kW by which a sum of powers may miss zero by rounding alone."""

Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """The net consumption curves of all peers.

    Attributes
    ----------
    market : whose peers
    owner : (P,) peer of each piece
    lower, upper : (N, T) kW within which the net consumption of each peer may lie; limits on one peer alone narrow what
        its assets can do, as far as the assets can follow
    """

    market: Market
    owner: Indices
    lower: Floats
    upper: Floats

    def powers_at(self, price: Floats, *, most: bool) -> Floats:
        """(P, T) kW that the pieces consume at each peer's price (N, T); the most or the least where they tie."""
        assets = self.market.assets
        wanted = -price[self.owner] - assets.slope
        return _consumed(wanted, assets.lower, assets.upper, assets.curvature, most=most)

    def net_at(self, price: Floats, mtu: int, *, most: bool) -> Floats:
        """(N,) kW that each peer consumes in one MTU at its price (N,)."""
        assets = self.market.assets
        lower, upper, curvature = assets.lower[:, mtu], assets.upper[:, mtu], assets.curvature[:, mtu]
        pieces = _consumed(-price[self.owner] - assets.slope[:, mtu], lower, upper, curvature, most=most)
        return np.bincount(self.owner, weights=pieces, minlength=len(self.market.peers)).astype(np.float64)

    def net(self, pieces: Floats) -> Floats:
        """(N, T) kW, the pieces (P, T) of each peer summed."""
        return summed(self.owner, pieces, len(self.market.peers))

    def beside_grid(self, traded: Floats) -> Floats:
        """(N, T) kW of net consumption that is best for each peer beside what it bought less sold (N, T) in the market.

        It imports what is worth more than the import price, exports what costs less than the export price, and does
        neither where it does not care.
        """
        market = self.market
        with_import = self.net(self.powers_at(market.import_price, most=False))
        with_export = self.net(self.powers_at(market.export_price, most=True))
        best = np.clip(traded, with_import, np.maximum(with_import, with_export))
        return np.clip(best, self.lower, self.upper)

    def powers(self, net: Floats) -> Floats:
        """(P, T) kW, the cheapest powers of the pieces that sum to each peer's net consumption (N, T).

        Linear pieces that tie share in proportion to their width. A total out of reach gives the nearest bounds.
        """
        assets = self.market.assets
        if not assets.piece_asset.size:
            return np.zeros(assets.lower.shape)
        shape = net.shape
        low, high = self._brackets()
        low, high = halved(low, high, lambda price: self.net(self.powers_at(price, most=True)) >= net)
        most, least = self.powers_at(low, most=True), self.powers_at(high, most=False)
        widest, narrowest = self.net(most), self.net(least)
        share = np.zeros(shape)
        np.divide(net - narrowest, widest - narrowest, out=share, where=widest > narrowest)
        weight = np.clip(share, 0.0, 1.0)[self.owner]
        return np.clip(least + weight * (most - least), assets.lower, assets.upper)

    def first_bids(self) -> Floats:
        """(N, T) currency/kWh of each peer's first kW bought beyond what must run; -inf where it buys none."""
        start = np.maximum(self.lower, 0.0)
        low, high = self._brackets()
        worth, _ = halved(low, high, lambda price: self.net(self.powers_at(price, most=True)) > start + NOISE)
        return np.where(self.upper > start + NOISE, worth, -np.inf)

    def first_offers(self) -> Floats:
        """(N, T) currency/kWh of each peer's first kW sold beyond what must run; inf where it sells none."""
        start = np.minimum(self.upper, 0.0)
        low, high = self._brackets()
        _, cost = halved(low, high, lambda price: self.net(self.powers_at(price, most=False)) >= start - NOISE)
        return np.where(self.lower < start - NOISE, cost, np.inf)

    def _brackets(self) -> tuple[Floats, Floats]:
        """(N, T) prices, below all and above all marginal values of a peer's pieces."""
        assets = self.market.assets
        low, high = np.full(self.lower.shape, np.inf), np.full(self.lower.shape, -np.inf)
        np.minimum.at(low, self.owner, np.nextafter(-assets.slope - assets.curvature * assets.upper, -np.inf))
        np.maximum.at(high, self.owner, np.nextafter(-assets.slope - assets.curvature * assets.lower, np.inf))
        empty = low > high
        return np.where(empty, 0.0, low), np.where(empty, 0.0, high)


def _consumed(wanted: Floats, lower: Floats, upper: Floats, curvature: Floats, *, most: bool) -> Floats:
    """The kW of pieces that at zero power are worth so much more than they cost."""
    linear = np.where((wanted > 0) | ((wanted == 0) & most), upper, lower)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        curved = np.clip(wanted / curvature, lower, upper)
    return np.where(curvature > 0, curved, linear)


def halved(low: Floats, high: Floats, above: Callable[[Floats], Marks]) -> tuple[Floats, Floats]:
    """Neighbouring floats between which a condition turns from true to false, one pair for each entry.

    Parameters
    ----------
    low, high : where the condition is true, and where it is false
    above : the condition, true at an entry exactly up to some value
    """
    for _ in range(HALVINGS):
        middle = low + (high - low) / 2
        if ((middle <= low) | (middle >= high)).all():
            break
        true = above(middle)
        low, high = np.where(true, middle, low), np.where(true, high, middle)
    return low, high


def positions(market: Market) -> Positions:
    """The net consumption curves of a market's peers."""
    owner = market.assets.piece_peer
    peers = len(market.peers)
    lower, upper = summed(owner, market.assets.lower, peers), summed(owner, market.assets.upper, peers)
    floor, ceiling = lower.copy(), upper.copy()
    for limit in market.limits:
        if limit.members.size == 1:
            n = int(limit.members[0])
            floor[n] = np.maximum(floor[n], limit.lower)
            ceiling[n] = np.minimum(ceiling[n], limit.upper)
    ceiling = np.maximum(ceiling, lower)
    return Positions(market=market, owner=owner, lower=np.minimum(floor, ceiling), upper=ceiling)


def summed(owner: Indices, values: Floats, peers: int) -> Floats:
    """(peers, T), rows (K, T) summed by their owner."""
    total = np.zeros((peers, values.shape[1]))
    np.add.at(total, owner, values)
    return total
