from dataclasses import replace

import numpy as np
import pytest

from optimization.community import PeerId
from optimization.market import Assets, Limit, Links, Market, Storages
from optimization.market_clearing import MarketClearing
from tests.benchmarks.families import family
from tests.benchmarks.quadratic import point, quadratic_program, residual
from tests.benchmarks.solvers import SOLVERS


def bilateral() -> Market:
    """A load worth 8 - p and a generator at 4 + g: 2 kW at a price of 6, where 4 of surplus are made."""
    nothing = np.zeros(1)
    return Market(
        peers=(PeerId("home"), PeerId("plant")),
        assets=Assets(
            peer=np.array([0, 1]),
            names=("load", "generator"),
            piece_asset=np.array([0, 1]),
            lower=np.array([[0.0], [-60.0]]),
            upper=np.array([[30.0], [0.0]]),
            slope=np.array([[-8.0], [-4.0]]),
            curvature=np.ones((2, 1)),
        ),
        links=Links(
            seller=np.array([1]),
            buyer=np.array([0]),
            seller_preference=nothing,
            buyer_preference=nothing,
            network_charge=nothing,
            capacity=np.full(1, np.inf),
        ),
    )


def cleared(market: Market) -> MarketClearing:
    return replace(
        MarketClearing.zeros(market),
        piece=np.array([[2.0], [-2.0]]),
        trade=np.array([[2.0]]),
        price=np.array([[6.0], [6.0]]),
    )


def test_the_answer_of_two_peers_has_no_residual_and_its_known_objective() -> None:
    market = bilateral()
    program = quadratic_program(market)
    x, multiplier = point(program, cleared(market))
    assert program.objective(x) == pytest.approx(-4.0, abs=1e-12)
    assert residual(program, x, multiplier).worst == pytest.approx(0.0, abs=1e-12)


def test_each_fault_of_an_answer_shows_in_its_own_residual() -> None:
    market = bilateral()
    program = quadratic_program(market)
    right = cleared(market)
    unbalanced = residual(program, *point(program, replace(right, piece=np.array([[2.5], [-2.0]]))))
    assert unbalanced.primal == pytest.approx(0.5 / 3.5)
    spread = residual(program, *point(program, replace(right, price=np.array([[6.9], [6.0]]))))
    assert spread.dual == pytest.approx(0.9 / 9)
    idle = MarketClearing.zeros(market)
    priced = residual(program, *point(program, replace(idle, price=np.array([[6.0], [6.0]]))))
    assert (priced.primal, priced.dual) == (0.0, 0.0)
    # a load that forgoes 8 - 6 for each of 30 kW, and a generator that forgoes 6 - 4 for each of 60
    assert priced.gap == pytest.approx(180.0)


def test_what_is_not_a_number_is_infinitely_wrong() -> None:
    market = bilateral()
    program = quadratic_program(market)
    x, multiplier = point(program, cleared(market))
    assert residual(program, np.where(x == 2.0, np.nan, x), multiplier).worst == np.inf
    assert residual(program, x, multiplier * np.inf).worst == np.inf


def test_a_store_moves_what_its_losses_leave_and_limits_see_it() -> None:
    """1 kW for half an hour at 0.9 stores 0.45 kWh, of which 0.8 come back as 0.72 kW in the next half hour."""
    market = replace(
        bilateral(),
        hours=0.5,
        mtus=2,
        assets=replace(
            bilateral().assets,
            lower=np.array([[0.0, 0.0], [-60.0, 0.0]]),
            upper=np.array([[0.0, 30.0], [0.0, 0.0]]),
            slope=np.repeat([[-8.0], [-4.0]], 2, axis=1),
            curvature=np.ones((2, 2)),
        ),
        storages=Storages(
            peer=np.array([0]),
            names=("battery",),
            max_charge=np.ones(1),
            max_discharge=np.ones(1),
            charge_efficiency=np.full(1, 0.9),
            discharge_efficiency=np.full(1, 0.8),
            initial=np.full(1, 0.25),
            lower=np.full((1, 2), 0.25),
            upper=np.full((1, 2), 9.0),
            cycle_cost=np.full(1, 0.1),
            state_cost=np.array([[0.0, -0.2]]),
        ),
        limits=(
            Limit(name="all", members=np.array([0, 1]), lower=np.array([-1.0, -1.0]), upper=np.array([0.5, np.inf])),
        ),
    )
    program = quadratic_program(market)
    clearing = replace(
        MarketClearing.zeros(market),
        piece=np.array([[0.0, 0.72], [-1.0, 0.0]]),
        trade=np.array([[1.0, 0.0]]),
        charge=np.array([[1.0, 0.0]]),
        discharge=np.array([[0.0, 0.72]]),
    )
    x, multiplier = point(program, clearing)
    np.testing.assert_allclose(program.rows @ x, [0.0, 0.0, 0.0, 0.0, 0.25, 0.0, 0.0, 0.0], atol=1e-12)
    made, used = 0.5 * (0.5 * 1.0 + 4.0), 0.5 * (0.5 * 0.72**2 - 8.0 * 0.72)
    assert program.objective(x) == pytest.approx(made + used + 0.5 * 0.1 * 0.72 - 0.2 * 0.25)
    assert residual(program, x, multiplier).primal == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", ["clarabel", "cvxpy", "highs", "osqp", "piqp", "scs"])
@pytest.mark.parametrize("kind", ["bipartite", "pieces", "grid", "storage"])
def test_every_general_solver_gives_an_answer_of_the_accuracy_it_was_asked_for(name: str, kind: str) -> None:
    pytest.importorskip({"highs": "highspy"}.get(name, name))
    program = quadratic_program(family(kind, peers=8, seed=5, mtus=None if kind != "storage" else 4))
    answer = SOLVERS[name].prepare(program, 1e-7)()
    assert answer.x is not None
    assert answer.multiplier is not None
    assert answer.iterations > 0
    assert residual(program, answer.x, answer.multiplier).worst < 5e-6
