"""What corrections post."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from contracts.runs import reversed_index
from controller.corrections import correct, standing
from controller.ledger import Posting


def posting(account, amount, reference="trade 0", kind="IMBALANCE"):
    return Posting(account=account, kind=kind, reference=reference, amount_micro=amount)


def transfers(pairs):
    """Postings that sum to zero."""
    return [
        one
        for payer, place, amount in pairs
        for one in (posting(payer, -amount, place), posting("grid", amount, place))
    ]


SETTLEMENTS = st.lists(
    st.tuples(st.sampled_from(["ada", "bob"]), st.sampled_from(["ada 0", "bob 0"]), st.integers(1, 3)), max_size=6
).map(transfers)


def entered(ledger, postings):
    return ledger | dict(enumerate(postings, start=len(ledger)))


def test_what_is_as_it_was_stays_as_it_is():
    ledger = dict(enumerate(transfers([("ada", "ada 0", 5)])))
    assert correct(ledger, transfers([("ada", "ada 0", 5)])) == ()


def test_what_changed_is_taken_back_and_entered_anew():
    ledger = dict(enumerate([*transfers([("ada", "ada 0", 5)]), *transfers([("bob", "bob 0", 7)])]))
    assert correct(ledger, [*transfers([("ada", "ada 0", 5)]), *transfers([("bob", "bob 0", 8)])]) == (
        posting("bob", 7, "reverses 2"),
        posting("grid", -7, "reverses 3"),
        posting("bob", -8, "bob 0"),
        posting("grid", 8, "bob 0"),
    )


def test_of_equal_postings_as_many_stay_as_are_wanted():
    twice = [*transfers([("ada", "ada 0", 5)]), *transfers([("ada", "ada 0", 5)])]
    ledger = dict(enumerate(twice))
    assert correct(ledger, twice[:2]) == (posting("ada", 5, "reverses 2"), posting("grid", -5, "reverses 3"))


@given(st.lists(SETTLEMENTS, min_size=1, max_size=5))
def test_all_runs_together_are_the_last_settlement_and_each_sums_to_zero(settlements):
    ledger = dict(enumerate(settlements[0]))
    for settled in settlements[1:]:
        run = correct(ledger, settled)
        assert sum(one.amount_micro for one in run) == 0
        for one in run:
            back = reversed_index(one.reference)
            if back is not None:
                assert (one.account, one.kind, one.amount_micro) == (
                    ledger[back].account,
                    ledger[back].kind,
                    -ledger[back].amount_micro,
                )
        ledger = entered(ledger, run)
    assert Counter(standing(ledger).values()) == Counter(settlements[-1])
    net = Counter()
    for one in ledger.values():
        net[one.account, one.kind] += one.amount_micro
    wanted = Counter()
    for one in settlements[-1]:
        wanted[one.account, one.kind] += one.amount_micro
    assert {key: amount for key, amount in net.items() if amount} == {k: a for k, a in wanted.items() if a}
