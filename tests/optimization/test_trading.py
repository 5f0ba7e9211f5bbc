"""Trades for given net powers against a general LP solver, and the proof that their prices carry."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy.optimize import linprog

from optimization.community import Community, Link, PeerId
from optimization.errors import ProblemError
from optimization.trading import Network, Trades, cost_of, trade

MakeCommunity = Callable[..., Community]


def linked(
    make_community: MakeCommunity,
    peers: int,
    links: Sequence[tuple[int, int, float]],
    *,
    import_price: Sequence[float] = (0.3,),
    export_price: Sequence[float] = (0.1,),
    mtu_minutes: int = 60,
) -> Network:
    community = make_community(
        {f"p{n}": [] for n in range(peers)},
        import_price=import_price,
        export_price=export_price,
        links=[Link(seller=PeerId(f"p{s}"), buyer=PeerId(f"p{b}"), network_charge=cost) for s, b, cost in links],
        mtu_minutes=mtu_minutes,
    )
    return Network.of(community)


def random_case(
    make_community: MakeCommunity, seed: int, *, peers: int, density: float, mtus: int = 3
) -> tuple[Network, np.ndarray]:
    """Coarse costs and powers, so that many arcs and amounts tie."""
    random = np.random.default_rng(seed)
    pairs = [(s, b) for s in range(peers) for b in range(peers) if s != b and random.random() < density]
    export_price = random.integers(-4, 10, mtus) / 100
    network = linked(
        make_community,
        peers,
        [(s, b, float(random.integers(0, 6)) / 100) for s, b in pairs],
        import_price=export_price + random.integers(0, 20, mtus) / 100,
        export_price=export_price,
        mtu_minutes=int(random.choice([15, 60])),
    )
    net = random.integers(-3, 4, (peers, mtus)) * float(random.choice([1.0, 0.37]))
    return network, net


def balance(network: Network, trades: Trades) -> np.ndarray:
    """(N, T) kWh that the flows leave each peer."""
    left = trades.import_kwh - trades.export_kwh
    np.add.at(left, network.buyer, trades.trade_kwh)
    np.subtract.at(left, network.seller, trades.trade_kwh)
    return left


def cheapest(network: Network, net: np.ndarray, t: int) -> float:
    """The same problem of one MTU as a general solver sees it."""
    peers, links = net.shape[0], network.seller.size
    rows = np.zeros((peers, links + 2 * peers))
    rows[network.buyer, np.arange(links)] += 1.0
    rows[network.seller, np.arange(links)] -= 1.0
    rows[:, links : links + peers] = np.eye(peers)
    rows[:, links + peers :] = -np.eye(peers)
    costs = np.concatenate(
        [network.cost, np.full(peers, network.import_price[t]), np.full(peers, -network.export_price[t])]
    )
    result = linprog(costs, A_eq=rows, b_eq=network.hours * net[:, t], method="highs")
    assert result.status == 0
    return float(result.fun)


def prove(network: Network, net: np.ndarray, trades: Trades) -> None:
    """Feasible flows, dual feasible prices, and no slack between them: both are optimal."""
    np.testing.assert_allclose(balance(network, trades), network.hours * net, atol=1e-12, rtol=1e-12)
    for flow in (trades.trade_kwh, trades.import_kwh, trades.export_kwh):
        assert (flow >= 0.0).all()
    assert (trades.price <= network.import_price + 1e-12).all()
    assert (trades.price >= network.export_price - 1e-12).all()
    slack = trades.price[network.seller] + network.cost[:, None] - trades.price[network.buyer]
    assert (slack >= -1e-12).all()
    assert (np.abs(slack * trades.trade_kwh) <= 1e-9).all()
    assert (np.abs((network.import_price - trades.price) * trades.import_kwh) <= 1e-9).all()
    assert (np.abs((network.export_price - trades.price) * trades.export_kwh) <= 1e-9).all()
    flows = (trades.trade_kwh, trades.import_kwh, trades.export_kwh)
    np.testing.assert_allclose(trades.cost, cost_of(network, *flows), atol=1e-12)


def test_surplus_goes_to_the_neighbour_before_the_grid(make_community: MakeCommunity) -> None:
    network = linked(make_community, 2, [(0, 1, 0.05)])
    trades = trade(network, np.array([[-3.0], [2.0]]))
    np.testing.assert_allclose(trades.trade_kwh, [[2.0]])
    np.testing.assert_allclose(trades.export_kwh, [[1.0], [0.0]])
    np.testing.assert_allclose(trades.import_kwh, 0.0)
    np.testing.assert_allclose(trades.cost, [2 * 0.05 - 0.1])
    np.testing.assert_allclose(trades.price, [[0.1], [0.15]])


def test_a_link_dearer_than_the_tariffs_spread_is_idle(make_community: MakeCommunity) -> None:
    network = linked(make_community, 2, [(0, 1, 0.21)])
    trades = trade(network, np.array([[-3.0], [2.0]]))
    np.testing.assert_allclose(trades.trade_kwh, 0.0)
    np.testing.assert_allclose(trades.cost, [2 * 0.3 - 3 * 0.1])


def test_a_peer_resells_where_the_way_is_cheap(make_community: MakeCommunity) -> None:
    network = linked(make_community, 3, [(0, 1, 0.04), (1, 2, 0.05), (0, 2, 0.12)], mtu_minutes=15)
    trades = trade(network, np.array([[-4.0], [0.0], [4.0]]))
    np.testing.assert_allclose(trades.trade_kwh, [[1.0], [1.0], [0.0]])
    np.testing.assert_allclose(trades.cost, [0.09])


def test_scarce_surplus_goes_where_it_saves_most(make_community: MakeCommunity) -> None:
    network = linked(make_community, 3, [(0, 1, 0.02), (0, 2, 0.01)])
    trades = trade(network, np.array([[-1.5], [1.0], [1.0]]))
    np.testing.assert_allclose(trades.trade_kwh, [[0.5], [1.0]])
    np.testing.assert_allclose(trades.price, [[0.28], [0.3], [0.29]])


@pytest.mark.parametrize("seed", range(60))
def test_trades_cost_what_a_general_solver_finds(make_community: MakeCommunity, seed: int) -> None:
    network, net = random_case(make_community, seed, peers=1 + seed % 9, density=(0.2, 0.5, 1.0)[seed % 3])
    trades = trade(network, net)
    prove(network, net, trades)
    wanted = [cheapest(network, net, t) for t in range(net.shape[1])]
    np.testing.assert_allclose(trades.cost, wanted, atol=1e-9)


@pytest.mark.parametrize("cost", [0.0, 0.01])
def test_a_large_network_of_ties_ends_at_an_optimum(make_community: MakeCommunity, cost: float) -> None:
    random = np.random.default_rng(3)
    ring = [(n, (n + step) % 400, cost) for n in range(400) for step in (1, 2, 399)]
    network = linked(make_community, 400, ring, import_price=[0.3, 0.3, 0.2], export_price=[0.1, 0.1, 0.2])
    net = random.integers(-1, 2, (400, 3)).astype(float)
    prove(network, net, trade(network, net))


@pytest.mark.slow
def test_a_thousand_peers_over_a_day_are_traded_to_a_proven_optimum(make_community: MakeCommunity) -> None:
    random = np.random.default_rng(5)
    links = [(n, (n + k) % 1000, float(random.random()) / 10) for n in range(1000) for k in (1, 2, 500, 999)]
    export_price = random.random(96) / 10
    network = linked(
        make_community, 1000, links, import_price=export_price + random.random(96) / 5, export_price=export_price
    )
    net = random.normal(size=(1000, 96)) * 3
    prove(network, net, trade(network, net))


def test_the_same_powers_are_traded_alike(make_community: MakeCommunity) -> None:
    network, net = random_case(make_community, 7, peers=9, density=1.0, mtus=8)
    first, second = trade(network, net), trade(network, net)
    for name in ("trade_kwh", "import_kwh", "export_kwh", "cost", "price"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


def test_powers_that_are_none_are_refused(make_community: MakeCommunity) -> None:
    network = linked(make_community, 2, [])
    with pytest.raises(ProblemError, match=r"got shape \(1, 1\), wanted \(2, 1\)"):
        trade(network, np.zeros((1, 1)))
    with pytest.raises(ProblemError, match="NaN"):
        trade(network, np.array([[0.0], [np.nan]]))
