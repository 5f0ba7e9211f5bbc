from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import AnchorError
from contracts.fees import GWEI, FeeRules
from contracts.transactions import FeePolicy

RULES = FeeRules(cap=100 * GWEI, tip=2 * GWEI)


@pytest.mark.parametrize(
    ("base", "most"), [(0, 2), (10, 22), (49, 100), (60, 100), (98, 100), (98 + 1e-9, None), (500, None)]
)
def test_a_first_attempt_pays_twice_the_base_fee_and_never_more_than_the_cap(base: float, most: int | None) -> None:
    fees = RULES.first(int(base * GWEI + 0.5))
    assert (None if fees is None else fees.max_fee_per_gas) == (None if most is None else most * GWEI)


def test_a_replacement_raises_both_fees_by_an_eighth_rounded_up() -> None:
    before = FeePolicy(max_fee_per_gas=5 * GWEI + 1, max_priority_fee_per_gas=2 * GWEI)
    after = RULES.replacement(before, 0)
    assert after == FeePolicy(max_fee_per_gas=5_625_000_002, max_priority_fee_per_gas=2_250_000_000)


def test_a_replacement_follows_the_base_fee_up_to_the_cap() -> None:
    before = RULES.first(10 * GWEI)
    assert before is not None
    after = RULES.replacement(before, 40 * GWEI)
    assert after == FeePolicy(max_fee_per_gas=82_250_000_000, max_priority_fee_per_gas=2_250_000_000)
    assert RULES.replacement(before, 90 * GWEI) == FeePolicy(
        max_fee_per_gas=100 * GWEI, max_priority_fee_per_gas=2_250_000_000
    )


@pytest.mark.parametrize(("cap", "tip"), [(0, 1), (5, 6), (5, 0), (5, -1)])
def test_rules_that_allow_nothing_are_refused(cap: int, tip: int) -> None:
    with pytest.raises(AnchorError, match="wanted 1 to the cap"):
        FeeRules(cap=cap, tip=tip)


@given(st.integers(0, 200 * GWEI), st.lists(st.integers(0, 200 * GWEI), max_size=40))
def test_replacements_rise_enough_each_time_and_stay_under_the_cap(base: int, later: list[int]) -> None:
    fees = RULES.first(base)
    for now in later:
        if fees is None:
            return
        after = RULES.replacement(fees, now)
        if after is not None:
            assert after.max_fee_per_gas * 1000 >= fees.max_fee_per_gas * 1125
            assert after.max_priority_fee_per_gas * 1000 >= fees.max_priority_fee_per_gas * 1125
            assert after.max_priority_fee_per_gas <= after.max_fee_per_gas <= RULES.cap
        fees = after
