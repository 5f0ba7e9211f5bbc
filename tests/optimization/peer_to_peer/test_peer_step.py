"""The batched step against slow twins: bisection written plainly, and a general solver."""

import numpy as np
import pytest

from optimization.canonical import canonical
from optimization.market import Market
from optimization.peer_to_peer.network import Network, network
from optimization.peer_to_peer.rounds import Rounds
from tests.benchmarks.families import family


def answer(net: Network, target: np.ndarray, step: np.ndarray) -> Rounds:
    rounds = Rounds(net, step=step, target=target, price=np.zeros((net.market.mtus, len(net.market.peers))))
    rounds.answer()
    return rounds


def bisected(net: Network, n: int, target: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Proposals and powers of one peer by bisection on its price."""
    links = slice(net.links_from[n], net.links_from[n + 1])
    pieces = slice(net.pieces_from[n], net.pieces_from[n + 1])
    low, high = net.low[0, pieces], net.high[0, pieces]
    slope, curve = net.slope[0, pieces], net.curve[0, pieces]

    def bought(price: float) -> np.ndarray:
        v = target[links] + step[links] * price
        soft = np.where(v > 0, np.maximum(v - step[links] * net.buying[links], 0), 0)
        soft += np.where(v < 0, np.minimum(v + step[links] * net.selling[links], 0), 0)
        return np.clip(soft, net.least[links], net.most[links])

    def consumed(price: float) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            inner = np.where(curve > 0, -(price + slope) / curve, np.where(price < -slope, np.inf, -np.inf))
        return np.clip(inner, low, high)

    below, above = -1e5, 1e5
    for _ in range(200):
        middle = 0.5 * (below + above)
        if bought(middle).sum() < consumed(middle).sum():
            below = middle
        else:
            above = middle
    return bought(above), consumed(above)


@pytest.mark.parametrize("name", ["prosumers", "k-nearest", "pieces", "linear", "fixed"])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_peer_answers_as_bisection_does(name: str, seed: int) -> None:
    net = network(canonical(family(name, peers=12, seed=seed)).market)
    random = np.random.default_rng(seed)
    target = random.normal(scale=2.0, size=(1, net.slots))
    step = 10.0 ** random.uniform(-1, 2, net.slots)
    rounds = answer(net, target, step)
    for n in range(len(net.market.peers)):
        links = slice(net.links_from[n], net.links_from[n + 1])
        proposals, _ = bisected(net, n, target[0], step)
        scale = 1.0 + np.abs(target).max() + 50.0 * step[links].max(initial=0.0)
        np.testing.assert_allclose(rounds.proposal[0, links], proposals, atol=1e-9 * scale)
        pieces = slice(net.pieces_from[n], net.pieces_from[n + 1])
        assert rounds.power[0, pieces].sum() == pytest.approx(rounds.proposal[0, links].sum(), abs=1e-9 * scale)


def test_the_grid_holds_a_price_between_its_own() -> None:
    net = network(canonical(family("grid", peers=10, seed=3)).market)
    random = np.random.default_rng(0)
    rounds = answer(net, random.normal(size=(net.market.mtus, net.slots)), np.ones(net.slots))
    grid = np.isfinite(net.market.import_price.T)
    assert (rounds.price[grid] <= net.market.import_price.T[grid]).all()
    assert (rounds.price[grid] >= net.market.export_price.T[grid]).all()
    # Energy comes from the grid only at its price.
    importing = rounds.imported > 1e-9
    np.testing.assert_array_equal(rounds.price[importing], net.market.import_price.T[importing])
    exporting = rounds.imported < -1e-9
    np.testing.assert_array_equal(rounds.price[exporting], net.market.export_price.T[exporting])
    assert importing.any()


def test_one_round_is_the_published_one() -> None:
    """told, other, tav and y as matrices, as the published program has them, against the targets' exchange."""
    market: Market = family("bipartite-resale", peers=8, seed=5)
    net = network(canonical(market).market)
    links, penalty = net.links, 0.7
    step = np.full(net.slots, 1.0 / penalty)
    rounds = Rounds(net, step=step, target=np.zeros((1, net.slots)), price=np.zeros((1, 8)))
    told = np.zeros(links)
    price = np.zeros(links)
    for _ in range(5):
        other = told[net.mate]
        tav = (told - other) / 2
        price = price - penalty * (told - tav)
        # Buying is positive here and selling in the paper, so that the price of a link has the other sign.
        np.testing.assert_allclose(rounds.target[0], tav + price / penalty, atol=1e-12)
        rounds.answer()
        heard = rounds.exchange(1.0)
        proposals = np.concatenate([
            bisected(net, n, tav + price / penalty, step)[0] for n in range(len(market.peers))
        ])  # fmt: skip
        np.testing.assert_allclose(rounds.proposal[0], proposals, atol=1e-10)
        assert heard.apart == pytest.approx(((proposals + other) ** 2).sum())
        assert heard.moved == pytest.approx(((proposals - told) ** 2).sum())
        told = proposals
        rounds.target, rounds.new = rounds.new, rounds.target
