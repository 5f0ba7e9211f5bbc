"""Who regrets receives all of it, who has gained contributes in proportion, and nothing appears from nowhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimization.uplift import loss_of, share_out

MONEY = st.floats(-1e6, 1e6)
REGRETS = st.lists(st.integers(-(10**9), 10**9), max_size=12)


def shared(regret: list[int]) -> tuple[int, ...]:
    return share_out(regret, [f"home {n:02d}" for n in range(len(regret))])


def test_who_gains_pays_for_who_regrets_in_proportion_to_the_gain() -> None:
    assert shared([90, -200, -100, 0]) == (90, -60, -30, 0)


def test_what_cannot_be_divided_goes_to_the_smaller_label() -> None:
    assert shared([1, -5, -5]) == (1, -1, 0)
    assert share_out([1, -5, -5], ["c", "b", "a"]) == (1, 0, -1)


def test_gains_that_do_not_suffice_are_given_whole_and_the_rest_is_left_over() -> None:
    assert shared([100, -30, -20]) == (100, -30, -20)


def test_where_nobody_regrets_nobody_contributes() -> None:
    assert shared([0, -30, -20]) == (0, 0, 0)
    assert shared([]) == ()


@given(REGRETS)
def test_all_regret_is_received_and_no_more_contributed_than_gained_or_needed(regret: list[int]) -> None:
    uplifts = shared(regret)
    lost, gained = sum(max(0, r) for r in regret), sum(max(0, -r) for r in regret)
    for amount, uplift in zip(regret, uplifts, strict=True):
        assert uplift == amount if amount >= 0 else amount <= uplift <= 0
    assert sum(uplifts) == max(0, lost - gained)
    for amount, uplift in zip(regret, uplifts, strict=True):
        if amount < 0:
            assert abs(uplift * gained - amount * min(lost, gained)) < gained


@pytest.mark.parametrize(
    ("dearer", "short", "loss"),
    [
        (-5.0, 0.0, -5.0),
        (-5.0, 2.0, -3.0),
        (-5.0, 1000.0, 0.0),
        (-5.0, -2.0, -5.0),
        (5.0, 0.0, 5.0),
        (5.0, -2.0, 3.0),
        (5.0, -1000.0, 0.0),
        (5.0, 2.0, 5.0),
        (0.0, 1000.0, 0.0),
        (0.0, -1000.0, 0.0),
    ],
)
def test_what_tasks_stand_for_takes_from_losses_and_gains_and_makes_none(
    dearer: float, short: float, loss: float
) -> None:
    assert loss_of(dearer, short) == loss


@given(MONEY, MONEY)
def test_a_loss_is_of_money_and_no_more_than_that(dearer: float, short: float) -> None:
    assert min(0.0, dearer) <= loss_of(dearer, short) <= max(0.0, dearer)
    assert loss_of(-dearer, -short) == -loss_of(dearer, short)


@given(MONEY, MONEY)
def test_a_little_more_left_undone_is_worth_a_little(dearer: float, short: float) -> None:
    assert abs(loss_of(dearer, short + 1e-3) - loss_of(dearer, short)) <= 1e-3 + 1e-9
