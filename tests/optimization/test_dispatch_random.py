"""Agreement with a general solver, and answers that hang on nothing but the market."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimization.dispatch import dispatch
from optimization.market import Market
from optimization.market_certificate import certify, check_conflict
from optimization.market_clearing import MarketClearing, MarketConflict, Unsolved
from optimization.reference import market as reference
from tests.benchmarks.families import FAMILIES, family
from tests.optimization.shuffled_market import Shuffled
from tests.scale import examples

MakeMarket = Callable[..., Market]
Markets = Callable[..., st.SearchStrategy[Market]]

RARELY = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def small(name: str, seed: int, **changes: Any) -> Market:
    return family(name, peers=12, seed=seed, mtus=3 if FAMILIES[name].grid else 1, **changes)


def assert_agreement(market: Market) -> None:
    """The same kind of outcome as the reference, and the same objective; each with its proof."""
    expected, outcome = reference.solve(market), dispatch(market)
    assert not isinstance(outcome, Unsolved), outcome.reason
    assert type(outcome) is type(expected)
    if isinstance(outcome, MarketConflict):
        assert check_conflict(market, outcome) > 0
        return
    assert isinstance(expected, MarketClearing)
    certificate, other = certify(market, outcome), certify(market, expected)
    assert certificate.optimal(1e-8), certificate
    assert certificate.primal_residual <= 1e-6
    assert certificate.objective == pytest.approx(other.objective, rel=1e-6, abs=1e-6 * certificate.stake)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_solved_as_by_a_general_solver(name: str, seed: int) -> None:
    assert_agreement(small(name, seed))


@pytest.mark.parametrize("name", FAMILIES)
def test_infeasible_members_of_every_family_are_proven_to_be(name: str) -> None:
    market = small(name, 0, infeasible=True)
    conflict = dispatch(market)
    assert isinstance(conflict, MarketConflict)
    assert check_conflict(market, conflict) > 0


@RARELY
@given(data=st.data())
def test_random_markets_are_solved_as_by_a_general_solver(markets: Markets, data: st.DataObject) -> None:
    assert_agreement(data.draw(markets()))


@RARELY
@given(data=st.data())
def test_a_conflict_is_found_exactly_where_there_is_one(markets: Markets, data: st.DataObject) -> None:
    assert_agreement(data.draw(markets(feasible=False)))


@pytest.mark.slow
@settings(
    max_examples=examples(70, full=200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_many_larger_random_markets_are_proven_optimal(markets: Markets, data: st.DataObject) -> None:
    market = data.draw(markets(max_peers=12, max_mtus=6))
    clearing = dispatch(market)
    assert isinstance(clearing, MarketClearing)
    assert certify(market, clearing).optimal(1e-8)


@pytest.mark.parametrize("power", [1e-4, 1e5])
@pytest.mark.parametrize("money", [1e-4, 1e3])
@pytest.mark.parametrize("seed", range(4))
def test_units_do_not_matter(random_market: MakeMarket, seed: int, power: float, money: float) -> None:
    market = random_market(seed, peers=6, mtus=2, grid=True, capped=True, storages=True, limits=True)
    plain, scaled = dispatch(market), dispatch(in_units(market, power, money))
    assert isinstance(plain, MarketClearing)
    assert isinstance(scaled, MarketClearing)
    assert certify(in_units(market, power, money), scaled).optimal(1e-7)
    before, after = certify(market, plain).objective, certify(in_units(market, power, money), scaled).objective
    assert after / power / money == pytest.approx(before, rel=1e-6)


def in_units(market: Market, power: float, money: float) -> Market:
    """The same market with powers and prices in other units."""
    assets, links, stores = market.assets, market.links, market.stores
    return replace(
        market,
        assets=replace(
            assets,
            lower=assets.lower * power,
            upper=assets.upper * power,
            slope=assets.slope * money,
            curvature=assets.curvature * money / power,
        ),
        links=replace(
            links,
            seller_preference=links.seller_preference * money,
            buyer_preference=links.buyer_preference * money,
            network_charge=links.network_charge * money,
            capacity=links.capacity * power,
        ),
        storages=replace(
            stores,
            max_charge=stores.max_charge * power,
            max_discharge=stores.max_discharge * power,
            initial=stores.initial * power,
            lower=stores.lower * power,
            upper=stores.upper * power,
            cycle_cost=stores.cycle_cost * money,
            state_cost=stores.state_cost * money,
        ),
        import_price=market.import_price * money,
        export_price=market.export_price * money,
        limits=tuple(replace(g, lower=g.lower * power, upper=g.upper * power) for g in market.limits),
    )


def assert_order_free(market: Market, seed: int) -> None:
    shuffled = Shuffled(market, seed)
    one, other = dispatch(market), dispatch(shuffled.market)
    assert isinstance(one, MarketClearing)
    assert isinstance(other, MarketClearing)
    assert one.iterations == other.iterations
    for name, table in shuffled.tables(one).items():
        assert getattr(other, name).tobytes() == table.tobytes(), name


@pytest.mark.parametrize("name", FAMILIES)
def test_the_order_of_the_parts_does_not_change_a_bit(name: str) -> None:
    assert_order_free(small(name, 5), 1)


@RARELY
@given(data=st.data(), seed=st.integers(0, 1000))
def test_no_order_of_random_parts_changes_a_bit(markets: Markets, data: st.DataObject, seed: int) -> None:
    assert_order_free(data.draw(markets()), seed)


def digest(clearing: MarketClearing) -> str:
    """What all bytes of a clearing sum up to."""
    tables = (clearing.piece, clearing.trade, clearing.price, clearing.state_price, clearing.limit_price)
    return hashlib.sha256(b"".join(np.ascontiguousarray(table).tobytes() for table in tables)).hexdigest()


PROGRAM = """
from optimization.dispatch import dispatch
from tests.benchmarks.families import family
from tests.optimization.test_dispatch_random import digest
for name, peers in (("bipartite", 300), ("free", 100), ("storage", 12), ("k-nearest", 700)):
    print(digest(dispatch(family(name, peers=peers, seed=2))))
"""


@pytest.mark.slow
def test_the_number_of_threads_does_not_change_a_bit() -> None:
    def digests(threads: int) -> str:
        counts = {name: str(threads) for name in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
        environment = os.environ | counts | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
        )
        return ran.stdout

    one, two = digests(1), digests(2)
    assert len(one.split()) == 4
    assert one == two
