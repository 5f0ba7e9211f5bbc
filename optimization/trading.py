r"""The cheapest trades for given net powers, exactly, with the prices that prove it.

In one MTU, with :math:`h_n = \Delta q_n` kWh that a peer needs (or, negative, has to spare), trading is a min-cost flow
over the peers and the grid:

.. math::

    F(h) = \min_{e, i, x \ge 0} \sum_{nm} c_{nm} e_{nm} + \sum_n (\pi^+ i_n - \pi^- x_n), \qquad
    h_n = \sum_m e_{mn} - \sum_m e_{nm} + i_n - x_n

No arc has a capacity, and no cycle of arcs costs less than nothing (:math:`c \ge 0, \pi^- \le \pi^+`): what the network
simplex method asks for.
"""

from dataclasses import dataclass, replace

import numpy as np
from numba import njit, prange

from optimization.community import Community, Floats
from optimization.devices.oracle import Integers
from optimization.errors import ProblemError, SolverError
from optimization.network_simplex import network_simplex


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Who may trade with whom at which cost, in arrays: N peers, L links, T MTUs.

    Attributes
    ----------
    hours : length of an MTU
    seller, buyer : (L,) peers
    cost : (L,) currency/kWh that a trade adds to the objective, non-negative
    import_price, export_price : (T,) currency/kWh
    out_start, out_link : (N + 1,), (L,) peer n sells over ``out_link[out_start[n]:out_start[n + 1]]``
    in_start, in_link : (N + 1,), (L,) it buys over ``in_link[in_start[n]:in_start[n + 1]]``
    """

    hours: float
    seller: Integers
    buyer: Integers
    cost: Floats
    import_price: Floats
    export_price: Floats
    out_start: Integers
    out_link: Integers
    in_start: Integers
    in_link: Integers

    @classmethod
    def of(cls, community: Community) -> "Network":
        """The network of a community's links."""
        index = {peer.id: n for n, peer in enumerate(community.peers)}
        seller = np.array([index[link.seller] for link in community.links], dtype=np.int64)
        buyer = np.array([index[link.buyer] for link in community.links], dtype=np.int64)
        out_start, out_link = _rows(seller, len(index))
        in_start, in_link = _rows(buyer, len(index))
        return cls(
            hours=community.horizon.hours,
            seller=seller,
            buyer=buyer,
            cost=np.array([link.cost for link in community.links], dtype=np.float64),
            import_price=community.tariff.import_price,
            export_price=community.tariff.export_price,
            out_start=out_start,
            out_link=out_link,
            in_start=in_start,
            in_link=in_link,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Peers and MTUs: (N, T)."""
        return self.out_start.size - 1, self.import_price.size


def _rows(end: Integers, peers: int) -> tuple[Integers, Integers]:
    """Where the links of each peer begin, and the links sorted by peer."""
    start = np.concatenate([[0], np.cumsum(np.bincount(end, minlength=peers))])
    return start.astype(np.int64), np.argsort(end, kind="stable").astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trades:
    """The cheapest trades.

    Attributes
    ----------
    trade_kwh : (L, T) sold over each link, non-negative
    import_kwh, export_kwh : (N, T) bought from and sold to the grid, non-negative
    cost : (T,) currency
    price : (N, T) currency/kWh: what one kWh more costs a peer; between export and import price, and a buyer's at most
        its seller's plus the cost of their link, equal where they trade
    """

    trade_kwh: Floats
    import_kwh: Floats
    export_kwh: Floats
    cost: Floats
    price: Floats


def trade(network: Network, net_kw: Floats) -> Trades:
    """The cheapest trades for given net powers; the same ones on every run.

    Parameters
    ----------
    network : who may trade
    net_kw : (N, T) net consumption of each peer

    Returns
    -------
    Trades, optimal in each MTU; at most one arc for each peer carries energy

    Raises
    ------
    ProblemError
        If the powers have the wrong shape or are not finite.
    SolverError
        If rounding keeps the simplex method from ending.
    """
    if net_kw.shape != network.shape:
        raise ProblemError(f"net_kw: got shape {net_kw.shape}, wanted {network.shape}")
    if not np.isfinite(net_kw).all():
        raise ProblemError("net_kw: got NaN or infinity, wanted numbers")
    peers, mtus = network.shape
    trade_kwh = np.zeros((network.seller.size, mtus))
    import_kwh, export_kwh, price = (np.zeros((peers, mtus)) for _ in range(3))
    ended = np.zeros(mtus, dtype=np.bool_)
    _trade_all(
        network.hours * net_kw, network.seller, network.buyer, network.cost, network.import_price,
        network.export_price, trade_kwh, import_kwh, export_kwh, price, ended,
    )  # fmt: skip
    if not ended.all():
        raise SolverError(f"trades of MTU {int(np.argmin(ended))}: the simplex method did not end")
    return Trades(
        trade_kwh=trade_kwh,
        import_kwh=import_kwh,
        export_kwh=export_kwh,
        cost=cost_of(network, trade_kwh, import_kwh, export_kwh),
        price=price,
    )


def without_closed(community: Community, trades: Trades, net_kw: Floats) -> Trades:
    """The cheapest trades for the same net powers where links are closed in some MTUs; the others stay as they are.

    Prices stay: of fewer links they prove as much.

    Parameters
    ----------
    community : the problem
    trades : as if all links were open
    net_kw : (N, T) net consumption of each peer
    """
    closed = sorted({mtu for link in community.links for mtu in link.closed_mtus})
    if not closed:
        return trades
    flows = [np.array(flow) for flow in (trades.trade_kwh, trades.import_kwh, trades.export_kwh)]
    for t in closed:
        open_ = [k for k, link in enumerate(community.links) if t not in link.closed_mtus]
        network = replace(
            Network.of(replace(community, links=tuple(community.links[k] for k in open_))),
            import_price=community.tariff.import_price[t : t + 1],
            export_price=community.tariff.export_price[t : t + 1],
        )
        found = trade(network, np.ascontiguousarray(net_kw[:, t : t + 1]))
        flows[0][:, t] = 0.0
        flows[0][open_, t] = found.trade_kwh[:, 0]
        flows[1][:, t], flows[2][:, t] = found.import_kwh[:, 0], found.export_kwh[:, 0]
    cost = cost_of(Network.of(community), *flows)
    return replace(trades, trade_kwh=flows[0], import_kwh=flows[1], export_kwh=flows[2], cost=cost)


def cost_of(network: Network, trade_kwh: Floats, import_kwh: Floats, export_kwh: Floats) -> Floats:
    """(T,) currency that given flows cost: link costs and the grid's prices."""
    grid = network.import_price * import_kwh.sum(axis=0) - network.export_price * export_kwh.sum(axis=0)
    return np.asarray(network.cost @ trade_kwh + grid)


@njit(cache=True, parallel=True, error_model="numpy")
def _trade_all(  # type: ignore[no-untyped-def]
    need, seller, buyer, cost, import_price, export_price, trade_kwh, import_kwh, export_kwh, price, ended
):
    """Solves each MTU on its own and writes flows and prices."""
    peers, mtus = need.shape
    links = seller.size
    tail = np.empty(links + 2 * peers, dtype=np.int64)
    head = np.empty(links + 2 * peers, dtype=np.int64)
    tail[:links] = seller
    head[:links] = buyer
    for n in range(peers):
        tail[links + n], head[links + n] = peers, n
        tail[links + peers + n], head[links + peers + n] = n, peers
    for t in prange(mtus):
        prices = np.empty(links + 2 * peers)
        prices[:links] = cost
        prices[links : links + peers] = import_price[t]
        prices[links + peers :] = -export_price[t]
        at, arc, flow, ended[t] = network_simplex(need[:, t].copy(), tail, head, prices, links)
        for n in range(peers):
            price[n, t] = at[n]
            a = arc[n]
            if a < links:
                trade_kwh[a, t] = flow[n]
            elif a < links + peers:
                import_kwh[a - links, t] = flow[n]
            else:
                export_kwh[a - links - peers, t] = flow[n]
