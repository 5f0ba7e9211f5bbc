"""What holds for every design, on markets of every kind."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimization.market import Market
from optimization.markets.average_price import AveragePrice, Priority
from optimization.markets.double_auction import DoubleAuction
from optimization.markets.grid_only import GridOnly
from optimization.markets.negotiation import Negotiation
from optimization.markets.protocol import GRID, MANAGER, DesignOutcome
from optimization.markets.registry import designs
from optimization.markets.settling import bought_less_sold, stored_energy
from optimization.reference.market import solve
from tests.optimization.shuffled_market import Shuffled

CASES = Path(__file__).parents[2] / "vectors" / "cases"

ORDER_BOOKS = [
    DoubleAuction(fee=0.25),
    DoubleAuction(steps=3),
    AveragePrice(fee=0.25),
    AveragePrice(priority=Priority.HIGHEST_BID, steps=4),
    Negotiation(),
    Negotiation(rounds=8, time_out=5, steps=2),
    GridOnly(),
]


def check_energy(market: Market, outcome: DesignOutcome, tolerance: float) -> None:
    assert (outcome.piece >= market.assets.lower - tolerance).all()
    assert (outcome.piece <= market.assets.upper + tolerance).all()
    net = np.zeros(outcome.imported.shape)
    np.add.at(net, market.assets.piece_peer, outcome.piece)
    np.add.at(net, market.stores.peer, outcome.charge - outcome.discharge)
    trades = outcome.trades
    assert (trades.power > 0).all()
    peers_only = replace(trades, **{f.name: getattr(trades, f.name)[trades.among_peers] for f in fields(trades)})
    traded = bought_less_sold(peers_only, *net.shape)
    assert net == pytest.approx(traded + outcome.imported - outcome.exported + outcome.shortfall, abs=tolerance)
    named = {(u.what, u.mtu): u.amount for u in outcome.unserved}
    for n, t in np.argwhere(np.abs(outcome.shortfall) > 1e-4):
        assert named.pop((f"peer {market.peers[n]}", t)) == pytest.approx(outcome.shortfall[n, t])
    assert not named


def check_money(market: Market, outcome: DesignOutcome, tolerance: float) -> None:
    trades = outcome.trades
    money = market.hours * trades.power * trades.price
    to_grid = money[trades.seller == GRID].sum() - money[trades.buyer == GRID].sum()
    kept = money[trades.buyer == MANAGER].sum() - money[trades.seller == MANAGER].sum()
    assert kept == pytest.approx(0, abs=tolerance)
    assert outcome.payments.sum() == pytest.approx(to_grid + outcome.fees.sum(), abs=tolerance)
    assert (outcome.fees >= 0).all()


def objective_of(market: Market, outcome: DesignOutcome) -> float:
    """The market's own objective: assets, storages, grid and what each kWh over a link or through the pool costs."""
    assets, stores, trades = market.assets, market.stores, outcome.trades
    cost = (0.5 * assets.curvature * outcome.piece**2 + assets.slope * outcome.piece).sum()
    cost += (stores.cycle_cost[:, None] * outcome.discharge).sum()
    for n, t in np.ndindex(outcome.imported.shape):
        if outcome.imported[n, t] > 0:
            cost += market.import_price[n, t] * outcome.imported[n, t]
        if outcome.exported[n, t] > 0:
            cost -= market.export_price[n, t] * outcome.exported[n, t]
    extra = trades.seller_fee + trades.buyer_fee + trades.seller_preference + trades.buyer_preference
    worth = (stores.state_cost * stored_energy(market, outcome.charge, outcome.discharge)).sum()
    return float(market.hours * (cost + (extra * trades.power).sum()) + worth)


@pytest.mark.parametrize("design", ORDER_BOOKS, ids=lambda d: f"{d.name}-{ORDER_BOOKS.index(d)}")
@given(data=st.data())
@settings(max_examples=40)
def test_order_books_conserve_energy_and_money(markets, design, data):
    market = data.draw(markets(feasible=False))
    outcome = design.clear(market)
    check_energy(market, outcome, 1e-8)
    check_money(market, outcome, 1e-8)
    assert outcome.objective == pytest.approx(objective_of(market, outcome), abs=1e-8)


@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_solved_designs_conserve_energy_and_money(markets, data):
    market = data.draw(markets())
    for name, design in designs(solve, fee=0.25, import_fee=0.1, export_fee=0.1).items():
        outcome = design.clear(market)
        assert isinstance(outcome, DesignOutcome), name
        check_energy(market, outcome, 1e-5)
        check_money(market, outcome, 1e-5)
        assert outcome.objective == pytest.approx(objective_of(market, outcome), abs=1e-5)
        if name in {"bilateral", "pool", "composite"}:
            assert outcome.feasible, name


@pytest.mark.parametrize("design", ORDER_BOOKS[:-1], ids=lambda d: f"{d.name}-{ORDER_BOOKS.index(d)}")
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_nobody_is_worse_off_than_with_the_grid_alone(make_market, design, seed):
    random = np.random.default_rng(seed)
    peers = {
        f"p{n}": [
            (-random.integers(0, 5), random.integers(0, 5), -random.integers(-4, 20) / 2, random.integers(0, 3) / 2)
            for _ in range(random.integers(1, 3))
        ]
        for n in range(4)
    }
    market = make_market(
        peers,
        link_cost=0.5,
        import_price={name: random.integers(8, 12) / 2 for name in peers},
        export_price={name: random.integers(0, 8) / 2 for name in peers},
    )
    alone = GridOnly().clear(market).peer_cost
    assert (design.clear(market).peer_cost <= alone + 1e-7).all()


@pytest.mark.parametrize("design", ORDER_BOOKS, ids=lambda d: f"{d.name}-{ORDER_BOOKS.index(d)}")
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_no_result_depends_on_the_order_of_peers_assets_or_links(markets, design, data, seed):
    market = data.draw(markets(feasible=False))
    shuffled = Shuffled(market, seed)
    other = shuffled.market
    one, two = design.clear(market), design.clear(other)
    assert (one.piece[shuffled.pieces] == two.piece).all()
    assert (one.payments[shuffled.peers] == two.payments).all()
    assert one.uniform_price == two.uniform_price
    rows = [
        sorted(
            (made.peers[s] if s >= 0 else int(s), made.peers[b] if b >= 0 else int(b), int(t), float(p), float(c))
            for s, b, t, p, c in zip(x.seller, x.buyer, x.mtu, x.power, x.price, strict=True)
            if s >= 0 and b >= 0
        )
        for made, x in ((market, one.trades), (other, two.trades))
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(("fee", "best"), [(0.0, -125.407165), (0.01, -102.205029)])
def test_designs_on_the_published_case_of_51_prosumers(make_market, fee, best):
    # Baroche, Moret, Pinson (2019): welfare 125 and, with a cent on each side, 102; one price of 15.22 cents without.
    case = json.loads((CASES / "prosumer-markets-51.json").read_text())
    market = make_market(
        {peer["id"]: [(-a["p_max"], -a["p_min"], -a["b"], a["a"]) for a in peer["assets"]] for peer in case["peers"]},
        links=[pair for a, b in case["links"] for pair in ((a, b), (b, a))],
        link_cost=2 * fee,
    )
    pool, auction, negotiation = (
        designs(solve, fee=fee)[name].clear(market) for name in ("pool", "double-auction", "negotiation")
    )
    assert pool.objective == pytest.approx(best, rel=1e-6)
    for outcome in (pool, auction, negotiation):
        assert outcome.feasible
        assert best - 1e-4 <= outcome.objective <= 0.998 * best
    if not fee:
        assert pool.uniform_price[0] == pytest.approx(0.15222563, abs=1e-6)
        assert auction.uniform_price[0] == pytest.approx(0.1522, abs=1e-3)
