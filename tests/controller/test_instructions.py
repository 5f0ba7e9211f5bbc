from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.instructions import Cause, Instruction, by_place, corrected
from controller.ledger import LedgerError
from controller.settlement import settle
from tests.controller.test_settlement import (
    GRID,
    METERS,
    balance,
    grid,
    net_bought,
    tariffs,
    trade,
    trades,
)

DSO, AGGREGATOR, COMMUNITY = "dso:net", "aggregator:agg", "community"


def told(member="bob", cause=Cause.LIMIT, payer=DSO, mtu=0, **energy):
    return Instruction(member=member, mtu_start=mtu, cause=cause, payer=payer, **energy)


def moved(instructions, position, metered):
    parts = corrected(by_place(instructions).get(("bob", 0), ()), position, metered)
    return [(part.cause, part.energy_wh) for part in parts]


class TestHowMuch:
    def test_who_took_less_as_told_is_corrected_by_it(self):
        assert moved([told(energy_wh=-300)], 1000, 700) == [(Cause.LIMIT, -300)]

    def test_a_bound_counts_as_far_as_it_lies_below_the_trades(self):
        assert moved([told(upper_wh=800)], 1000, 800) == [(Cause.LIMIT, -200)]
        assert moved([told(upper_wh=1200)], 1000, 800) == []

    def test_no_more_is_corrected_than_was_instructed(self):
        assert moved([told(energy_wh=-300)], 1000, 500) == [(Cause.LIMIT, -300)]
        assert moved([told(upper_wh=700)], 1000, 500) == [(Cause.LIMIT, -300)]

    def test_what_was_traded_beyond_what_a_bound_was_for_is_ones_own(self):
        assert moved([told(upper_wh=700, most_wh=300)], 5000, 700) == [(Cause.LIMIT, -300)]
        assert moved([told(upper_wh=700, most_wh=300)], 800, 700) == [(Cause.LIMIT, -100)]
        assert moved([told(lower_wh=700, most_wh=300)], -5000, 700) == [(Cause.LIMIT, 300)]
        assert moved([told(energy_wh=-400), told(upper_wh=700, most_wh=300)], 5000, 700) == [(Cause.LIMIT, -400)]

    @pytest.mark.parametrize("energy", [{"upper_wh": 1, "most_wh": -1}, {"energy_wh": 1, "most_wh": 1}])
    def test_how_much_a_bound_corrects_is_not_negative_and_beside_one(self, energy):
        with pytest.raises(LedgerError, match=r"most_wh: got -?1 Wh, wanted none negative, beside a bound"):
            told(**energy)

    def test_no_more_is_corrected_than_was_metered(self):
        assert moved([told(energy_wh=-300)], 1000, 900) == [(Cause.LIMIT, -100)]
        assert moved([told(energy_wh=-300)], 1000, 1000) == []

    def test_who_did_the_opposite_is_not_corrected(self):
        assert moved([told(energy_wh=-300), told(upper_wh=700)], 1000, 1200) == []

    def test_less_feeding_in_is_more_taken(self):
        assert moved([told(lower_wh=-400)], -1000, -500) == [(Cause.LIMIT, 500)]

    def test_the_same_energy_counts_once_whoever_asked_for_it(self):
        event = told(cause=Cause.DEMAND_RESPONSE, upper_wh=700)
        assert moved([event, told(upper_wh=700)], 1000, 700) == [(Cause.LIMIT, -300)]
        assert moved([event, told(upper_wh=800)], 1000, 700) == [(Cause.LIMIT, -200), (Cause.DEMAND_RESPONSE, -100)]
        assert moved([event, event], 1000, 500) == [(Cause.DEMAND_RESPONSE, -300)]

    def test_what_several_devices_were_held_back_adds_up(self):
        parts = [
            told(energy_wh=-100),
            told(energy_wh=-50),
            told(energy_wh=-25, cause=Cause.CONTROLLER, payer=COMMUNITY),
        ]
        assert moved(parts, 1000, 0) == [(Cause.LIMIT, -150), (Cause.CONTROLLER, -25)]

    def test_the_order_of_the_instructions_does_not_matter(self):
        many = [told(energy_wh=-100), told(upper_wh=850), told(upper_wh=800, cause=Cause.DEMAND_RESPONSE)]
        assert moved(many, 1000, 0) == moved(many[::-1], 1000, 0)

    @pytest.mark.parametrize("energy", [{}, {"energy_wh": 1, "upper_wh": 1}, {"upper_wh": 10**12 + 1}])
    def test_what_says_nothing_twice_or_too_much_is_refused(self, energy):
        with pytest.raises(LedgerError, match="instruction of bob at 0"):
            told(**energy)


class TestMoney:
    def test_who_took_less_as_told_gets_back_what_it_paid_and_the_payer_the_loss(self):
        bought = trade("ada", "bob", 1000, 50_000)
        metered = {("bob", 0): 700, ("ada", 0): -1000}
        paid = balance(settle(grid(charge=0), [bought], metered, instructions=[told(upper_wh=700)]))
        # 300 Wh bought at 50 are worth 39 at the grid.
        assert paid == {"bob": -35_000, "ada": 50_000, "grid": -11_700, DSO: -3_300, "community": 0}

    def test_who_gave_less_as_told_pays_back_what_it_got(self):
        sold = trade("ada", "bob", 1000, 50_000)
        metered = {("bob", 0): 1000, ("ada", 0): -700}
        paid = balance(settle(grid(charge=0), [sold], metered, instructions=[told("ada", lower_wh=-700)]))
        assert paid == {"ada": 35_000, "bob": -50_000, "grid": 18_000, DSO: -3_000, "community": 0}

    def test_without_the_instruction_it_was_the_members_own_imbalance(self):
        paid = balance(settle(grid(charge=0), [trade("ada", "bob", 1000)], {("bob", 0): 700, ("ada", 0): -1000}))
        assert paid["bob"] == -50_000 + 11_700

    def test_beyond_its_trades_the_tariff_counts(self):
        metered = {("bob", 0): -200}
        paid = balance(settle(GRID, [], metered, instructions=[told(energy_wh=-200)]))
        assert paid == {"bob": 7_800, "grid": -7_800, "community": 0}

    def test_the_cheapest_purchases_are_undone_first(self):
        bought = [trade("ada", "bob", 100, 20_000), trade("eve", "bob", 100, 55_000)]
        metered = {("ada", 0): -100, ("eve", 0): -100, ("bob", 0): 50}
        paid = balance(settle(grid(charge=0), bought, metered, instructions=[told(energy_wh=-150)]))
        assert paid["bob"] == -7_500 + 2_000 + 2_750

    def test_the_community_bears_what_the_controller_caused(self):
        bought = trade("ada", "bob", 1000, 50_000)
        cause = told(cause=Cause.CONTROLLER, payer=COMMUNITY, energy_wh=-300)
        paid = balance(settle(grid(charge=0), [bought], {("bob", 0): 700, ("ada", 0): -1000}, instructions=[cause]))
        assert paid == {"bob": -35_000, "ada": 50_000, "grid": -11_700, "community": -3_300}

    def test_what_is_beyond_the_instruction_is_the_members_own(self):
        metered = {("bob", 0): 500, ("ada", 0): -1000}
        paid = settle(grid(charge=0), [trade("ada", "bob", 1000)], metered, instructions=[told(upper_wh=700)])
        own = [one.amount_micro for one in paid if (one.account, one.kind) == ("bob", "IMBALANCE")]
        assert own == [200 * 39]


CAUSES = st.sampled_from([(Cause.LIMIT, DSO), (Cause.DEMAND_RESPONSE, AGGREGATOR), (Cause.CONTROLLER, COMMUNITY)])


@st.composite
def instructions(draw, members=("ada", "bob", "eve")):
    found = []
    for cause, payer in draw(st.lists(CAUSES, max_size=5)):
        member = draw(st.sampled_from(members))
        energy = draw(st.integers(-(10**5), 10**5))
        kind = draw(st.sampled_from(["energy_wh", "lower_wh", "upper_wh"]))
        found.append(told(member, cause, payer, draw(st.sampled_from([0, 900])), **{kind: energy}))
    return found


@given(tariffs(), trades(), METERS, instructions(), st.randoms())
def test_postings_sum_to_zero_and_no_order_matters(microgrid, cleared, metered, told_, random):
    postings = settle(microgrid, cleared, metered, instructions=told_)
    entries = defaultdict(int)
    for one in postings:
        entries[one.kind, one.reference] += one.amount_micro
    assert set(entries.values()) <= {0}
    assert settle(microgrid, cleared, metered, instructions=random.sample(told_, len(told_))) == postings


@given(tariffs(), trades(), METERS, instructions())
def test_obeying_never_costs_more_than_the_same_without_an_instruction(microgrid, cleared, metered, told_):
    """A micro each for what is rounded on its own."""
    with_, without = (balance(settle(microgrid, cleared, metered, instructions=one)) for one in (told_, ()))
    for member in ("ada", "bob", "eve"):
        assert with_.get(member, 0) >= without.get(member, 0) - 12


@given(
    tariffs(),
    trades(),
    st.integers(-(10**5), 10**5),
    instructions(("ada",)),
    st.integers(1, 10**5),
    st.integers(-(10**6), 10**6),
)
def test_trading_further_away_from_the_meter_brings_nothing_at_any_price(
    microgrid, cleared, metered, told_, energy, price
):
    """Whatever one is told: who is long gains by no further purchase, who is short by no further sale."""
    cleared = [t for t in cleared if t.mtu_start == 0]
    pair = ("bob", "ada") if net_bought(cleared, "ada") >= metered else ("ada", "bob")
    more = [*cleared, trade(*pair, energy, price)]
    before, after = (
        balance(settle(microgrid, one, {("ada", 0): metered}, instructions=told_)).get("ada", 0)
        for one in (cleared, more)
    )
    assert after <= before + 6
