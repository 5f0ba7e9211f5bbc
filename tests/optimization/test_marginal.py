"""Marginal cost curves of re-routing: exact for what they re-route, never better than the best trades."""

from collections.abc import Callable

import numpy as np
import pytest

from optimization.community import Community, Link, PeerId
from optimization.marginal import KINKS, Curve, Flows, apply, curves
from optimization.trading import Network, trade

MakeCommunity = Callable[..., Community]


def random_network(make_community: MakeCommunity, seed: int, *, peers: int, mtus: int = 4) -> Network:
    random = np.random.default_rng(seed)
    density = float(random.choice([0.3, 0.6, 1.0]))
    levels = int(random.choice([1, 4, 1000]))
    export_price = random.integers(-4, 10, mtus) / 100
    return Network.of(
        make_community(
            {f"p{n}": [] for n in range(peers)},
            import_price=export_price + random.integers(0, 20, mtus) / 100,
            export_price=export_price,
            links=[
                Link(
                    seller=PeerId(f"p{s}"), buyer=PeerId(f"p{b}"), network_charge=0.1 * random.integers(levels) / levels
                )
                for s in range(peers)
                for b in range(peers)
                if s != b and random.random() < density
            ],
            mtu_minutes=int(random.choice([15, 60])),
        )
    )


def one_price_network(make_community: MakeCommunity, peers: int, cost: float) -> Network:
    names = [PeerId(f"p{n}") for n in range(peers)]
    return Network.of(
        make_community(
            {name: [] for name in names},
            import_price=[0.3, 0.25, 0.3],
            export_price=[0.1, 0.2, 0.05],
            links=[Link(seller=s, buyer=b, network_charge=cost) for s in names for b in names if s != b],
            mtu_minutes=15,
        )
    )


def all_from_the_grid(network: Network, net: np.ndarray) -> Flows:
    """Flows with everything to gain."""
    links = network.seller.size
    grid = (network.hours * np.maximum(net, 0.0), network.hours * np.maximum(-net, 0.0))
    return Flows(kwh=np.concatenate([np.zeros((links, net.shape[1])), *grid]), links=links)


def net_of(network: Network, flows: Flows) -> np.ndarray:
    left = flows.import_kwh - flows.export_kwh
    np.add.at(left, network.buyer, flows.trade_kwh)
    np.subtract.at(left, network.seller, flows.trade_kwh)
    return left / network.hours


def cost_along(curve: Curve, net_kw: np.ndarray, hours: float) -> np.ndarray:
    """(T,) currency of a net power under a curve, as ``PowerCost`` has it, from the present power on."""

    def at(power: np.ndarray) -> np.ndarray:
        kinked = (curve.kink * np.maximum(0.0, power[:, None] - curve.kink_at)).sum(axis=1)
        return np.asarray(hours * (curve.price * power + kinked))

    return at(net_kw) - at(curve.present_kw) - curve.saving


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("start", ["optimal", "grid", "any"])
def test_a_curve_foretells_what_applying_it_costs(make_community: MakeCommunity, seed: int, start: str) -> None:
    random = np.random.default_rng(seed)
    network = random_network(make_community, seed, peers=2 + seed % 5)
    net = random.integers(-4, 5, network.shape) * 0.7
    flows = Flows.of(trade(network, net)) if start == "optimal" else all_from_the_grid(network, net)
    if start == "any":
        flows.kwh[:] = random.random(flows.kwh.shape) * (random.random(flows.kwh.shape) < 0.5)
        net = net_of(network, flows)
    for _ in range(25):
        n = int(random.integers(network.shape[0]))
        before, held = flows.cost(network), flows.kwh.tobytes()
        curve = curves(network, flows, n)
        assert flows.kwh.tobytes() == held
        np.testing.assert_allclose(curve.present_kw, net[n], atol=1e-10)
        assert (curve.kink >= 0.0).all()
        assert (curve.saving >= 0.0).all()
        if random.random() < 0.4:  # a kink: exact even where pieces were merged
            net[n], merged = curve.kink_at[:, random.integers(KINKS)], 0.0
        else:
            merged = 1.0
            net[n] += random.normal(size=net.shape[1]) * float(random.choice([0.0, 0.3, 3.0]))
        foretold = cost_along(curve, net[n], network.hours)
        change = apply(network, flows, n, net[n])
        np.testing.assert_allclose(flows.cost(network) - before, change, atol=1e-10)
        assert (change <= foretold + 1e-10).all()
        if merged == 0.0 or network.shape[0] <= 3:
            np.testing.assert_allclose(change, foretold, atol=1e-10)
        np.testing.assert_allclose(net_of(network, flows), net, atol=1e-10)
        assert (flows.kwh >= 0.0).all()
        assert (flows.cost(network) >= trade(network, net).cost - 1e-9).all()


@pytest.mark.parametrize("seed", range(30))
def test_where_all_links_cost_the_same_a_curve_is_the_true_cost(make_community: MakeCommunity, seed: int) -> None:
    random = np.random.default_rng(seed)
    network = one_price_network(make_community, 2 + seed % 6, float(random.choice([0.0, 0.04, 0.07, 0.3])))
    net = random.integers(-4, 5, network.shape) * 0.7
    trades = trade(network, net)
    for n in range(network.shape[0]):
        flows = Flows.of(trades)
        curve = curves(network, flows, n)
        np.testing.assert_allclose(curve.saving, 0.0, atol=1e-12)
        for new_net in (*curve.kink_at.T, net[n] - 30.0, net[n] + 30.0, net[n] + random.normal(size=3)):
            moved = net.copy()
            moved[n] = new_net
            wanted = trade(network, moved).cost - trades.cost
            np.testing.assert_allclose(cost_along(curve, new_net, network.hours), wanted, atol=1e-10)


def test_re_routing_at_the_present_power_gains_what_the_curve_says(make_community: MakeCommunity) -> None:
    network = one_price_network(make_community, 2, 0.04)
    flows = all_from_the_grid(network, np.array([[-4.0] * 3, [4.0] * 3]))
    saving = curves(network, flows, 0).saving
    np.testing.assert_allclose(saving, [0.16, 0.01, 0.21])
    np.testing.assert_allclose(apply(network, flows, 0, np.full(3, -4.0)), -saving)
    np.testing.assert_allclose(flows.import_kwh, 0.0, atol=1e-15)
    np.testing.assert_allclose(curves(network, flows, 1).saving, 0.0)


def test_a_curve_has_the_marginal_costs_of_a_neighbourhood(make_community: MakeCommunity) -> None:
    names = [PeerId(name) for name in ("home", "roof", "shop")]
    network = Network.of(
        make_community(
            {name: [] for name in names},
            import_price=[0.3],
            export_price=[0.1],
            links=[
                Link(seller=names[1], buyer=names[0], network_charge=0.02),
                Link(seller=names[1], buyer=names[2], network_charge=0.05),
            ],
        )
    )
    # The roof sells 2 kW to the shop, 1 kW to the home, and exports 3 kW.
    flows = Flows.of(trade(network, np.array([[1.0], [-6.0], [2.0]])))
    curve = curves(network, flows, 0)
    real = curve.kink[0] > 1e-12
    # Home's power: from 0 kW what the roof exports (0.12), from 4 kW what the shop forgoes (0.27), then the grid.
    np.testing.assert_allclose(curve.kink_at[0, real], [0.0, 4.0, 6.0], atol=1e-12)
    np.testing.assert_allclose(curve.price[0] + curve.kink[0, real].cumsum(), [0.12, 0.27, 0.3])


def test_many_sellers_are_merged_to_a_curve_that_is_never_too_low(make_community: MakeCommunity) -> None:
    names = [PeerId(f"p{n}") for n in range(30)]
    network = Network.of(
        make_community(
            {name: [] for name in names},
            import_price=[0.5],
            export_price=[0.1],
            links=[Link(seller=s, buyer=names[0], network_charge=0.01 * k) for k, s in enumerate(names[1:], start=1)],
        )
    )
    flows = Flows.of(trade(network, np.array([[0.0]] + [[-1.0]] * 29)))
    curve = curves(network, flows, 0)
    assert np.count_nonzero(curve.kink) == KINKS // 2 + 1
    for power in np.linspace(0.0, 35.0, 71):
        change = apply(network, flows.copy(), 0, np.array([power]))
        foretold = cost_along(curve, np.array([power]), network.hours)
        assert -1e-10 <= (foretold - change)[0] <= 0.05
