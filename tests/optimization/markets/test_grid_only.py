import numpy as np
import pytest

from optimization.markets.grid_only import GridOnly
from optimization.reference.market import solve


def test_everybody_buys_and_sells_at_the_grids_prices(make_market):
    # Worth 8 - q against 6: 2 kW, at 12 for a worth of 14. The plant sells 3 kW at 1 that cost it nothing.
    market = make_market({"ann": [(0, 9, -8.0, 1.0)], "sam": [(-3, 0, 0.0)]}, import_price=6.0, export_price=1.0)
    outcome = GridOnly().clear(market)
    assert outcome.peer_cost.ravel() == pytest.approx([-2, -3])
    assert outcome.volume(market) == 0


def test_without_grid_nobody_trades_and_must_run_is_named(make_market):
    market = make_market({"ann": [(2, 5, -8.0)], "ben": [(-4, -1, 0.0)], "cleo": [(0, 3, -8.0)]})
    outcome = GridOnly().clear(market)
    assert {(u.what, u.amount) for u in outcome.unserved} == {("peer ann", 2.0), ("peer ben", -1.0)}
    assert not outcome.trades.size


def test_storages_work_for_their_owner_when_there_is_a_solver(make_market):
    # A kWh bought at 1 in the first hour saves one at 3 in the second.
    market = make_market(
        {"ann": [([0, 1], [0, 1], 0.0)]}, links=(), import_price=[1.0, 3.0], storages={"ann/tank": {}}, mtus=2
    )
    assert GridOnly().clear(market).objective == pytest.approx(3)
    assert GridOnly(solve=solve).clear(market).objective == pytest.approx(1, abs=1e-6)


def test_beside_storages_too_what_must_run_is_named(make_market):
    # The tank holds 1 of the 3 kWh that ann must have.
    market = make_market({"ann": [(3, 3, 0.0)]}, links=(), storages={"ann/tank": {"initial": 1.0}})
    (unserved,) = GridOnly(solve=solve).clear(market).unserved
    assert (unserved.what, unserved.amount) == ("peer ann", pytest.approx(2, abs=1e-5))


@pytest.mark.parametrize("seed", range(6))
def test_both_ways_to_find_it_agree(random_market, make_market, seed):
    random = np.random.default_rng(seed)
    peers = {f"p{n}": [(-random.integers(0, 4), random.integers(0, 4), -random.integers(0, 9), 0.5)] for n in range(4)}
    plain = make_market(peers, links=(), import_price=6.0, export_price=2.0)
    with_tank = make_market(
        peers, links=(), import_price=6.0, export_price=2.0, storages={"p0/tank": {"max_charge": 0.0}}
    )
    alone, solved = GridOnly().clear(plain), GridOnly(solve=solve).clear(with_tank)
    assert solved.objective == pytest.approx(alone.objective, abs=1e-5)
