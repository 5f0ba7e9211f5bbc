from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from controller.charges import month_begun
from controller.microgrid import SettlementTerms
from controller.settlement import settle
from tests.controller.test_settlement import GRID, METERS, balance, grid, tariffs, trade, trades


def terms(**values):
    return replace(GRID, terms=SettlementTerms(**values))


def of_kind(postings, kind):
    return {(one.account, one.reference): one.amount_micro for one in postings if one.kind == kind}


class TestFees:
    def test_each_kwh_taken_costs_a_fee_divided_once(self):
        metered = {("bob", 0): 1, ("bob", 900): 1, ("ada", 0): -5000}
        paid = settle(terms(fee_micro_per_kwh=400), [], metered)
        assert of_kind(paid, "FEE") == {("bob", "bob energy"): -1, ("fees", "bob energy"): 1}

    def test_a_month_is_paid_with_the_window_in_which_it_begins(self):
        start = int(datetime(2026, 2, 28, 23, tzinfo=UTC).timestamp())  # midnight in Berlin
        period = replace(GRID.tariff[0], start=start - 900, end=start + 1800)
        berlin = replace(terms(fee_micro_per_month=9), time_zone="Europe/Berlin", tariff=(period,))
        before, within, after = (settle(berlin, [], {("bob", start + at): 0}) for at in (-900, 0, 900))
        assert before == after == ()
        assert of_kind(within, "FEE") == {("bob", "bob 2026-03"): -9, ("fees", "bob 2026-03"): 9}

    def test_a_month_begins_once_a_month(self):
        january = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
        begun = [month for mtu in range(january, january + 366 * 86_400, 900) if (month := month_begun(GRID, mtu))]
        assert begun == [*(f"2026-{month:02}" for month in range(1, 13)), "2027-01"]


class TestTaxes:
    def test_what_is_paid_is_taxed_once(self):
        paid = settle(terms(tax_ppm=190_000), [trade("ada", "bob", 100)], {("ada", 0): -100, ("bob", 0): 100})
        # 19 % of 5,000 for energy and 500 for the network.
        assert of_kind(paid, "TAX") == {("bob", "bob tax"): -1045, ("tax", "bob tax"): 1045}

    def test_what_is_received_is_not(self):
        paid = settle(terms(tax_ppm=190_000), [trade("ada", "grid", 100, 39_000)], {("ada", 0): -100})
        assert of_kind(paid, "TAX") == {}

    def test_uplifts_are_not(self):
        paid = settle(terms(tax_ppm=190_000), [], {("ada", 0): 0}, {"ada": -100})
        assert of_kind(paid, "TAX") == {}


def test_without_terms_nothing_is_charged():
    paid = settle(GRID, [trade("ada", "bob", 100)], {("ada", 0): -90, ("bob", 0): 110})
    assert {one.kind for one in paid} == {"TRADE", "NETWORK_CHARGE", "IMBALANCE"}


@given(
    tariffs(),
    trades(),
    METERS,
    st.builds(
        SettlementTerms,
        fee_micro_per_kwh=st.integers(0, 10**6),
        fee_micro_per_month=st.integers(0, 10**6),
        tax_ppm=st.integers(0, 10**6),
    ),
)
def test_charges_take_from_members_alone_and_sum_to_zero(microgrid, cleared, metered, declared):
    with_ = balance(settle(replace(microgrid, terms=declared), cleared, metered))
    without = balance(settle(microgrid, cleared, metered))
    assert sum(with_.values()) == 0
    for account in ("grid", "dso", "community", "rounding"):
        assert with_.get(account, 0) == without.get(account, 0)
    assert with_.get("fees", 0) >= 0
    assert with_.get("tax", 0) >= 0


def test_a_preference_is_utility_and_never_posted():
    """Orders' preferences are no argument of a settlement; its kinds are a closed list without one."""
    everything = settle(
        replace(grid(), terms=SettlementTerms(fee_micro_per_kwh=1000, tax_ppm=10_000)),
        [trade("ada", "bob", 100)],
        {("ada", 0): -90, ("bob", 0): 110},
        {"ada": 1, "bob": -1},
    )
    assert {one.kind for one in everything} == {"TRADE", "NETWORK_CHARGE", "UPLIFT", "IMBALANCE", "FEE", "TAX"}
