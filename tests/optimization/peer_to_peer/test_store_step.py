"""A store's exact step against the same problem in a general solver."""

import cvxpy as cp
import numpy as np
import pytest

from optimization.peer_to_peer.store_step import store_step


def objective(target, weight, cycle, value, charge, discharge, energy):  # type: ignore[no-untyped-def]
    return cycle * discharge.sum() + value @ energy + weight / 2 * ((charge - discharge - target) ** 2).sum()


@pytest.mark.parametrize("seed", range(25))
def test_a_store_answers_as_a_general_solver_does(seed: int) -> None:
    random = np.random.default_rng(seed)
    mtus = int(random.integers(1, 13))
    target = random.normal(size=mtus) * 2
    weight = 10.0 ** random.uniform(-2, 1)
    limits = tuple(random.uniform(0, 3, 2))
    gain, loss = float(random.choice([1.0, 0.95, 0.6])), 1.0 / float(random.choice([1.0, 0.9, 0.7]))
    cycle = float(random.choice([0.0, 0.01, 0.3]))
    keep = float(random.choice([1.0, 1.0, 0.99, 0.7]))
    most, least = np.full(mtus, random.uniform(1, 6)), np.zeros(mtus)
    initial = random.uniform(0, most[0])
    if seed % 3 == 0:
        least[-1] = initial * keep**mtus
    value = random.normal(size=mtus) * float(random.choice([0.0, 0.1, 2.0]))
    charge, discharge, worth = (np.zeros(mtus) for _ in range(3))
    missed = store_step(
        target, weight, initial, least, most, value, limits, gain, loss, cycle, keep, charge, discharge, worth
    )  # fmt: skip
    assert missed <= 1e-9
    kept = np.tril(keep ** np.subtract.outer(np.arange(mtus), np.arange(mtus)))
    energy = initial * keep ** np.arange(1, mtus + 1) + kept @ (gain * charge - loss * discharge)
    assert (energy >= least - 1e-9).all()
    assert (energy <= most + 1e-9).all()
    c, d = cp.Variable(mtus), cp.Variable(mtus)
    stored = initial * keep ** np.arange(1, mtus + 1) + kept @ (gain * c - loss * d)
    cost = cycle * cp.sum(d) + value @ stored + weight / 2 * cp.sum_squares(c - d - target)
    bounds = [c >= 0, c <= limits[0], d >= 0, d <= limits[1], stored >= least, stored <= most]
    problem = cp.Problem(cp.Minimize(cost), bounds)
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    ours = objective(target, weight, cycle, value, charge, discharge, energy)
    assert ours == pytest.approx(problem.value, rel=1e-7, abs=1e-7)


def test_a_store_that_cannot_fill_up_says_by_how_much() -> None:
    charge, discharge, worth = (np.zeros(2) for _ in range(3))
    least = np.array([0.0, 5.0])
    missed = store_step(
        np.zeros(2), 1.0, 1.0, least, np.full(2, 9.0), np.zeros(2), (1.0, 1.0), 1.0, 1.0, 0.0, 1.0,
        charge, discharge, worth,
    )  # fmt: skip
    assert missed == pytest.approx(2.0)  # 1 at the start, at most 2 more, 5 wanted


def test_energy_worth_less_than_nothing_is_burned() -> None:
    charge, discharge, worth = (np.zeros(1) for _ in range(3))
    # Full, and told to be empty of it: only charging and discharging at once loses energy at no net power.
    store_step(
        np.zeros(1), 100.0, 2.0, np.zeros(1), np.full(1, 9.0), np.array([5.0]), (1.0, 1.0), 0.5, 1.0, 0.0, 1.0,
        charge, discharge, worth,
    )  # fmt: skip
    np.testing.assert_allclose([charge[0], discharge[0]], [1.0, 1.0], atol=0.1)
