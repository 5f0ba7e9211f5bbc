"""Each pass beside its slow twin, which stores every direction that the pass recomputes."""

from types import SimpleNamespace

import numpy as np
import pytest

from optimization.interior_point import kernels

ROWS = 7


def instance(seed: int, *, arcs: int = 40, exact: bool = False) -> SimpleNamespace:
    """Random arcs, an iterate on them, and directions of the prices."""
    random = np.random.default_rng(seed)
    seller = random.integers(0, ROWS, arcs).astype(np.int32)
    buyer = ((seller + random.integers(1, ROWS, arcs)) % ROWS).astype(np.int32)
    incidence = np.zeros((ROWS, arcs))
    np.add.at(incidence, (seller, np.arange(arcs)), 1.0)
    np.add.at(incidence, (buyer, np.arange(arcs)), -1.0)
    return SimpleNamespace(
        seller=seller,
        buyer=buyer,
        cost=random.random(arcs),
        x=random.random(arcs) + 0.01,
        z=random.random(arcs) + 0.01,
        price=random.normal(size=ROWS),
        move=random.normal(size=ROWS),
        second=random.normal(size=ROWS),
        incidence=incidence,
        exact=exact,
        target=0.3,
    )


def arrays(case: SimpleNamespace) -> tuple[np.ndarray, ...]:
    return case.seller, case.buyer, case.cost, case.x, case.z, case.price


def residual(case: SimpleNamespace) -> np.ndarray:
    return np.zeros(case.x.size) if case.exact else case.cost + case.incidence.T @ case.price - case.z


def directions(case: SimpleNamespace, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Those of x and z: the predictor's, plus a weight times the corrector's.

    The predictor solves ``dz = rho + A' move`` and ``z dx + x dz = -x z``; the corrector ``cz = A' second`` and
    ``z cx + x cz = target - dx dz``.
    """
    dz = residual(case) + case.incidence.T @ case.move
    dx = -case.x - case.x * dz / case.z
    cz = case.incidence.T @ case.second
    cx = (case.target - dx * dz) / case.z - case.x * cz / case.z
    return dx + weight * cx, dz + weight * cz


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("arcs", [0, 1, 5, 40, 1000])
def test_sums_over_arcs_are_those_of_matrices(arcs: int, exact: bool) -> None:
    case = instance(1, arcs=arcs, exact=exact)
    flow, pull, diagonal, totals = kernels.weigh(*arrays(case), exact, 0.5)
    weight = case.x / case.z
    assert flow == pytest.approx(case.incidence @ case.x)
    assert pull == pytest.approx(case.incidence @ (-weight * (case.z + residual(case))))
    assert diagonal == pytest.approx(((case.incidence * weight) @ case.incidence.T).diagonal())
    made_of = 0.5 + case.cost + np.abs(case.incidence.T) @ np.abs(case.price) + case.z
    rest = np.abs(residual(case))
    assert totals == pytest.approx([case.x @ case.z, rest.max(initial=0.0), (rest / made_of).max(initial=0.0)])


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_predictor_foresees_its_step_and_its_curvature(seed: int, exact: bool) -> None:
    case = instance(seed, exact=exact)
    centre, bend, totals = kernels.predict(*arrays(case), case.move, exact)
    dx, dz = directions(case, 0.0)
    assert centre == pytest.approx(case.incidence @ (1 / case.z))
    assert bend == pytest.approx(case.incidence @ (-dx * dz / case.z))
    assert totals[0] == pytest.approx(min(1.0, 1 / max(-dx / case.x)))
    assert totals[1] == pytest.approx(min(1.0, 1 / max(-dz / case.z)))
    assert totals[2] == pytest.approx(case.x @ dz + case.z @ dx)
    assert totals[3] == pytest.approx(dx @ dz)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_longest_steps_end_where_the_first_arc_reaches_its_bound(seed: int, exact: bool) -> None:
    case = instance(seed, exact=exact)
    weights = np.array([1.0, 0.5, 0.1])
    longest = kernels.correct(*arrays(case), case.move, case.second, case.target, weights, exact)
    for k, weight in enumerate(weights):
        dx, dz = directions(case, weight)
        assert longest[k] == pytest.approx([1 / max(-dx / case.x), 1 / max(-dz / case.z)])


@pytest.mark.parametrize("exact", [False, True])
def test_a_step_moves_along_both_directions(exact: bool) -> None:
    case = instance(4, exact=exact)
    dx, dz = directions(case, 0.4)
    x, z = case.x.copy(), case.z.copy()
    moved = (case.seller, case.buyer, case.cost, x, z, case.price)
    kernels.step(*moved, case.move, case.second, case.target, 0.4, 0.01, exact)
    assert x == pytest.approx(case.x + 0.01 * dx)
    assert z == pytest.approx(case.z + 0.01 * dz)


def test_a_step_too_far_stays_above_zero() -> None:
    case = instance(4)
    moved = arrays(case)
    kernels.step(*moved, 100 * case.move, case.second, case.target, 0.0, 1.0, False)
    assert case.x.min() == kernels.SMALLEST
    assert (case.z > 0).all()


@pytest.mark.parametrize("arcs", [0, 3, 500])
def test_a_product_is_that_of_the_matrix(arcs: int) -> None:
    case = instance(2, arcs=arcs)
    product = kernels.multiply(case.seller, case.buyer, case.x, case.move)
    assert product == pytest.approx((case.incidence * case.x) @ case.incidence.T @ case.move)


def test_scattered_and_gathered_weights_are_subtracted_in_their_places() -> None:
    case = instance(3)
    expected = np.ones((ROWS, ROWS))
    for k in range(5, 30):
        expected[case.seller[k], case.buyer[k]] -= case.x[k] / case.z[k]
    scattered, gathered = np.ones((ROWS, ROWS)), np.ones(ROWS * ROWS)
    kernels.scatter(case.seller, case.buyer, case.x, case.z, scattered, 5, 30)
    place = (case.seller.astype(np.int64) * ROWS + case.buyer)[5:30]
    kernels.gather(place, case.x[5:30], case.z[5:30], gathered)
    assert scattered == pytest.approx(expected)
    assert gathered.reshape(ROWS, ROWS) == pytest.approx(expected)


def test_heavy_arcs_reach_the_least_weight_of_an_end() -> None:
    case = instance(5)
    least = np.linspace(0.2, 1.4, ROWS)
    found = kernels.heavy(case.seller, case.buyer, case.x, least)
    slow = [k for k in range(40) if case.x[k] >= least[case.seller[k]] or case.x[k] >= least[case.buyer[k]]]
    assert found.tolist() == slow
    assert 0 < found.size < 40


@pytest.mark.parametrize("most", [1, 2, 4])
def test_the_cheapest_arcs_of_an_end_are_chosen(most: int) -> None:
    case = instance(6, arcs=60)
    chosen = kernels.cheapest(case.seller, case.buyer, case.cost, ROWS, most)
    slow = np.zeros(60, dtype=bool)
    for row in range(ROWS):
        touching = [k for k in range(60) if row in (case.seller[k], case.buyer[k])]
        slow[sorted(touching, key=lambda k: case.cost[k])[:most]] = True
    assert chosen.tolist() == slow.tolist()


def test_of_equally_cheap_arcs_not_all_are_chosen() -> None:
    """A star of 50 arcs at one price: each arc is the only one of its leaf, but the centre takes few of its own."""
    seller, buyer = np.zeros(50, dtype=np.int32), np.arange(1, 51, dtype=np.int32) % 3 + 1
    chosen = kernels.cheapest(seller, buyer, np.ones(50), 4, 2)
    assert 2 <= chosen.sum() <= 2 * 2 * 4
    assert np.flatnonzero(chosen)[:4].tolist() == [0, 1, 2, 3]


def test_eliminated_rows_leave_their_schur_complement() -> None:
    """Three kept rows and three eliminated ones, each with arcs to some of them."""
    random = np.random.default_rng(7)
    columns = [[0, 2], [1], [0, 1, 2]]
    start = np.array([0, 2, 3, 6])
    column = np.array([c for row in columns for c in row], dtype=np.int32)
    order = random.permutation(6)
    shuffled = np.empty(6, dtype=np.int32)
    shuffled[order] = column
    x, z, pivot = random.random(6) + 0.1, random.random(6) + 0.1, random.random(3) + 1.0
    side = np.zeros((3, 3))
    for e in range(3):
        for p in range(start[e], start[e + 1]):
            side[e, column[p]] = x[order[p]] / z[order[p]]
    out = np.zeros((3, 3))
    kernels.eliminate(start, order, shuffled, x, z, pivot, out)
    assert np.tril(out) == pytest.approx(np.tril(-side.T @ (side / pivot[:, None])))
    assert not np.triu(out, 1).any()
