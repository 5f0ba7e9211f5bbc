import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimization.errors import ProblemError
from optimization.rounding import (
    MICRO_WH_PER_WH,
    UNBOUNDED_WH,
    EnergyBounds,
    Integers,
    apportion,
    round_energy,
    round_power,
    round_trades,
)

HALF_WH_IN_W_MIN = 30
TEN_WH_IN_W_MIN = 600
"""Far above the 165 W min that 150 trees reached in 200 MTUs, far below what a remainder a MTU would add up to."""


def integers(*values: int) -> Integers:
    return np.array(values, dtype=np.int64)


def labels(count: int) -> list[str]:
    return [f"p{k}" for k in range(count)]


def unbounded(count: int) -> list[int]:
    return [UNBOUNDED_WH] * count


def free_bounds(peers: int, **changes: Any) -> EnergyBounds:
    """One section and no limits, unless told otherwise."""
    fields = {
        "section": np.zeros(peers, dtype=np.int64),
        "total_wh": (-UNBOUNDED_WH, UNBOUNDED_WH),
        "section_wh": np.array([[-UNBOUNDED_WH, UNBOUNDED_WH]]),
        "peer_wh": np.array([[-UNBOUNDED_WH, UNBOUNDED_WH]] * peers),
    }
    return EnergyBounds(**(fields | changes))


# --- round_power -------------------------------------------------------------------------------------------------


def test_power_goes_up_or_down_as_each_mtu_says() -> None:
    power = np.array([1.2345, 1.2345, -1.2345, -1.2345])
    watts = round_power(power, up=np.array([True, False, True, False]), lower_w=-5000, upper_w=5000)
    assert watts.tolist() == [1235, 1234, -1234, -1235]
    assert watts.dtype == np.int64


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("power_kw", [0.125, -3.65, 0.0, 1.0000000000004, 0.9999999999996, 0.1 + 0.2])
def test_solver_noise_on_a_whole_watt_is_no_watt(power_kw: float, up: bool) -> None:
    watts = round_power(np.array([power_kw]), up=np.array([up]), lower_w=-5000, upper_w=5000)
    assert watts.tolist() == [round(power_kw * 1000)]


@pytest.mark.parametrize(
    ("power_kw", "up", "wanted"),
    [(2.0004, True, 2000), (-1.0004, False, -1000), (2.0004, False, 2000), (-1.0004, True, -1000)],
)
def test_a_setpoint_never_leaves_what_the_device_can_do(power_kw: float, up: bool, wanted: int) -> None:
    assert round_power(np.array([power_kw]), up=np.array([up]), lower_w=-1000, upper_w=2000).tolist() == [wanted]


@given(power_w=st.integers(-(10**7), 10**7), part=st.integers(1, 999), up=st.booleans())
def test_power_moves_less_than_a_watt_and_only_the_way_that_was_asked(power_w: int, part: int, up: bool) -> None:
    exact_w = power_w + part / 1000
    watts = int(round_power(np.array([exact_w / 1000]), up=np.array([up]), lower_w=-(10**8), upper_w=10**8)[0])
    assert watts == power_w + up


# --- apportion ---------------------------------------------------------------------------------------------------


def squared_distance(shares: Sequence[int], targets: Sequence[int], scale: int) -> int:
    return sum((share * scale - target) ** 2 for share, target in zip(shares, targets, strict=True))


def nearest_by_trying_all(
    total: int, targets: Sequence[int], scale: int, lower: Sequence[int], upper: Sequence[int]
) -> int:
    """The slow, obvious twin: the least squared distance over all shares that keep the bounds and the total."""
    ranges = [range(lo, hi + 1) for lo, hi in zip(lower, upper, strict=True)]
    return min(squared_distance(s, targets, scale) for s in itertools.product(*ranges) if sum(s) == total)


@st.composite
def apportionments(draw: Any) -> tuple[int, list[int], int, list[int], list[int]]:
    count = draw(st.integers(1, 4))
    scale = draw(st.sampled_from([1, 7, 60]))
    lower = draw(st.lists(st.integers(-4, 3), min_size=count, max_size=count))
    upper = [lo + draw(st.integers(0, 4)) for lo in lower]
    targets = draw(st.lists(st.integers(-5 * scale, 5 * scale), min_size=count, max_size=count))
    return draw(st.integers(sum(lower), sum(upper))), targets, scale, lower, upper


@given(problem=apportionments())
def test_shares_are_the_nearest_of_all_that_sum_to_the_total(problem: Any) -> None:
    total, targets, scale, lower, upper = problem
    shares = apportion(total, targets, scale, lower, upper, labels(len(targets)))
    assert sum(shares) == total
    assert all(lo <= share <= hi for lo, share, hi in zip(lower, shares, upper, strict=True))
    assert squared_distance(shares, targets, scale) == nearest_by_trying_all(total, targets, scale, lower, upper)


@given(problem=apportionments(), data=st.data())
def test_shares_follow_their_labels_through_a_permutation(problem: Any, data: Any) -> None:
    total, targets, scale, lower, upper = problem
    ties = labels(len(targets))
    shares = dict(zip(ties, apportion(total, targets, scale, lower, upper, ties), strict=True))
    order = data.draw(st.permutations(range(len(targets))))
    moved = apportion(
        total,
        [targets[k] for k in order],
        scale,
        *([values[k] for k in order] for values in (lower, upper, ties)),
    )
    assert moved == [shares[ties[k]] for k in order]


def test_the_largest_remainder_gets_the_unit() -> None:
    assert apportion(10, [31, 34, 35], 10, [0] * 3, unbounded(3), ["a", "b", "c"]) == [3, 3, 4]


@pytest.mark.parametrize(("ties", "wanted"), [(["a", "b"], [1, 0]), (["b", "a"], [0, 1])])
def test_equal_remainders_go_to_the_smaller_label(ties: list[str], wanted: list[int]) -> None:
    assert apportion(1, [5, 5], 10, [0, 0], unbounded(2), ties) == wanted


def test_a_full_share_leaves_its_unit_to_the_next() -> None:
    assert apportion(2, [9, 5, 1], 10, [0] * 3, [0, 5, 5], ["a", "b", "c"]) == [0, 1, 1]


def test_a_far_total_is_reached_from_afar() -> None:
    assert apportion(10**5, [0, 0], 60, [0, 0], [10**4, 10**6], ["a", "b"]) == [10**4, 9 * 10**4]


def test_nothing_shares_nothing() -> None:
    assert apportion(0, [], 60, [], [], []) == []


@pytest.mark.parametrize(
    ("total", "lower", "upper", "message"),
    [
        (5, [0, 0], [2, 2], "got total 5, wanted 0 to 4"),
        (-1, [0, 0], [2, 2], "got total -1, wanted 0 to 4"),
        (1, [], [], "got total 1, wanted 0 to 0"),
        (3, [5, -5], [3, 5], "apportion p0: got bounds 5 to 3"),
    ],
)
def test_bounds_that_cannot_be_kept_are_refused(total: int, lower: list[int], upper: list[int], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        apportion(total, [0] * len(lower), 60, lower, upper, labels(len(lower)))


# --- round_energy ------------------------------------------------------------------------------------------------


def test_an_eighth_of_a_kilowatt_for_a_quarter_of_an_hour_carries_a_quarter_of_a_watt_hour() -> None:
    energies, carry = [], integers(0)
    for _ in range(4):
        energy, carry = round_energy(integers(125), minutes=15, carry=carry, bounds=free_bounds(1), ties=["a"])
        energies.append(int(energy[0]))
    assert energies == [31, 31, 32, 31]
    assert carry.tolist() == [0]


def test_an_eighth_of_a_kilowatt_leaves_fifteen_watt_minutes() -> None:
    energy, carry = round_energy(integers(125), minutes=15, carry=integers(0), bounds=free_bounds(1), ties=["a"])
    assert (energy.tolist(), carry.tolist()) == ([31], [15])


def test_many_small_remainders_make_the_total_right_at_once() -> None:
    energy, carry = round_energy(
        integers(125, 125, 125, 125), minutes=15, carry=integers(0, 0, 0, 0), bounds=free_bounds(4), ties=labels(4)
    )
    assert energy.tolist() == [32, 31, 31, 31]
    assert int(carry.sum()) == 0


@pytest.mark.parametrize(
    ("carry", "changes", "wanted"),
    [
        ((0, 0), {}, [3, 3]),
        ((50, 50), {}, [4, 4]),
        ((50, 50), {"total_wh": (-UNBOUNDED_WH, 6)}, [3, 3]),
        ((50, 50), {"section_wh": np.array([[-UNBOUNDED_WH, 6]])}, [3, 3]),
        ((50, 50), {"peer_wh": np.array([[-UNBOUNDED_WH, UNBOUNDED_WH], [0, 3]])}, [5, 3]),
        ((-50, -50), {"total_wh": (6, UNBOUNDED_WH)}, [3, 3]),
        ((-50, -50), {"section_wh": np.array([[6, UNBOUNDED_WH]])}, [3, 3]),
        ((-50, -50), {"peer_wh": np.array([[3, 9], [0, 9]])}, [3, 1]),
    ],
)
def test_a_carry_never_pushes_an_energy_over_a_limit(
    carry: tuple[int, int], changes: dict[str, Any], wanted: list[int]
) -> None:
    energy, rest = round_energy(
        integers(12, 12), minutes=15, carry=integers(*carry), bounds=free_bounds(2, **changes), ties=labels(2)
    )
    assert energy.tolist() == wanted
    assert (energy * 60 + rest).tolist() == [180 + carry[0], 180 + carry[1]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"total_wh": (10, 20), "peer_wh": np.array([[0, 2], [0, 3]])}, r"\(10, 20\) Wh of the total and 0 to 5 Wh"),
        ({"total_wh": (-5, 1), "peer_wh": np.array([[0, 2], [2, 3]])}, r"\(-5, 1\) Wh of the total and 2 to 5 Wh"),
        ({"total_wh": (7, 4)}, r"\(7, 4\) Wh of the total"),
        ({"section_wh": np.array([[9, 20]]), "peer_wh": np.array([[0, 2], [0, 3]])}, "9 to 5 Wh"),
        ({"peer_wh": np.array([[5, 3], [0, 9]])}, "got bounds 5 to 3"),
    ],
)
def test_a_tree_that_no_whole_watt_hours_keep_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        round_energy(integers(8, 8), minutes=15, carry=integers(0, 0), bounds=free_bounds(2, **changes), ties=labels(2))


def test_a_section_whose_lower_bound_its_peers_cannot_reach_is_refused_beside_a_wide_one() -> None:
    bounds = EnergyBounds(
        section=integers(0, 1),
        total_wh=(-UNBOUNDED_WH, UNBOUNDED_WH),
        section_wh=np.array([[9, UNBOUNDED_WH], [-UNBOUNDED_WH, UNBOUNDED_WH]]),
        peer_wh=np.array([[0, 2], [0, 30]]),
    )
    with pytest.raises(ProblemError, match="got bounds 9 to 2"):
        round_energy(integers(8, 100), minutes=15, carry=integers(0, 0), bounds=bounds, ties=["a", "b"])


class Tree:
    """Random peers under sections, with bounds around what the peers draw: some tight, some loose."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.peers = int(self.random.integers(1, 9))
        self.sections = int(self.random.integers(1, 4))
        self.minutes = int(self.random.choice([5, 15, 30, 60]))
        self.section = self.random.integers(0, self.sections, self.peers)
        self.loose = self.random.uniform(0.25, 1.0)

    def sums(self, values: Integers) -> Integers:
        return np.array([values[self.section == s].sum() for s in range(self.sections)])

    def power(self) -> Integers:
        return self.random.integers(-50, 51, self.peers) * self.random.integers(0, 2, self.peers)

    def bounds(self, net_w: Integers) -> EnergyBounds:
        exact = net_w * self.minutes
        total = self._around(exact.sum(keepdims=True))[0]
        return EnergyBounds(
            section=self.section,
            total_wh=(int(total[0]), int(total[1])),
            section_wh=self._around(self.sums(exact)),
            peer_wh=self._around(exact),
        )

    def _around(self, exact: Integers) -> Integers:
        slack = np.where(self.random.random(exact.shape) < self.loose, self.random.integers(0, 4, exact.shape), 0)
        return np.stack([exact // 60 - slack, -(-exact // 60) + slack], axis=1)


def assert_kept(bounds: EnergyBounds, tree: Tree, energy: Integers) -> None:
    assert bounds.total_wh[0] <= energy.sum() <= bounds.total_wh[1]
    for limits, sums in ((bounds.section_wh, tree.sums(energy)), (bounds.peer_wh, energy)):
        assert (limits[:, 0] <= sums).all()
        assert (sums <= limits[:, 1]).all()


@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_energies_and_remainders_conserve_what_came_in_and_keep_the_tree(seed: int, data: Any) -> None:
    tree = Tree(seed)
    net_w = tree.power()
    carry = np.array(data.draw(st.lists(st.integers(-500, 500), min_size=tree.peers, max_size=tree.peers)))
    bounds = tree.bounds(net_w)
    energy, rest = round_energy(net_w, minutes=tree.minutes, carry=carry, bounds=bounds, ties=labels(tree.peers))
    assert (energy * 60 + rest == net_w * tree.minutes + carry).all()
    assert_kept(bounds, tree, energy)


@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_energies_follow_their_peers_through_a_permutation(seed: int, data: Any) -> None:
    tree = Tree(seed)
    net_w, ties = tree.power(), labels(tree.peers)
    carry = tree.random.integers(-60, 61, tree.peers)
    bounds = tree.bounds(net_w)
    energy, rest = round_energy(net_w, minutes=tree.minutes, carry=carry, bounds=bounds, ties=ties)
    order = np.array(data.draw(st.permutations(range(tree.peers))))
    moved = EnergyBounds(
        section=bounds.section[order],
        total_wh=bounds.total_wh,
        section_wh=bounds.section_wh,
        peer_wh=bounds.peer_wh[order],
    )
    energy_moved, rest_moved = round_energy(
        net_w[order], minutes=tree.minutes, carry=carry[order], bounds=moved, ties=[ties[k] for k in order]
    )
    assert (energy_moved == energy[order]).all()
    assert (rest_moved == rest[order]).all()


def assert_remainders_stay_small(seed: int, mtus: int) -> None:
    tree = Tree(seed)
    carry = np.zeros(tree.peers, dtype=np.int64)
    drawn = delivered = 0
    for _ in range(mtus):
        net_w = tree.power()
        bounds = tree.bounds(net_w)
        energy, carry = round_energy(net_w, minutes=tree.minutes, carry=carry, bounds=bounds, ties=labels(tree.peers))
        assert_kept(bounds, tree, energy)
        drawn, delivered = drawn + int(net_w.sum()) * tree.minutes, delivered + int(energy.sum()) * 60
        assert abs(int(carry.sum())) <= HALF_WH_IN_W_MIN
        assert np.abs(carry).max() <= TEN_WH_IN_W_MIN
    assert drawn == delivered + int(carry.sum())


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_remainders_do_not_run_away_in_two_hundred_mtus(seed: int) -> None:
    assert_remainders_stay_small(seed, 200)


@given(carry=st.lists(st.integers(-10_000, 10_000), min_size=1, max_size=8))
def test_every_remainder_comes_home_in_the_first_mtu_without_limits(carry: list[int]) -> None:
    count = len(carry)
    _, rest = round_energy(
        integers(*[7] * count), minutes=15, carry=np.array(carry), bounds=free_bounds(count), ties=labels(count)
    )
    assert np.abs(rest).max() < 60
    assert abs(int(rest.sum())) <= HALF_WH_IN_W_MIN


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_remainders_do_not_run_away_in_any_of_many_trees(seed: int) -> None:
    assert_remainders_stay_small(seed, 400)


# --- round_trades ------------------------------------------------------------------------------------------------


def test_a_trade_carries_its_part_of_a_watt_hour() -> None:
    energies, carry = [], integers(0)
    for _ in range(4):
        energy, carry = round_trades(np.array([0.03125]), carry)
        energies.append(int(energy[0]))
    assert energies == [31, 32, 31, 31]
    assert carry.tolist() == [0]


@pytest.mark.parametrize("noise", [-1e-9, -0.0, 1e-13])
def test_solver_noise_is_no_trade(noise: float) -> None:
    energy, carry = round_trades(np.array([noise]), integers(0))
    assert (energy.tolist(), carry.tolist()) == ([0], [0])


def test_a_carry_alone_takes_nothing_back() -> None:
    energy, carry = round_trades(np.array([0.0]), integers(-MICRO_WH_PER_WH // 2))
    assert (energy.tolist(), carry.tolist()) == ([0], [-MICRO_WH_PER_WH // 2])


def test_half_a_watt_hour_goes_up_and_is_owed() -> None:
    energy, carry = round_trades(np.array([0.0005]), integers(0))
    assert (energy.tolist(), carry.tolist()) == ([1], [-MICRO_WH_PER_WH // 2])


@given(micro_wh=st.lists(st.integers(0, 10**10), min_size=1, max_size=50))
def test_trades_add_up_to_what_was_cleared_within_half_a_watt_hour(micro_wh: list[int]) -> None:
    carry, total = integers(0), 0
    for amount in micro_wh:
        energy, carry = round_trades(np.array([amount / 1e9]), carry)
        assert energy[0] >= 0
        assert abs(int(carry[0])) <= MICRO_WH_PER_WH // 2
        total += int(energy[0])
    assert total * MICRO_WH_PER_WH + int(carry[0]) == sum(micro_wh)
