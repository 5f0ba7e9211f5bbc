import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimization.market import Market
from optimization.market_bound import bound_cost, project_prices
from optimization.market_certificate import MarketCertificate, certify, cost_of
from optimization.market_clearing import MarketClearing
from optimization.reference.market import solve

MakeMarket = Callable[..., Market]

NAN, INFINITY = float("nan"), float("inf")
ANN, SUN = 0, 1


@pytest.fixture(scope="module")
def two_peers(make_market: MakeMarket) -> Market:
    """Marginal utility 8 - p against marginal cost 4 + p: 2 kW at a price of 6, objective -4."""
    return make_market({"load": [(0, 30, -8, 1)], "gen": [(-60, 0, -4, 1)]}, links=[("gen", "load"), ("load", "gen")])


def answer(market: Market, **tables: Any) -> MarketClearing:
    """Zeros but for the given tables, in MTU 0 if they are lists of numbers."""
    zeros = MarketClearing.zeros(market)
    shaped = {name: np.array(table, dtype=float) for name, table in tables.items()}
    return dataclasses.replace(zeros, **{name: t[:, None] if t.ndim == 1 else t for name, t in shaped.items()})


def test_the_optimum_has_no_gap_and_no_residuals(two_peers: Market) -> None:
    certificate = certify(two_peers, answer(two_peers, piece=[2, -2], trade=[2, 0], price=[6, 6]))
    assert certificate.feasible
    assert certificate.violated == ""
    assert certificate.primal_residual == 0
    assert certificate.dual_residual == 0
    assert certificate.objective == -4
    assert certificate.lower_bound == pytest.approx(-4, abs=1e-12)
    assert certificate.gap < 1e-12
    assert certificate.optimal(1e-9)


def test_a_feasible_clearing_that_is_not_the_best_shows_by_how_much(two_peers: Market) -> None:
    certificate = certify(two_peers, answer(two_peers, piece=[1, -1], trade=[1, 0], price=[6, 6]))
    assert certificate.feasible
    assert certificate.objective == -3
    assert certificate.gap == pytest.approx(1 / 3)
    # Marginal utility 7 against a price of 6, with the whole power scale of 1 kW left to the bound.
    assert certificate.dual_residual == pytest.approx(1)
    assert not certificate.optimal(0.1)
    assert certificate.optimal(0.34)


def test_wrong_prices_cost_the_bound_and_not_the_clearing(two_peers: Market) -> None:
    certificate = certify(two_peers, answer(two_peers, piece=[2, -2], trade=[2, 0], price=[5, 5]))
    assert certificate.feasible
    assert certificate.dual_residual == pytest.approx(1)
    # At 5 the load would take 3 for -4.5 and the generator give 1 for -0.5.
    assert certificate.lower_bound == pytest.approx(-5)


def test_prices_are_projected_before_they_bound(two_peers: Market) -> None:
    """Uncapped links both ways without cost ask for one price: 5 and 7 become 5, 7 or 6, of which 6 is best."""
    clearing = answer(two_peers, piece=[2, -2], trade=[2, 0], price=[5, 7])
    certificate = certify(two_peers, clearing)
    assert certificate.lower_bound == pytest.approx(-4)
    assert certificate.dual_residual == pytest.approx(2)
    lowered, raised = project_prices(two_peers, clearing.price)
    assert lowered.ravel().tolist() == [5, 5]
    assert raised.ravel().tolist() == [7, 7]


def test_prices_follow_the_cheapest_path_from_the_grid_and_to_it(make_market: MakeMarket) -> None:
    market = make_market(
        {"a": [], "b": [], "c": [], "d": [], "alone": []},
        links=[("a", "b", 1), ("b", "c", 1), ("a", "c", 3), ("c", "d", 0.5)],
        import_price={"a": 5},
        export_price={"d": 4},
    )
    lowered, raised = project_prices(market, np.array([[9.0], [9.0], [9.0], [9.0], [9.0]]))
    assert lowered.ravel().tolist() == [5, 6, 7, 7.5, 9]
    assert raised.ravel().tolist() == [5, 6, 7, 7.5, 9]
    lowered, raised = project_prices(market, np.zeros((5, 1)))
    assert lowered.ravel().tolist() == [1.5, 2.5, 3.5, 4, 0]
    assert raised.ravel().tolist() == [1.5, 2.5, 3.5, 4, 0]


@pytest.mark.parametrize("wild", [-1e9, 1e9])
@pytest.mark.parametrize("link", [("load", "idle"), ("idle", "load")])
def test_one_price_gone_wild_spoils_no_bound(make_market: MakeMarket, wild: float, link: tuple[str, str]) -> None:
    market = make_market(
        {"load": [(0, 30, -8, 1)], "gen": [(-60, 0, -4, 1)], "idle": []}, links=[("gen", "load"), link]
    )
    clearing = answer(market, piece=[2, -2], trade=[2, 0], price=[6, 6, wild])
    assert certify(market, clearing).lower_bound == pytest.approx(-4)


@pytest.fixture(scope="module")
def street(make_market: MakeMarket) -> tuple[Market, MarketClearing]:
    """Every kind of thing in two MTUs of half an hour, and a clearing that keeps to all rules with room to break each.

    ann takes 1.5 kW from the sun, and 0.5 kW from the grid in MTU 0; the sun sells the grid 1 kW; ann's battery charges
    1 kW in MTU 0 and gives it back in MTU 1.
    """
    market = make_market(
        {"ann": [(0, 3, [-9, -8], 1)], "sun": [(-4, 0, 1)]},
        links=[("sun", "ann", 0.5, 2.0), ("ann", "sun", 0.25)],
        import_price={"ann": 6},
        export_price={"sun": 0.5},
        storages={"ann/battery": {"max_charge": 2, "max_discharge": 2, "initial": 1, "upper": 2, "cycle_cost": 0.1}},
        limits=[("street", ["ann", "sun"], -3.0, 3.0)],
        mtus=2,
        hours=0.5,
    )
    clearing = answer(
        market,
        piece=[[1.0, 2.5], [-2.5, -2.5]],
        trade=[[1.5, 1.5], [0.0, 0.0]],
        imported=[[0.5, 0.0], [0.0, 0.0]],
        exported=[[0.0, 0.0], [1.0, 1.0]],
        charge=[[1.0, 0.0]],
        discharge=[[0.0, 1.0]],
    )
    return market, clearing


def test_a_clearing_that_keeps_all_rules_has_no_residual(street: tuple[Market, MarketClearing]) -> None:
    certificate = certify(*street)
    assert certificate.feasible
    assert certificate.primal_residual == 0
    first = (-9 + 0.5) + (-2.5) + 0.5 * 1.5 + 6 * 0.5 - 0.5
    second = (-8 * 2.5 + 2.5**2 / 2) + (-2.5) + 0.5 * 1.5 - 0.5 + 0.1
    assert certificate.objective == pytest.approx(0.5 * (first + second))


def changed(clearing: MarketClearing, table: str, row: int, mtu: int, by: float) -> MarketClearing:
    values = getattr(clearing, table).copy()
    values[row, mtu] += by
    return dataclasses.replace(clearing, **{table: values})


@pytest.mark.parametrize(
    ("changes", "residual", "violated"),
    [
        ([("piece", ANN, 0, 0.25)], 0.25, "balance of peer ann, MTU 0"),
        ([("trade", 0, 1, 0.25)], 0.25, "balance of peer ann, MTU 1"),
        ([("piece", ANN, 1, 1.0), ("imported", ANN, 1, 1.0)], 0.5, "bounds of asset ann/asset 0, MTU 1"),
        ([("piece", SUN, 0, -2.0), ("exported", SUN, 0, 2.0)], 0.5, "bounds of asset sun/asset 1, MTU 0"),
        ([("trade", 1, 0, -0.5), ("trade", 0, 0, -0.5)], 0.5, "sign of link ann -> sun, MTU 0"),
        ([("trade", 0, 0, 1.0), ("trade", 1, 0, 1.0)], 0.5, "capacity of link sun -> ann, MTU 0"),
        ([("imported", ANN, 1, -0.25), ("piece", ANN, 1, -0.25)], 0.25, "import of peer ann, MTU 1"),
        ([("imported", SUN, 0, 0.25), ("exported", SUN, 0, 0.25)], 0.25, "import of peer sun, MTU 0"),
        ([("exported", ANN, 0, 0.25), ("imported", ANN, 0, 0.25)], 0.25, "export of peer ann, MTU 0"),
        ([("exported", SUN, 0, -1.5), ("piece", SUN, 0, 1.5)], 0.5, "export of peer sun, MTU 0"),
        (
            [("charge", 0, 1, 3.0), ("discharge", 0, 1, 1.0), ("imported", ANN, 1, 2.0)],
            1.0,
            "charging power of storage ann/battery, MTU 1",
        ),
        (
            [("discharge", 0, 1, 2.0), ("charge", 0, 1, 2.0)],
            1.0,
            "discharging power of storage ann/battery, MTU 1",
        ),
        (
            [("discharge", 0, 0, -0.5), ("imported", ANN, 0, 0.5)],
            0.5,
            "discharging power of storage ann/battery, MTU 0",
        ),
        # The battery may be full in the end; half a kWh more takes a kilowatt over half an hour.
        ([("charge", 0, 1, 2.0), ("imported", ANN, 1, 2.0)], 0.0, ""),
        (
            [
                ("charge", 0, 0, 1.0),
                ("imported", ANN, 0, 1.0),
                ("discharge", 0, 1, -1.0),
                ("charge", 0, 1, 1.0),
                ("imported", ANN, 1, 2.0),
            ],
            1.0,
            "stored energy of storage ann/battery, MTU 1",
        ),
    ],
)
def test_a_broken_rule_is_named(
    street: tuple[Market, MarketClearing], changes: list[Any], residual: float, violated: str
) -> None:
    market, clearing = street
    for change in changes:
        clearing = changed(clearing, *change)
    certificate = certify(market, clearing)
    assert certificate.primal_residual == pytest.approx(residual)
    assert certificate.violated == violated
    assert certificate.feasible == (not violated)


@pytest.mark.parametrize(("lower", "upper", "residual"), [(-3.0, -1.25, 0.75), (0.5, 3.0, 1.0), (-3.0, 3.0, 0.0)])
def test_a_broken_limit_is_named(
    street: tuple[Market, MarketClearing], lower: float, upper: float, residual: float
) -> None:
    """The street's net consumption is -0.5 kW in MTU 0 and -1 kW in MTU 1."""
    market, clearing = street
    limit = dataclasses.replace(market.limits[0], lower=np.full(2, lower), upper=np.array([upper, 3.0]))
    certificate = certify(dataclasses.replace(market, limits=(limit,)), clearing)
    if lower > 0:
        assert certificate.violated == "limit street, MTU 1"
        assert certificate.primal_residual == pytest.approx(1.5)
    else:
        assert certificate.violated == ("limit street, MTU 0" if residual else "")
        assert certificate.primal_residual == pytest.approx(residual)


@pytest.mark.parametrize("table", ["piece", "trade", "imported", "exported", "charge", "discharge"])
def test_nan_in_a_power_is_infeasible(street: tuple[Market, MarketClearing], table: str) -> None:
    market, clearing = street
    certificate = certify(market, changed(clearing, table, 0, 1, NAN))
    assert certificate.primal_residual == INFINITY
    assert certificate.gap == INFINITY
    assert certificate.violated
    assert not certificate.feasible
    assert not certificate.optimal(1.0)


@pytest.mark.parametrize("table", ["price", "limit_price", "state_price"])
@pytest.mark.parametrize("wild", [NAN, INFINITY])
def test_prices_that_are_no_numbers_prove_nothing(
    street: tuple[Market, MarketClearing], table: str, wild: float
) -> None:
    market, clearing = street
    certificate = certify(market, changed(clearing, table, 0, 1, wild))
    assert certificate.feasible
    assert certificate.lower_bound == -INFINITY
    assert certificate.gap == INFINITY
    assert certificate.dual_residual == INFINITY


@pytest.mark.parametrize("table", [field.name for field in dataclasses.fields(MarketClearing)][:-1])
def test_a_table_of_the_wrong_shape_is_named(street: tuple[Market, MarketClearing], table: str) -> None:
    market, clearing = street
    for values in (getattr(clearing, table)[:, :1], getattr(clearing, table)[1:], np.zeros(2)):
        certificate = certify(market, dataclasses.replace(clearing, **{table: values}))
        assert certificate.violated == f"shape of {table}"
        assert not certificate.feasible
        assert certificate.gap == INFINITY


def test_bounds_that_stand_for_any_amount_do_not_loosen_the_tolerance(make_market: MakeMarket) -> None:
    market = make_market({"load": [(0, 1e9, -8, 1)], "gen": [(-1e9, 0, -4, 1)]}, links=[("gen", "load")])
    exact = answer(market, piece=[2, -2], trade=[2], price=[6, 6])
    assert certify(market, exact).optimal(1e-9)
    assert certify(market, changed(exact, "trade", 0, 0, 1e-3)).violated == "balance of peer load, MTU 0"


def test_charging_and_discharging_at_once_does_not_loosen_the_tolerance(make_market: MakeMarket) -> None:
    anything = {
        "max_charge": 1e7,
        "max_discharge": 1e7,
        "charge_efficiency": 1,
        "discharge_efficiency": 1,
        "upper": 1e7,
    }
    market = make_market({"home": [(1, 1, 0)]}, links=[], storages={"home/s": anything}, mtus=2)
    idle = answer(market, piece=[[1, 1]])
    busy = answer(market, piece=[[1, 1]], charge=[[1e7, 1e7]], discharge=[[1e7, 1e7]])
    for clearing in (idle, busy):
        certificate = certify(market, clearing)
        assert certificate.primal_residual == 1
        assert certificate.violated == "balance of peer home, MTU 0"


def test_importing_and_exporting_at_once_does_not_loosen_the_tolerance(make_market: MakeMarket) -> None:
    market = make_market({"home": [(1, 1, 0)]}, links=[], import_price=1, export_price=1)
    busy = answer(market, piece=[1], imported=[1e7], exported=[1e7], price=[1])
    assert certify(market, busy).violated == "balance of peer home, MTU 0"


def test_where_nothing_is_at_stake_rounding_is_no_gap(make_market: MakeMarket) -> None:
    """Doing nothing is best; a bound that misses by rounding is far off relative to nothing, and near by any sense."""
    market = make_market({"load": [(0, 5, -1)], "gen": [(-5, 0, -2)]}, links=[("gen", "load")])
    certificate = certify(market, answer(market, price=[1 - 1e-9, 1 - 1e-9]))
    assert certificate.gap > 1
    assert certificate.optimal(1e-7)
    assert not certificate.optimal(1e-10)


def test_prices_of_limits_count_only_where_there_is_a_bound(two_peers: Market, make_market: MakeMarket) -> None:
    market = make_market(
        {"load": [(0, 30, -8, 1)], "gen": [(-60, 0, -4, 1)]},
        links=[("gen", "load")],
        limits=[("feeder", ["load"], -np.inf, 1.0)],
    )
    binding = answer(market, piece=[1, -1], trade=[1], price=[5, 5], limit_price=[2])
    assert certify(market, binding).optimal(1e-9)
    assert certify(market, binding).dual_residual == 0
    wrong = answer(market, piece=[1, -1], trade=[1], price=[5, 5], limit_price=[-2])
    # Without the limit's price a load at 5 takes 3 for -4.5, the generator gives 1 for -0.5.
    assert certify(market, wrong).lower_bound == pytest.approx(-5)
    assert certify(market, wrong).dual_residual == pytest.approx(4)


FINITE = {"allow_nan": False, "allow_infinity": False}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_prices_prove_too_much(markets: Callable[..., Any], data: Any) -> None:
    market = data.draw(markets())
    clearing = solve(market)
    assert isinstance(clearing, MarketClearing)
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    size = data.draw(st.sampled_from([0.0, 1e-6, 1.0, 10.0, 1e6, 1e300]))

    def near(table: np.ndarray) -> np.ndarray:
        return table + size * random.standard_normal(table.shape)

    objective = certify(market, clearing).objective
    bound = bound_cost(market, near(clearing.price), near(clearing.limit_price), near(clearing.state_price))
    assert np.isfinite(bound)
    assert bound <= objective + 1e-6 * max(1.0, abs(objective))
    if size == 0:
        assert bound == pytest.approx(objective, rel=1e-6, abs=1e-6)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_projected_prices_let_no_unbounded_trade_pay(markets: Callable[..., Any], data: Any) -> None:
    market = data.draw(markets())
    each = len(market.peers) * market.mtus
    numbers = data.draw(st.lists(st.floats(-50, 50, **FINITE), min_size=each, max_size=each))
    price = np.array(numbers).reshape(-1, market.mtus)
    links = market.links
    free = np.isinf(links.capacity)
    for projected in project_prices(market, price):
        reduced = links.cost[:, None] + projected[links.seller] - projected[links.buyer]
        assert reduced[free].min(initial=0.0) >= -1e-12
        assert (projected <= market.import_price + 1e-12).all()
        assert (projected >= market.export_price - 1e-12).all()
        for again in project_prices(market, projected):
            np.testing.assert_allclose(again, projected, rtol=0, atol=1e-12)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_objective_is_what_a_slow_sum_gives(markets: Callable[..., Any], data: Any) -> None:
    market = data.draw(markets())
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    zeros = MarketClearing.zeros(market)
    clearing = dataclasses.replace(
        zeros,
        **{
            name: random.uniform(0, 3, getattr(zeros, name).shape)
            for name in ("piece", "trade", "imported", "exported", "charge", "discharge")
        },
    )
    assert cost_of(market, clearing) == pytest.approx(slow_cost(market, clearing))


def slow_cost(market: Market, clearing: MarketClearing) -> float:
    """The objective term by term."""
    total = 0.0
    assets, stores = market.assets, market.stores
    for t in range(market.mtus):
        for k in range(assets.piece_asset.size):
            p = clearing.piece[k, t]
            total += market.hours * (assets.slope[k, t] * p + assets.curvature[k, t] * p * p / 2)
        for link, cost in enumerate(market.links.cost):
            total += market.hours * cost * clearing.trade[link, t]
        for n in range(len(market.peers)):
            if np.isfinite(market.import_price[n, t]):
                total += market.hours * market.import_price[n, t] * clearing.imported[n, t]
            if np.isfinite(market.export_price[n, t]):
                total -= market.hours * market.export_price[n, t] * clearing.exported[n, t]
    for s in range(stores.size):
        energy = stores.initial[s]
        for t in range(market.mtus):
            charge, discharge = clearing.charge[s, t], clearing.discharge[s, t]
            energy += market.hours * (stores.charge_efficiency[s] * charge - discharge / stores.discharge_efficiency[s])
            total += market.hours * stores.cycle_cost[s] * discharge + stores.state_cost[s, t] * energy
    return total


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_at_an_optimum_both_the_dual_residual_and_the_gap_vanish(markets: Callable[..., Any], data: Any) -> None:
    market = data.draw(markets())
    clearing = solve(market)
    assert isinstance(clearing, MarketClearing)
    certificate: MarketCertificate = certify(market, clearing)
    assert certificate.dual_residual < 1e-5
    assert certificate.optimal(1e-6)


@pytest.mark.slow
def test_a_long_ring_without_costs_is_projected_in_time(make_market: MakeMarket) -> None:
    count = 3000
    names = [f"p{n}" for n in range(count)]
    ring = [(a, b) for a, b in zip(names, names[1:] + names[:1], strict=True)]
    market = make_market({name: [(-1, 1, 0)] for name in names}, links=ring + [(b, a) for a, b in ring])
    price = np.arange(count, dtype=float)[:, None]
    lowered, raised = project_prices(market, price)
    assert (lowered == 0).all()
    assert (raised == count - 1).all()
