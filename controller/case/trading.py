"""Trades of a clearing as rows of whole Wh: opposite ones netted, sums kept, noise left out."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from controller.case.format import WATTS, Case
from optimization.community import Floats
from optimization.market import LARGEST, Links, Market
from optimization.rounding import MICRO_WH_PER_WH, Integers

KILO = 1000.0

Sides = tuple[Sequence[str], Sequence[str]]
Link = tuple[str, str, int]
Arc = tuple[str | int, ...]
Node = tuple[str, str]

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
    energy_wh : whole Wh, the one below or above the energy; the sums of each peer are rounded likewise
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


def whole_wh(energy_kwh: Floats, sides: Sides | None = None) -> Integers:
    """(L, T) whole Wh of energies, each the one below or above its energy.

    Where the sides are known, so is in every MTU what each of them sells, buys, and sells net of what it buys, and the
    total. What rounding leaves over is made up for in later MTUs. Neither the order of the rows nor that of the peers
    matters.

    Parameters
    ----------
    energy_kwh : (L, T) kWh, non-negative up to solver noise; taken to a micro-Wh
    sides : the (L,) names of the sellers and of the buyers; without them each row is rounded by itself
    """
    wh = np.maximum(energy_kwh, 0.0) * KILO
    large = wh > LARGEST_CARRIED_KWH * KILO
    micro = np.rint(np.where(large, 0.0, wh) * MICRO_WH_PER_WH).astype(np.int64)
    whole: Integers = micro // MICRO_WH_PER_WH
    part: Integers = micro % MICRO_WH_PER_WH
    whole[large] = np.rint(wh[large]).astype(np.int64)
    if sides is None:
        carry = np.zeros(part.shape[0], dtype=np.int64)
        for t in range(part.shape[1]):
            up = (part[:, t] > 0) & (2 * (part[:, t] + carry) >= MICRO_WH_PER_WH)
            carry += part[:, t] - up * MICRO_WH_PER_WH
            whole[:, t] += up
        return whole
    rows = list(zip(*sides, micro.tolist(), strict=True))
    order = sorted(range(len(rows)), key=rows.__getitem__)
    owed: dict[Arc, int] = defaultdict(int)
    for t in range(part.shape[1]):
        parts = part[:, t].tolist()
        flow = {(*rows[k][:2], place): parts[k] for place, k in enumerate(order)}
        ups = rounded_parts(flow, owed)
        for place, k in enumerate(order):
            whole[k, t] += ups.get((*rows[k][:2], place), 0)
    return whole


def rounded_parts(flow: Mapping[Link, int], owed: dict[Arc, int]) -> dict[Link, int]:
    """0 or 1 for each part of a Wh such that all sums are rounded down or up too (controlled rounding: Cox, 1987).

    The links are arcs of a circulation that also leads through what each peer sells, buys and sells net, and through
    the total. As long as an arc is not whole there is a cycle of such arcs; pushing along it makes one of them whole.

    Parameters
    ----------
    flow : micro-Wh of each link, in a canonical order
    owed : micro-Wh that earlier MTUs left over of each arc; updated
    """
    sold: dict[str, int] = defaultdict(int)
    bought: dict[str, int] = defaultdict(int)
    arcs: dict[Arc, list[int]] = {}
    ends: dict[Arc, tuple[Node, Node]] = {}

    def add(arc: Arc, tail: Node, head: Node, value: int) -> None:
        if value % MICRO_WH_PER_WH:
            arcs[arc] = [value, value]
            ends[arc] = tail, head

    for link, value in flow.items():
        add(("link", *link), ("sold", link[0]), ("bought", link[1]), value)
        sold[link[0]] += value
        bought[link[1]] += value
    total = 0
    for peer in sorted({*sold, *bought}):
        net = sold[peer] - bought[peer]
        add(("bought", peer), ("bought", peer), ("peer", peer), bought[peer])
        add(("sold", peer), ("peer", peer), ("sold", peer), sold[peer])
        if net > 0:
            add(("net", peer, "sold"), ("all", "sold"), ("peer", peer), net)
        else:
            add(("net", peer, "bought"), ("peer", peer), ("all", "bought"), -net)
        total += max(net, 0)
    add(("total",), ("all", "bought"), ("all", "sold"), total)
    # Up costs less than down from half a Wh on, what is owed included; sums go before links, the total before all.
    weight = {"link": 1, "total": 10**12}
    cost = {
        arc: weight.get(str(arc[0]), 1000) * (MICRO_WH_PER_WH - 2 * (value[0] % MICRO_WH_PER_WH + owed[arc]) or -1)
        for arc, value in arcs.items()
    }
    _cancel(arcs, ends, cost)
    for arc, (first, last) in arcs.items():
        owed[arc] += first - last
    return {link: arcs[("link", *link)][1] // MICRO_WH_PER_WH for link in flow if ("link", *link) in arcs}


def _cancel(arcs: dict[Arc, list[int]], ends: Mapping[Arc, tuple[Node, Node]], cost: Mapping[Arc, int]) -> None:
    """Make every arc whole, cycle by cycle, each pushed the cheaper way."""
    around: dict[Node, list[Arc]] = defaultdict(list)
    for arc, pair in ends.items():
        for node in pair:
            around[node].append(arc)
    for start in list(around):
        nodes: list[Node] = [start]
        path: list[Arc] = []
        place = {start: 0}
        while (on := _next(around[nodes[-1]], path[-1] if path else None, arcs)) is not None:
            tail, head = ends[on]
            node = tail if nodes[-1] == head else head
            path.append(on)
            if node not in place:
                place[node] = len(nodes)
                nodes.append(node)
                continue
            first = place[node]
            _push(
                [(one, 1 if ends[one][0] == nodes[first + k] else -1) for k, one in enumerate(path[first:])], arcs, cost
            )
            for left in nodes[first + 1 :]:
                del place[left]
            del nodes[first + 1 :], path[first:]


def _next(around: list[Arc], last: Arc | None, arcs: Mapping[Arc, list[int]]) -> Arc | None:
    """An arc that is not whole yet, other than the last one; of whole ones the node is rid."""
    for at in range(len(around) - 1, -1, -1):
        if not arcs[around[at]][1] % MICRO_WH_PER_WH:
            del around[at]
        elif around[at] != last:
            return around[at]
    return None


def _push(cycle: list[tuple[Arc, int]], arcs: dict[Arc, list[int]], cost: Mapping[Arc, int]) -> None:
    """Push along a cycle, the way that costs less, until one of its arcs is whole."""
    way = -1 if sum(sign * cost[arc] for arc, sign in cycle) > 0 else 1
    step = min(-way * sign * arcs[arc][1] % MICRO_WH_PER_WH for arc, sign in cycle)
    for arc, sign in cycle:
        arcs[arc][1] += way * sign * step


def rows_of(case: Case, links: Links, trade: Floats, price: Floats) -> tuple[TradeRow, ...]:
    """The trades of a clearing, by MTU, seller, buyer.

    What the buyer pays the seller is between what a kWh is worth to the seller, with what the link costs its side, and
    what it is worth to the buyer, less what it costs that side: both agree unless a capacity binds; then it is halfway.
    """
    market = case.market
    sides = [market.peers[k] for k in links.seller], [market.peers[k] for k in links.buyer]
    energy_wh = whole_wh(trade * (market.hours * WATTS[case.unit] / KILO), sides)
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
