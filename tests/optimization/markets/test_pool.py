import numpy as np
import pytest

from optimization.errors import ProblemError
from optimization.market_clearing import MarketConflict
from optimization.markets.pool import Pool
from optimization.markets.protocol import MANAGER, DesignOutcome
from optimization.reference.market import solve


def cleared(market, **fees):
    outcome = Pool(solve=solve, **fees).clear(market)
    assert isinstance(outcome, DesignOutcome)
    return outcome


def test_members_meet_at_the_managers_price(make_market):
    # 8 - p against 4 + p: 2 kW at 6. With 1 on each side: 8 - p - 1 = 4 + p + 1, so 1 kW at 6; 7 paid, 5 received.
    market = make_market({"load": [(0, 30, -8.0, 1.0)], "gen": [(-60, 0, -4.0, 1.0)]}, links=())
    free = cleared(market)
    assert free.objective == pytest.approx(-4, abs=1e-6)
    assert free.uniform_price[0] == pytest.approx(6, abs=1e-6)
    dear = cleared(market, trading_fee=1.0)
    assert dear.objective == pytest.approx(-1, abs=1e-6)
    assert dear.volume(market) == pytest.approx(1, abs=1e-6)
    assert dear.prices_paid(market)[0] == pytest.approx(7, abs=1e-6)
    assert dear.prices_received(market)[1] == pytest.approx(5, abs=1e-6)


def test_the_manager_passes_the_grid_on_with_fees(make_market):
    # The fourth kW is imported at 0.30 + 0.05, which the pool's 0.33 and its fee of 0.02 come to as well.
    # The load pays 4 * 0.35, the plant gets 3 * 0.31; the grid 0.30 and the manager 0.06 + 0.06 + 0.05.
    market = make_market({"load": [(4, 4, 0.0)], "sun": [(-3, 0, 0.0)]}, links=(), import_price=0.3, export_price=0.1)
    outcome = cleared(market, trading_fee=0.02, import_fee=0.05)
    assert outcome.uniform_price[0] == pytest.approx(0.33, abs=1e-6)
    assert outcome.payments.ravel() == pytest.approx([1.4, -0.93], abs=1e-6)
    assert outcome.fees.sum() == pytest.approx(0.17, abs=1e-6)
    assert outcome.objective == pytest.approx(0.47, abs=1e-6)


def test_an_export_fee_comes_off_what_the_grid_pays(make_market):
    market = make_market({"sun": [(-3, 0, 0.0)]}, links=(), import_price=0.3, export_price=0.1)
    assert cleared(market, export_fee=0.04).payments.sum() == pytest.approx(-0.18, abs=1e-6)
    assert cleared(market, export_fee=0.2).exported.sum() == pytest.approx(0, abs=1e-6)


def test_the_manager_keeps_no_energy(make_market):
    market = make_market({n: [(-2, 3, -float(k), 0.5)] for k, n in enumerate("abcd")}, links=())
    trades = cleared(market).trades
    through = trades.power * ((trades.seller == MANAGER) * 1.0 - (trades.buyer == MANAGER))
    assert through.sum() == pytest.approx(0, abs=1e-7)


def test_limits_and_storages_hold_in_the_pool(make_market):
    # The tank takes 2 of the 4 kW that nobody wants in the first hour, for a load of 2 kW in the second; at most 1 kW
    # through the street's limit leaves one kW to import.
    def market(most):
        return make_market(
            {"load": [([0, 2], [0, 2], 0.0)], "sun": [([-4, 0], 0, 0.0)], "store": []},
            links=(),
            import_price=1.0,
            storages={"store/tank": {}},
            limits=[("street", ["store"], -np.inf, most)],
            mtus=2,
        )

    assert cleared(market(9.0)).objective == pytest.approx(0, abs=1e-6)
    tight = cleared(market(1.0))
    assert tight.objective == pytest.approx(1, abs=1e-6)
    assert not tight.violations


def test_what_the_pool_cannot_serve_is_a_conflict_over_the_members(make_market):
    outcome = Pool(solve=solve).clear(make_market({"load": [(4, 4, 0.0)], "sun": [(-3, 0, 0.0)]}))
    assert isinstance(outcome, MarketConflict)
    assert outcome.price.shape == (2, 1)


def test_a_member_may_be_called_like_the_manager(make_market):
    assert cleared(make_market({"pool manager": [(0, 1, -1.0)], "sam": [(-1, 0, 0.0)]})).objective == pytest.approx(-1)


@pytest.mark.parametrize("fee", ["trading_fee", "import_fee", "export_fee"])
def test_fees_below_zero_are_refused(fee):
    with pytest.raises(ProblemError, match=f"{fee}: got -0.1"):
        Pool(solve=solve, **{fee: -0.1})
