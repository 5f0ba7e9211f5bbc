"""The same answers on few arcs as on all."""

import numpy as np
import pytest

from optimization.canonical import canonical
from optimization.interior_point import sifting
from optimization.interior_point.method import Iterate, Method
from optimization.interior_point.programme import Programme, lay_out
from optimization.interior_point.sifting import solve
from optimization.market import Assets, Links, Market
from tests.benchmarks.families import family


@pytest.fixture(autouse=True)
def _sift_even_small_programmes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sifting, "MANY", 1)
    monkeypatch.setattr(sifting, "LEAST_ARCS", 1)


def programme(market: Market) -> Programme:
    return lay_out(canonical(market).market).programme


def objective(given: Programme, iterate: Iterate) -> float:
    boxes = given.boxes
    linear = boxes.cost @ iterate.boxes + given.arcs.cost @ iterate.arcs
    return float(linear + 0.5 * boxes.curvature @ iterate.boxes**2)


def assert_same(given: Programme, monkeypatch: pytest.MonkeyPatch) -> Iterate:
    """Sifting meets the tolerance with far fewer arcs, its prices leave none out that pays, and the answers agree."""
    sizes: list[int] = []
    restrict = sifting._restricted
    monkeypatch.setattr(sifting, "_restricted", lambda p, active: sizes.append(active.size) or restrict(p, active))
    sifted = solve(given, tolerance=1e-9, max_iterations=200)
    every = Method(given).run(tolerance=1e-9, steps=200)
    assert sizes
    assert sifted.quality.worst <= 1e-9
    assert sifted.arcs.shape == given.arcs.cost.shape
    assert objective(given, sifted) == pytest.approx(objective(given, every), rel=1e-7)
    arcs = given.arcs
    reduced = arcs.cost + sifted.price[arcs.seller] - sifted.price[arcs.buyer]
    assert reduced.min() >= -1e-8 * sifted.cost_scale
    flow = np.bincount(arcs.seller, sifted.arcs, given.target.size)
    flow -= np.bincount(arcs.buyer, sifted.arcs, given.target.size)
    assert given.boxes.matrix @ sifted.boxes + flow == pytest.approx(given.target, abs=1e-6)
    return sifted


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ["bipartite", "bipartite-resale", "linear", "fixed", "wide"])
def test_few_arcs_give_the_answer_of_all(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same(programme(family(name, peers=80, seed=seed)), monkeypatch)


def test_arcs_join_where_the_cheapest_serve_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty cheap generators are all but empty: the loads live from a few that are dear to reach."""
    random = np.random.default_rng(0)
    cheap, able, loads = 30, 6, 40
    sellers = cheap + able
    size = sellers + loads
    seller, buyer = np.repeat(np.arange(sellers), loads), sellers + np.tile(np.arange(loads), sellers)
    cost = np.where(seller < cheap, 0.01, 1.0) * random.uniform(1.0, 2.0, seller.size)
    none = np.zeros(seller.size)
    power = np.where(np.arange(sellers) < cheap, 1e-3, 20.0)
    market = Market(
        peers=tuple(f"p{n:02d}" for n in range(size)),  # type: ignore[misc]
        assets=Assets(
            peer=np.arange(size),
            names=("asset",) * size,
            piece_asset=np.arange(size),
            lower=np.concatenate([-power, np.full(loads, 2.0)])[:, None],
            upper=np.concatenate([np.zeros(sellers), np.full(loads, 2.5)])[:, None],
            slope=np.concatenate([np.full(sellers, -0.1), np.full(loads, -0.5)])[:, None],
            curvature=np.full((size, 1), 0.1),
        ),
        links=Links(
            seller=seller,
            buyer=buyer,
            seller_preference=cost,
            buyer_preference=none,
            network_charge=none,
            capacity=np.full(seller.size, np.inf),
        ),
    )
    sifted = assert_same(programme(market), monkeypatch)
    served = sifted.arcs[canonical(market).market.links.seller >= cheap].sum()
    assert served > 0.99 * sifted.arcs.sum()


def test_too_few_iterations_leave_the_best_iterate() -> None:
    given = programme(family("bipartite", peers=60, seed=1))
    iterate = solve(given, tolerance=1e-9, max_iterations=3)
    assert iterate.iterations <= 3
    assert iterate.quality.worst > 1e-9
    assert iterate.arcs.size == given.arcs.cost.size


def test_who_is_stopped_returns_at_once() -> None:
    given = programme(family("bipartite", peers=60, seed=1))
    iterate = solve(given, tolerance=1e-9, max_iterations=100, stop=lambda: True)
    assert iterate.iterations == 0
