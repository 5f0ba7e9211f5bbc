from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ledger import LedgerError, Posting, amount_micro
from controller.microgrid import Microgrid, SettlementRule, SettlementTerms, TariffPeriod, Trade
from controller.settlement import settle

PRICE = st.integers(-(10**6), 10**6)
ENERGY = st.integers(1, 10**5)
METERED = st.integers(-(10**5), 10**5)
MEMBERS = ("ada", "bob", "eve")
MTUS = (0, 900)


def grid(import_price=60_000, export_price=39_000, charge=5_000):
    return Microgrid(
        id="village",
        time_zone="UTC",
        mtu_minutes=15,
        window_minutes=30,
        lead_minutes=5,
        start=0,
        end=1800,
        network_charge_micro_per_kwh=charge,
        currency="EUR",
        tariff=(
            TariffPeriod(
                start=0, end=1800, import_price_micro_per_kwh=import_price, export_price_micro_per_kwh=export_price
            ),
        ),
    )


GRID = grid()


def trade(seller, buyer, energy_wh, price=50_000, mtu=0):
    return Trade(seller=seller, buyer=buyer, mtu_start=mtu, energy_wh=energy_wh, price_micro_per_kwh=price)


def balance(postings):
    accounts = defaultdict(int)
    for posting in postings:
        accounts[posting.account] += posting.amount_micro
    return dict(accounts)


def posting(account, amount_micro, kind="TRADE", reference="trade 0"):
    return Posting(account=account, kind=kind, reference=reference, amount_micro=amount_micro)


class TestTrades:
    def test_the_buyer_pays_the_seller_and_the_network(self):
        assert settle(GRID, [trade("ada", "bob", 100)], {}) == (
            posting("bob", -5000),
            posting("ada", 5000),
            posting("bob", -500, "NETWORK_CHARGE"),
            posting("dso", 500, "NETWORK_CHARGE"),
        )

    def test_energy_of_the_grid_carries_no_network_charge(self):
        assert balance(settle(GRID, [trade("grid", "bob", 100, 60_000)], {})) == {"bob": -6000, "grid": 6000}
        assert balance(settle(GRID, [trade("ada", "grid", 100, 39_000)], {})) == {"ada": 3900, "grid": -3900}

    def test_at_a_negative_price_the_seller_pays(self):
        assert balance(settle(grid(charge=0), [trade("ada", "bob", 100, -1000)], {})) == {"bob": 100, "ada": -100}

    def test_nothing_is_posted_for_nothing(self):
        assert settle(grid(charge=0), [trade("ada", "bob", 100, 0)], {}) == ()

    @pytest.mark.parametrize(
        ("energy", "price", "amount"),
        [
            (1, 500, 0),
            (1, 1500, 2),
            (1, 2500, 2),
            (1, 501, 1),
            (1, -500, 0),
            (1, -1500, -2),
            (1, -501, -1),
            (3, 500, 2),
        ],
    )
    def test_halves_go_to_the_even_micro(self, energy, price, amount):
        assert amount_micro(energy, price) == amount


class TestUplifts:
    def test_contributions_go_through_the_community_to_who_is_made_whole(self):
        assert settle(GRID, [], {}, {"eve": 300, "bob": -100, "ada": -200, "zoe": 0}) == (
            posting("ada", -200, "UPLIFT", "uplift"),
            posting("community", 200, "UPLIFT", "uplift"),
            posting("bob", -100, "UPLIFT", "uplift"),
            posting("community", 100, "UPLIFT", "uplift"),
            posting("community", -300, "UPLIFT", "uplift"),
            posting("eve", 300, "UPLIFT", "uplift"),
        )

    def test_what_contributions_do_not_cover_the_community_bears(self):
        assert balance(settle(GRID, [], {}, {"eve": 300, "ada": -200})) == {"eve": 300, "ada": -200, "community": -100}

    def test_they_stand_after_trades_and_before_imbalances(self):
        paid = settle(GRID, [trade("ada", "bob", 100)], {("bob", 0): 200}, {"bob": 1})
        kinds = [one.kind for one in paid]
        assert kinds == ["TRADE"] * 2 + ["NETWORK_CHARGE"] * 2 + ["UPLIFT"] * 2 + ["IMBALANCE"] * 4

    def test_a_window_without_uplifts_is_settled_as_ever(self):
        trades = [trade("ada", "bob", 100)]
        assert settle(GRID, trades, {}, {}) == settle(GRID, trades, {}, None) == settle(GRID, trades, {})


class TestImbalance:
    def test_shortage_is_bought_at_the_import_price(self):
        assert settle(GRID, [], {("bob", 900): 100}) == (
            posting("bob", -6000, "IMBALANCE", "bob 900"),
            posting("community", 6000, "IMBALANCE", "bob 900"),
            posting("community", -6000, "IMBALANCE", "net 900"),
            posting("grid", 6000, "IMBALANCE", "net 900"),
        )

    def test_surplus_is_sold_at_the_export_price(self):
        assert balance(settle(GRID, [], {("ada", 0): -100})) == {"grid": -3900, "ada": 3900, "community": 0}

    def test_what_was_bought_beyond_need_is_sold_no_dearer_than_bought(self):
        cheap = trade("ada", "bob", 100, 20_000)
        paid = balance(settle(grid(charge=0), [cheap], {("bob", 0): 0}))
        assert paid == {"bob": -2000 + 2000, "ada": 2000, "grid": -3900, "community": 1900}

    def test_what_was_sold_and_not_delivered_is_bought_no_cheaper_than_sold(self):
        dear = trade("ada", "bob", 100, 80_000)
        paid = balance(settle(grid(charge=0), [dear], {("ada", 0): 0}))
        assert paid == {"bob": -8000, "ada": 8000 - 8000, "grid": 6000, "community": 2000}

    def test_what_one_has_too_much_of_another_takes_and_the_community_keeps_the_difference(self):
        paid = balance(settle(GRID, [], {("ada", 0): -100, ("bob", 0): 150}))
        assert paid == {"ada": 3900, "bob": -9000, "grid": 3000, "community": 9000 - 3900 - 3000}

    def test_a_surplus_of_all_is_sold_to_the_grid(self):
        paid = balance(settle(GRID, [], {("ada", 0): -100, ("bob", 0): 40}))
        assert paid == {"ada": 3900, "bob": -2400, "grid": -2340, "community": 2400 - 3900 + 2340}

    def test_what_rounding_leaves_has_an_account_of_its_own(self):
        # 3 x 0.5 micro, each rounded to 0, are 1.5 for the grid, rounded to 2; nothing is earned.
        metered = {("ada", 0): 1, ("bob", 0): 1, ("eve", 0): 1}
        assert balance(settle(grid(500, 0), [], metered)) == {"grid": 2, "community": 0, "rounding": -2}

    def test_other_mtus_trades_do_not_count(self):
        paid = settle(GRID, [trade("grid", "bob", 100, 60_000, mtu=900)], {("bob", 0): 0, ("bob", 900): 100})
        assert {one.kind for one in paid} == {"TRADE"}

    def test_metered_as_traded_is_no_imbalance(self):
        paid = settle(GRID, [trade("ada", "bob", 100)], {("ada", 0): -100, ("bob", 0): 100})
        assert {one.kind for one in paid} == {"TRADE", "NETWORK_CHARGE"}


@st.composite
def tariffs(draw):
    imported = draw(PRICE)
    return grid(imported, draw(st.integers(-(10**6), imported)), draw(st.integers(0, 10**5)))


@st.composite
def trades(draw):
    parties = st.permutations([*MEMBERS, "grid"]).map(lambda names: tuple(names[:2]))
    places = draw(st.lists(st.tuples(parties, st.sampled_from(MTUS)), unique=True, max_size=8))
    return [trade(*sides, draw(ENERGY), draw(PRICE), mtu) for sides, mtu in places]


METERS = st.fixed_dictionaries({(member, mtu): METERED for member in MEMBERS for mtu in MTUS})


UPLIFTS = st.dictionaries(st.sampled_from(MEMBERS), METERED)


@given(tariffs(), trades(), METERS, UPLIFTS)
def test_postings_sum_to_zero_in_total_and_by_reference(microgrid, cleared, metered, uplifts):
    postings = settle(microgrid, cleared, metered, uplifts)
    by_reference = defaultdict(int)
    for one in postings:
        by_reference[one.kind, one.reference] += one.amount_micro
    assert set(by_reference.values()) <= {0}
    assert all(one.amount_micro for one in postings)


@given(tariffs(), trades(), METERS, st.randoms())
def test_the_order_of_the_meters_changes_nothing(microgrid, cleared, metered, random):
    places = list(metered.items())
    random.shuffle(places)
    assert settle(microgrid, cleared, dict(places)) == settle(microgrid, cleared, metered)


@given(tariffs(), trades(), METERS, st.randoms())
def test_the_order_of_the_trades_changes_nobodys_money(microgrid, cleared, metered, random):
    shuffled = random.sample(cleared, len(cleared))
    assert balance(settle(microgrid, shuffled, metered)) == balance(settle(microgrid, cleared, metered))


@given(tariffs(), trades(), METERS)
def test_money_moves_only_between_those_concerned(microgrid, cleared, metered):
    accounts = set(balance(settle(microgrid, cleared, metered)))
    assert accounts <= {*MEMBERS, "grid", "dso", "community", "rounding"}


@given(tariffs(), trades(), METERS)
def test_the_community_never_pays(microgrid, cleared, metered):
    assert balance(settle(microgrid, cleared, metered)).get("community", 0) >= 0


def net_bought(cleared, member):
    return sum(t.energy_wh * ((t.buyer == member) - (t.seller == member)) for t in cleared)


def with_the_grid(microgrid, cleared, member, position):
    """The trades, and those with the grid at the tariff that bring a member to a position."""
    rest = position - net_bought(cleared, member)
    tariff = microgrid.prices(0)
    if rest > 0:
        return [*cleared, trade("grid", member, rest, tariff.import_price_micro_per_kwh)]
    if rest < 0:
        return [*cleared, trade(member, "grid", -rest, tariff.export_price_micro_per_kwh)]
    return cleared


@given(tariffs(), trades(), METERED, METERED)
def test_a_members_bill_is_lowest_when_its_position_equals_its_meter(microgrid, cleared, metered, position):
    """Neighbours' trades and readings given, nobody gains by buying from the grid more or less than it takes.

    Each amount is rounded on its own, and two may be where one was: a micro or two is no gain.
    """
    cleared = [t for t in cleared if t.mtu_start == 0 and {t.seller, t.buyer} != {"ada", "grid"}]
    honest = with_the_grid(microgrid, cleared, "ada", metered)
    other = with_the_grid(microgrid, cleared, "ada", position)
    got = [balance(settle(microgrid, one, {("ada", 0): metered})).get("ada", 0) for one in (honest, other)]
    assert got[0] >= got[1] - 2


@given(tariffs(), trades(), ENERGY, PRICE, METERED, st.booleans())
def test_a_trade_that_is_not_meant_never_pays(microgrid, cleared, energy, price, metered, sells):
    """Selling what one does not deliver, or buying what one does not take, beside a position that is right."""
    cleared = [t for t in cleared if t.mtu_start == 0 and {t.seller, t.buyer} not in ({"ada", "grid"}, {"ada", "bob"})]
    honest = with_the_grid(microgrid, cleared, "ada", metered)
    empty = trade("ada", "bob", energy, price) if sells else trade("bob", "ada", energy, price)
    got = [balance(settle(microgrid, one, {("ada", 0): metered})).get("ada", 0) for one in (honest, [*honest, empty])]
    assert got[1] <= got[0] + 2


@given(tariffs(), trades(), METERS)
def test_a_network_charge_is_paid_for_neighbours_energy_alone(microgrid, cleared, metered):
    charged = {one.reference for one in settle(microgrid, cleared, metered) if one.kind == "NETWORK_CHARGE"}
    neighbours = {f"trade {ix}" for ix, one in enumerate(cleared) if "grid" not in (one.seller, one.buyer)}
    assert charged <= neighbours


class TestPairs:
    def test_what_a_pair_trades_is_divided_once(self):
        trades = [trade("ada", "bob", 1, 400, mtu) for mtu in (0, 900)]
        paid = settle(grid(charge=0), trades, {})
        assert balance(paid) == {"ada": 1, "bob": -1}

    def test_the_largest_remainders_get_what_is_left(self):
        trades = [trade("ada", "bob", 1, 1400), trade("ada", "bob", 1, 1700, 900)]
        paid = [one.amount_micro for one in settle(grid(charge=0), trades, {}) if one.account == "ada"]
        assert paid == [1, 2]

    def test_which_of_equal_trades_gets_it_depends_on_the_window_and_not_on_the_order(self):
        trades = [trade("ada", "bob", 1, 400, mtu) for mtu in (0, 900)]
        favoured = set()
        for number in range(20):
            both = []
            for order in (trades, trades[::-1]):
                (paid,) = {one.reference for one in settle(grid(charge=0), order, {}, window=f"w{number}")}
                both.append(order[int(paid.removeprefix("trade "))].mtu_start)
            assert both[0] == both[1]
            favoured.add(both[0])
        assert favoured == {0, 900}


class TestBounds:
    @pytest.mark.parametrize(
        ("trades", "metered", "named"),
        [
            ([trade("ada", "bob", 10**12 + 1)], {}, r"trades\[0\].energy_wh: got 1000000000001 Wh"),
            ([trade("ada", "bob", -1)], {}, r"trades\[0\].energy_wh: got -1 Wh"),
            ([trade("ada", "bob", 1, 10**9 + 1)], {}, r"trades\[0\].price_micro_per_kwh: got 1000000001"),
            ([trade("ada", "bob", 1, -(10**9) - 1)], {}, r"trades\[0\].price_micro_per_kwh: got -1000000001"),
            ([], {("bob", 900): 10**12 + 1}, "metered energy of bob at 900: got 1000000000001 Wh"),
            ([], {("bob", 900): -(10**12) - 1}, "metered energy of bob at 900: got -1000000000001 Wh"),
            ([trade("ada", "bob", 10**12, 10**9, mtu) for mtu in MTUS], {}, "bob: got -2000000000000000000"),
        ],
    )
    def test_what_is_beyond_the_ledger_is_refused_and_named(self, trades, metered, named):
        with pytest.raises(LedgerError, match=named):
            settle(grid(charge=0), trades, metered)

    def test_a_tariff_beyond_it_is_refused(self):
        with pytest.raises(LedgerError, match="import price at 0: got 1000000001"):
            settle(grid(10**9 + 1), [], {("bob", 0): 1})

    def test_as_much_as_the_ledger_holds_is_settled(self):
        dearest = [trade("ada", "bob", 10**12, 10**9)]
        metered = {("ada", 0): -(10**12), ("bob", 0): 10**12}
        assert balance(settle(grid(charge=0), dearest, metered)) == {"ada": 10**18, "bob": -(10**18)}


class TestReceived:
    GRID = replace(grid(), terms=SettlementTerms(rule=SettlementRule.RECEIVED))

    def test_the_buyer_pays_for_what_the_seller_gave_and_the_rest_is_refunded(self):
        metered = {("ada", 0): -60, ("bob", 0): 100}
        paid = settle(self.GRID, [trade("ada", "bob", 100)], metered)
        assert posting("bob", 2000, "REFUND") in paid
        # 60 Wh at 50 and their charge, 40 Wh from the grid at 60.
        assert balance(paid) == {"ada": 3000, "bob": -3000 - 300 - 2400, "dso": 300, "grid": 2400, "community": 0}

    def test_several_buyers_go_short_in_proportion(self):
        trades = [trade("ada", "bob", 100), trade("ada", "eve", 300)]
        paid = settle(self.GRID, trades, {("ada", 0): -200, ("bob", 0): 100, ("eve", 0): 300})
        refunds = {one.account: one.amount_micro for one in paid if one.kind == "REFUND" and one.amount_micro > 0}
        assert refunds == {"bob": 2500, "eve": 7500}

    def test_who_gave_everything_is_paid_as_by_contract(self):
        trades, metered = [trade("ada", "bob", 100)], {("ada", 0): -120, ("bob", 0): 90}
        assert settle(self.GRID, trades, metered) == settle(GRID, trades, metered)

    @given(tariffs(), trades(), METERS)
    def test_postings_sum_to_zero(self, microgrid, cleared, metered):
        paid = settle(replace(microgrid, terms=self.GRID.terms), cleared, metered)
        assert sum(one.amount_micro for one in paid) == 0


def test_each_mtu_has_its_own_tariff():
    periods = (GRID.tariff[0], replace(GRID.tariff[0], start=900, import_price_micro_per_kwh=90_000))
    microgrid = replace(GRID, tariff=(replace(periods[0], end=900), periods[1]))
    paid = settle(microgrid, [], {("bob", 0): 100, ("bob", 900): 100})
    assert [one.amount_micro for one in paid if one.account == "grid"] == [6000, 9000]
