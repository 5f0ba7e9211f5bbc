import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimization.admm import AdmmOptions, clear
from optimization.community import PeerId
from optimization.errors import ProblemError
from optimization.market import Assets, Links, Market
from optimization.market_certificate import certify
from optimization.market_clearing import MarketClearing, Unsolved
from optimization.peer_to_peer import iteration
from optimization.reference.market import solve
from tests.benchmarks.families import family
from tests.optimization.shuffled_market import Shuffled

CASES = Path(__file__).parents[1] / "vectors" / "cases"
MakeMarket = Callable[..., Market]


def load(name: str) -> Mapping[str, Any]:
    for path in sorted(CASES.glob("*.json")):
        content = json.loads(path.read_text())
        for case in content if isinstance(content, list) else [content]:
            if case["name"] == name:
                return case
    raise AssertionError(f"no case {name} in {CASES}")


def market_of(case: Mapping[str, Any], *, fee: float, limit: float = np.inf) -> Market:
    """A published case, whose injection is positive, with its fee on each side of a trade."""
    names = [peer["id"] for peer in case["peers"]]
    index = {name: n for n, name in enumerate(names)}
    loads = [n for n, peer in enumerate(case["peers"]) if all(asset["p_max"] <= 0 for asset in peer["assets"])]
    if case["links"] == "all pairs":
        pairs = [(i, j) for i in range(len(names)) for j in range(i)]
    elif isinstance(case["links"], str):
        pairs = [(i, j) for i in loads for j in range(len(names)) if j not in loads]
    else:
        pairs = [(index[a], index[b]) for a, b in case["links"]]
    both = np.array(pairs + [(j, i) for i, j in pairs])
    assets = [(n, k, asset) for n, peer in enumerate(case["peers"]) for k, asset in enumerate(peer["assets"])]
    each = np.full(len(both), fee)

    def column(key: str, sign: float) -> np.ndarray:
        return np.array([[sign * asset[key]] for _, _, asset in assets])

    return Market(
        peers=tuple(PeerId(name) for name in names),
        assets=Assets(
            peer=np.array([n for n, _, _ in assets]),
            names=tuple(f"{k} {asset['name']}" for _, k, asset in assets),
            piece_asset=np.arange(len(assets)),
            lower=column("p_max", -1.0),
            upper=column("p_min", -1.0),
            slope=column("b", -1.0),
            curvature=column("a", 1.0),
        ),
        links=Links(
            seller=both[:, 0],
            buyer=both[:, 1],
            seller_preference=each,
            buyer_preference=each,
            network_charge=np.zeros(len(both)),
            capacity=np.full(len(both), limit),
        ),
    )


def cleared(market: Market, **options: Any) -> MarketClearing:
    outcome = clear(market, options=AdmmOptions(**options))
    assert isinstance(outcome, MarketClearing), outcome
    return outcome


@pytest.mark.parametrize(
    ("fee", "tolerance", "rounds"), [(0.0, 1e-4, 37), (0.01, 1e-4, 80), (0.0, 1e-8, 51), (0.01, 1e-8, 148)]
)
def test_plain_rounds_are_as_many_as_published(fee: float, tolerance: float, rounds: int) -> None:
    market = market_of(load("prosumer-markets-51"), fee=fee)
    assert cleared(market, scheme="plain", penalty=0.01, tolerance=tolerance).iterations == rounds


@pytest.mark.parametrize(
    ("fee", "tolerance", "plain"), [(0.0, 1e-4, 37), (0.01, 1e-4, 80), (0.0, 1e-8, 51), (0.01, 1e-8, 148)]
)
def test_default_rounds_are_at_most_half_of_the_published(fee: float, tolerance: float, plain: int) -> None:
    market = market_of(load("prosumer-markets-51"), fee=fee)
    assert cleared(market, tolerance=tolerance).iterations <= plain / 2


@pytest.mark.parametrize(
    ("name", "fee", "objective"),
    [
        ("prosumer-markets-51", 0.0, -125.407165),
        ("prosumer-markets-51", 0.01, -102.205029),
        ("new-england-39-31-peers", 0.0, -92547.87495),
        ("two-peers", 0.0, -4.0),
        ("two-peers", 1.0, -1.0),
        ("four-peers", 1.0, -328.06723),
    ],
)
def test_published_objectives_are_reached_and_certified(name: str, fee: float, objective: float) -> None:
    market = market_of(load(name), fee=fee)
    certificate = certify(market, cleared(market))
    assert certificate.objective == pytest.approx(objective, rel=1e-7)
    assert certificate.gap <= 1e-9
    assert certificate.primal_residual <= 1e-8 * np.abs(market.assets.lower).max()


def test_published_prices_and_powers_are_reached() -> None:
    market = market_of(load("prosumer-markets-51"), fee=0.01)
    clearing = cleared(market)
    assert -np.minimum(clearing.piece, 0.0).sum() == pytest.approx(1151.67444, rel=1e-7)
    assert clearing.trade.sum() == pytest.approx(1020.49424, rel=1e-7)
    sellers = np.unique(market.links.seller[clearing.trade[:, 0] > 1e-6])
    buyers = np.unique(market.links.buyer[clearing.trade[:, 0] > 1e-6])
    np.testing.assert_allclose(clearing.price[sellers], 0.143867, rtol=5e-6)
    np.testing.assert_allclose(clearing.price[buyers], 0.163867, rtol=5e-6)


def test_a_capacity_binds() -> None:
    clearing = cleared(market_of(load("two-peers"), fee=0.0, limit=0.8))
    assert clearing.trade.sum() == pytest.approx(0.8, rel=1e-9)
    # Load: 8 - 0.8, generator: 4 + 0.8.
    np.testing.assert_allclose(clearing.price[:, 0], [7.2, 4.8], rtol=1e-9)


@pytest.mark.parametrize("scheme", ["plain", "accelerated"])
def test_a_clearing_begun_at_its_optimum_takes_one_round(scheme: str) -> None:
    market = market_of(load("two-peers"), fee=0.0)
    optimum = cleared(market)
    again = clear(market, options=AdmmOptions(scheme=scheme, tolerance=1e-8), start=optimum)  # type: ignore[arg-type]
    assert isinstance(again, MarketClearing)
    assert again.iterations == load("two-peers")["expected"][-1]["warm_start_at_optimum_iterations"]


@pytest.mark.parametrize("name", ["grid", "k-nearest", pytest.param("storage", marks=pytest.mark.campaign)])
def test_an_earlier_clearing_saves_rounds(name: str) -> None:
    market = family(name, peers=12, seed=4)
    first = cleared(market)
    again = clear(market, start=first)
    assert isinstance(again, MarketClearing)
    assert again.iterations < first.iterations
    assert certify(market, again).objective == pytest.approx(certify(market, first).objective, rel=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "bipartite", "bipartite-resale", "k-nearest", "prosumers", "linear", "pieces", "fixed", "free", "grid",
        pytest.param("storage", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_random_families_agree_with_a_general_solver(name: str) -> None:
    market = family(name, peers=12, seed=7)
    reference = solve(market)
    assert isinstance(reference, MarketClearing)
    ours = certify(market, cleared(market))
    assert ours.objective == pytest.approx(certify(market, reference).objective, rel=1e-5)
    assert ours.feasible
    assert ours.gap <= 1e-5


@pytest.mark.parametrize("seed", range(6))
def test_costs_spanning_nine_orders_are_cleared(seed: int) -> None:
    market = family("wide", peers=10, seed=seed)
    certificate = certify(market, cleared(market))
    assert certificate.feasible
    assert certificate.gap <= 1e-6


def test_small_markets_of_every_kind_agree_with_a_general_solver(random_market: Callable[..., Market]) -> None:
    solved = 0
    for seed in range(12):
        flags = {name: bool(seed >> bit & 1) for bit, name in enumerate(("linear", "grid", "capped", "storages"))}
        market = random_market(seed, peers=2 + seed % 4, mtus=1 + seed % 3, limits=seed % 2 == 0, **flags)
        reference = solve(market)
        outcome = clear(market)
        assert isinstance(reference, MarketClearing)
        if isinstance(outcome, MarketClearing):
            solved += 1
            wanted = certify(market, reference).objective
            assert certify(market, outcome).objective == pytest.approx(wanted, rel=1e-4, abs=1e-4)
            assert certify(market, outcome).feasible
    assert solved >= 11


def test_trades_and_links_in_one_direction_only_stay_there(make_market: MakeMarket) -> None:
    market = make_market(
        {"sun": [(-10, 0, -0.1, 0.01)], "home": [(0, 8, -0.5, 0.05)], "shop": [(2, 6, -0.6, 0.02)]},
        links=[("sun", "home", 0.02, 3.0), ("home", "shop", 0.01), ("sun", "shop", 0.2), ("shop", "home", 0.3)],
    )
    clearing = cleared(market)
    assert (clearing.trade >= 0).all()
    assert clearing.trade[0, 0] <= 3.0
    assert certify(market, clearing).gap <= 1e-9


def test_permuting_peers_links_and_assets_changes_nothing() -> None:
    market = family("prosumers", peers=14, seed=2)
    shuffled = Shuffled(market, seed=1)
    one, other = cleared(market), cleared(shuffled.market)
    for name, table in shuffled.tables(one).items():
        np.testing.assert_array_equal(getattr(other, name), table, err_msg=name)


@pytest.mark.slow
def test_the_number_of_threads_changes_no_bit(tmp_path: Path) -> None:
    program = (
        "import sys, numpy as np\n"
        "from optimization.admm import AdmmOptions, clear\n"
        "from tests.benchmarks.families import family\n"
        "market = family('k-nearest', peers=1500, seed=3)\n"
        "outcome = clear(market, options=AdmmOptions(max_iterations=60))\n"
        "best = getattr(outcome, 'best', outcome)\n"
        "np.savez(sys.argv[1], trade=best.trade, piece=best.piece, price=best.price)\n"
    )
    answers = []
    for threads in ("1", "2"):
        path = tmp_path / f"{threads}.npz"
        environment = os.environ | {"NUMBA_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join([".", "proto"])}
        subprocess.run([sys.executable, "-c", program, str(path)], check=True, env=environment, cwd=CASES.parents[2])
        answers.append(np.load(path))
    for name in ("trade", "piece", "price"):
        np.testing.assert_array_equal(answers[0][name], answers[1][name])


def _stiff(make_market: MakeMarket) -> Market:
    """Two loads and three generators whose curvatures lie four orders apart: the first mixed steps go far away."""
    peers = {
        "a": [(0, 2.054, -25.443, 0.00317)],
        "b": [(0.21, 3.177, -23.837, 0.00202)],
        "c": [(-6.083, 0, -3.843, 0.00175)],
        "d": [(-5.059, 0, -14.261, 8.72657)],
        "e": [(-8.345, 0, -1.57, 0.01572)],
    }
    return make_market(
        peers, links=[pair for load in "ab" for seller in "cde" for pair in ((load, seller), (seller, load))]
    )


def _both_ways(make_market: MakeMarket) -> Market:
    """Four prosumers, most with loads that are all but linear and one whose load is fixed."""
    peers = {
        "a": [(1.072, 4.926, -17.686, 0.00171), (-17.403, 0, -2.27, 0.0019), (-2, 0, 0)],
        "b": [(6.617, 6.617, -29.406, 0.03861), (-2, 0, 0)],
        "c": [(1.632, 3.446, -20.973, 0.21203), (-15.206, 0, -1.834, 0.00178)],
        "d": [(0.906, 4.398, -22.475, 1.50494), (-9.319, 0, -13.252, 0.12612)],
    }
    return make_market(peers, link_cost=1.0)


def _linear(make_market: MakeMarket) -> Market:
    """Four loads and four generators with linear costs."""
    loads = [(0, 3.94, -16.829), (0.17, 4.539, -21.911), (0.307, 8.602, -29.493), (0, 9.779, -13.223)]
    generators = [(-10.62, 0, -9.505), (-14.549, 0, -13.815), (-12.899, 0, -10.704), (-10.717, 0, -12.114)]
    peers = {f"p{n}": [piece] for n, piece in enumerate(loads + generators)}
    pairs = [(f"p{i}", f"p{j}") for i in range(4) for j in range(4, 8)]
    return make_market(peers, links=pairs + [(b, a) for a, b in pairs], link_cost=0.02)


@pytest.mark.parametrize("trusting", [False, True])
@pytest.mark.parametrize("make", [_stiff, _both_ways, _linear])
def test_mixing_that_leads_astray_is_given_up(
    make: Callable[[MakeMarket], Market], trusting: bool, make_market: MakeMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no step counts as too long, so that prices run away before it shows."""
    if trusting:
        monkeypatch.setattr(iteration, "FARTHEST", np.inf)
    market = make(make_market)
    wanted = certify(market, cleared(market, scheme="plain")).objective
    certificate = certify(market, cleared(market))
    assert certificate.feasible
    assert certificate.objective == pytest.approx(wanted, rel=1e-7)


def test_infeasible_markets_are_never_cleared(make_market: MakeMarket) -> None:
    lonely = make_market({"lonely": [(1, 2, -0.1)], "sun": [(-5, 0, -0.1)]}, links=[])
    short = make_market({"home": [(3, 4, -0.5)], "sun": [(-2, 0, -0.1)]})
    for market in (lonely, short):
        outcome = clear(market)
        assert isinstance(outcome, Unsolved)
    assert "lonely" in clear(lonely).reason  # type: ignore[union-attr]


def test_a_deadline_is_never_reported_as_success() -> None:
    outcome = clear(market_of(load("prosumer-markets-51"), fee=0.01), options=AdmmOptions(stop=lambda: True))
    assert isinstance(outcome, Unsolved)
    assert "stopped" in outcome.reason
    few = clear(market_of(load("prosumer-markets-51"), fee=0.01), options=AdmmOptions(max_iterations=3))
    assert isinstance(few, Unsolved)
    assert few.best.iterations == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"scheme": "fast"},
        {"penalty": 0.0},
        {"penalty": float("nan")},
        {"tolerance": -1.0},
        {"max_iterations": 0},
        {"relaxation": 2.0},
        {"memory": 0},
    ],
)
def test_options_without_sense_are_refused(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(ProblemError, match=next(iter(wrong))):
        AdmmOptions(**wrong)


@pytest.mark.slow
def test_default_rounds_are_at_most_two_thirds_of_plain_ones_in_the_median_over_families() -> None:
    ratios = []
    for name in ("bipartite", "k-nearest", "prosumers", "linear", "fixed"):
        for seed in (1, 2):
            market = family(name, peers=40, seed=seed)
            scale = float(np.abs(market.assets.lower).sum() + np.abs(market.assets.upper).sum())
            tolerance = (1e-4 * scale) ** 2
            rounds = [
                clear(market, options=AdmmOptions(scheme=scheme, tolerance=tolerance, max_iterations=5000))  # type: ignore[arg-type]
                for scheme in ("accelerated", "plain")
            ]
            fast, plain = (getattr(outcome, "best", outcome).iterations for outcome in rounds)
            ratios.append(fast / plain)
    assert np.median(ratios) <= 2 / 3
