import pytest

from optimization.markets.bilateral import Bilateral
from optimization.markets.composite import Composite
from optimization.markets.negotiation import Negotiation
from optimization.markets.pool import Pool
from optimization.markets.protocol import MANAGER, DesignOutcome
from optimization.reference.market import solve


def cleared(market, bilateral=None, **fees):
    inner = Bilateral(solve=solve) if bilateral is None else bilateral
    outcome = Composite(bilateral=inner, pool=Pool(solve=solve, **fees)).clear(market)
    assert isinstance(outcome, DesignOutcome)
    return outcome


@pytest.fixture
def street(make_market):
    """A plant of 3 kW at 0.10, linked to ann only; ann and ben must run 1 kW each; the grid at 0.30 and 0.05."""

    def make(**options):
        peers = {"ann": [(1, 1, 0.0)], "ben": [(1, 1, 0.0)], "sam": [(-3, 0, -0.1)]}
        return make_market(peers, links=[("sam", "ann")], **options)

    return make


@pytest.mark.parametrize("inner", [Bilateral(solve=solve), Negotiation()], ids=["dispatch", "negotiation"])
def test_links_come_first_and_the_pool_serves_the_rest(street, inner):
    market = street(import_price=0.3, export_price=0.05)
    outcome = cleared(market, inner, trading_fee=0.02)
    powers = {
        (int(s), int(b)): power
        for s, b, power in zip(outcome.trades.seller, outcome.trades.buyer, outcome.trades.power, strict=True)
        if power > 1e-4
    }
    assert powers == {k: pytest.approx(1, abs=1e-4) for k in [(2, 0), (2, MANAGER), (MANAGER, 1)]}
    # 2 kW made at 0.10, and 0.02 on each side of the pool's one.
    assert outcome.objective == pytest.approx(0.24, abs=1e-5)


def test_what_links_cannot_serve_is_left_to_the_pool(street):
    outcome = cleared(street())
    assert outcome.objective == pytest.approx(0.2, abs=1e-6)
    assert outcome.feasible


def test_limits_are_meant_for_meters_whatever_was_agreed_before(street):
    # Sam may send out 1.5 kW in all, 1 of them to ann: half a kW is left for the pool and ben imports the other.
    market = street(import_price=0.3, limits=[("sam's cable", ["sam"], -1.5, 1.5)])
    outcome = cleared(market)
    assert not outcome.violations
    assert outcome.piece[2, 0] == pytest.approx(-1.5, abs=1e-6)
    assert outcome.objective == pytest.approx(0.15 + 0.15, abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_the_composite_is_worth_at_least_its_first_stage(random_market, seed):
    market = random_market(seed, peers=5, mtus=2, grid=True, storages=True, density=0.3)
    first = Bilateral(solve=solve).clear(market)
    assert cleared(market).objective <= first.objective + 1e-5 * max(1, abs(first.objective))
