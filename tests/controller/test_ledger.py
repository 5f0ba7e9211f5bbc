import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ledger import LedgerError, Posting, divided, require_sound, shared, transfer

PRODUCTS = st.lists(st.integers(-(10**18), 10**18), min_size=1, max_size=8)
WEIGHTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=8)


def name(place):
    return f"place {place}".encode()


@given(PRODUCTS)
def test_a_division_loses_nothing_and_is_fair(products):
    amounts = divided(products, name)
    exact = sum(products)
    assert abs(sum(amounts) * 1000 - exact) <= 500
    assert all(abs(amount * 1000 - product) < 1000 for amount, product in zip(amounts, products, strict=True))


@given(PRODUCTS, st.randoms())
def test_a_division_depends_on_no_order(products, random):
    order = random.sample(range(len(products)), len(products))
    amounts = divided(products, name)
    moved = divided([products[place] for place in order], lambda at: name(order[at]))
    assert moved == [amounts[place] for place in order]


@given(WEIGHTS, st.data())
def test_a_share_is_no_more_than_its_weight(weights, data):
    total = data.draw(st.integers(0, sum(weights)))
    parts = shared(total, weights, name)
    assert sum(parts) == total
    assert all(0 <= part <= weight for part, weight in zip(parts, weights, strict=True))


def test_no_name_wins_every_tie():
    winners = {divided([250, 250, 250, 250], lambda at, k=k: f"{k} {at}".encode()).index(1) for k in range(40)}
    assert winners == {0, 1, 2, 3}


def test_nothing_is_posted_from_an_account_to_itself():
    assert transfer("community", "community", "CORRECTION", "r", 5) == []


def posting(account, amount, kind="TRADE", reference="trade 0"):
    return Posting(account=account, kind=kind, reference=reference, amount_micro=amount)


@pytest.mark.parametrize(
    "account",
    ["ada", "grid", "dso", "dso:net-1", "aggregator:a/b", "community", "fees", "tax", "rounding"],
)
def test_the_vocabulary_of_accounts(account):
    require_sound([posting(account, 1), posting("bob", -1)], {"ada", "bob"})


@pytest.mark.parametrize("account", ["eve", "dso:", "DSO:x", "operator:x", "grid:x", "dso:a b", ""])
def test_other_accounts_are_refused_and_named(account):
    with pytest.raises(LedgerError, match=f"account: got '{account}'"):
        require_sound([posting(account, 1), posting("bob", -1)], {"ada", "bob"})


def test_what_does_not_balance_is_refused():
    with pytest.raises(LedgerError, match="TRADE trade 0: got a sum of 1 micro-currency, wanted 0"):
        require_sound([posting("ada", 2), posting("bob", -1)], {"ada", "bob"})
    crossed = [posting("ada", 1), posting("bob", -1, reference="trade 1")]
    with pytest.raises(LedgerError, match="trade 0"):
        require_sound(crossed, {"ada", "bob"})


def test_an_amount_beyond_the_columns_is_refused():
    with pytest.raises(LedgerError, match=re.escape("TRADE trade 0: got 1000000000000000001 micro-currency of ada")):
        require_sound([posting("ada", 10**18 + 1), posting("bob", -(10**18) - 1)], {"ada", "bob"})
