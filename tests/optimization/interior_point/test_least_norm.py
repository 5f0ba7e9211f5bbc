"""Trades of least norm beside those of a general solver."""

import cvxpy as cp
import numpy as np
import pytest

from optimization.interior_point.least_norm import Ties, least_norm


def random_ties(seed: int, *, size: int = 8, capped: bool = False, grid: bool = False) -> tuple[Ties, np.ndarray]:
    """Ties that can carry a net consumption, which is drawn as what random trades bring."""
    random = np.random.default_rng(seed)
    pairs = [(s, b) for s in range(size) for b in range(size) if s != b and random.random() < 0.3]
    seller, buyer = (np.array([pair[k] for pair in pairs], dtype=np.int64) for k in (0, 1))
    trade = random.uniform(0, 3, seller.size) * (random.random(seller.size) < 0.4)
    may_import, may_export = (random.random(size) < 0.3 if grid else np.zeros(size, dtype=bool) for _ in range(2))
    net = np.bincount(buyer, trade, size) - np.bincount(seller, trade, size)
    net = net + np.where(may_import, random.random(size), 0.0) - np.where(may_export, random.random(size), 0.0)
    capacity = trade + random.random(seller.size) if capped else np.full(seller.size, np.inf)
    return Ties(seller=seller, buyer=buyer, capacity=capacity, may_import=may_import, may_export=may_export), net


def carried(ties: Ties, found: tuple[np.ndarray, np.ndarray, np.ndarray], size: int) -> np.ndarray:
    trade, imported, exported = found
    return np.bincount(ties.buyer, trade, size) - np.bincount(ties.seller, trade, size) + imported - exported


def general(ties: Ties, net: np.ndarray) -> float:
    """The least sum of squares by cvxpy."""
    size, count = net.size, ties.seller.size
    trade, buys, sells = cp.Variable(count), cp.Variable(size), cp.Variable(size)
    incidence = np.zeros((size, count))
    incidence[ties.buyer, np.arange(count)] = 1.0
    incidence[ties.seller, np.arange(count)] = -1.0
    constraints = [
        incidence @ trade + buys - sells == net,
        trade >= 0,
        buys >= 0,
        buys <= 1e3 * ties.may_import,
        sells >= 0,
        sells <= 1e3 * ties.may_export,
    ]
    finite = np.flatnonzero(np.isfinite(ties.capacity))
    if finite.size:
        constraints.append(trade[finite] <= ties.capacity[finite])
    total = cp.sum_squares(trade) + cp.sum_squares(buys) + cp.sum_squares(sells)
    return float(cp.Problem(cp.Minimize(total), constraints).solve(solver="CLARABEL"))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("capped", "grid"), [(False, False), (True, False), (True, True)])
def test_the_sum_of_squares_is_that_of_a_general_solver(seed: int, capped: bool, grid: bool) -> None:
    ties, net = random_ties(seed, capped=capped, grid=grid)
    found = least_norm(ties, net)
    assert found is not None
    trade, imported, exported = found
    assert carried(ties, found, net.size) == pytest.approx(net, abs=1e-10)
    assert (trade >= 0).all()
    assert (trade <= ties.capacity).all()
    assert not imported[~ties.may_import].any()
    assert not exported[~ties.may_export].any()
    assert trade @ trade + imported @ imported + exported @ exported == pytest.approx(
        general(ties, net), rel=1e-5, abs=1e-7
    )


def test_many_sparse_one_way_graphs_are_balanced() -> None:
    """Where what may move leaves peers cut off for a while, steps of the search span twelve orders of magnitude."""
    for seed in range(300):
        ties, net = random_ties(seed, size=3 + seed % 12, capped=seed % 3 == 0, grid=seed % 5 == 0)
        found = least_norm(ties, net)
        assert found is not None, seed
        assert carried(ties, found, net.size) == pytest.approx(net, abs=1e-8), seed


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_of_power_do_not_matter(scale: float) -> None:
    ties, net = random_ties(3)
    plain, scaled = least_norm(ties, net), least_norm(ties, scale * net)
    assert plain is not None
    assert scaled is not None
    assert scaled[0] / scale == pytest.approx(plain[0], abs=1e-6)


@pytest.mark.parametrize("size", [70, 1500])
def test_large_graphs_take_sparse_factors(size: int) -> None:
    names = np.arange(size)
    ties = Ties(
        seller=np.concatenate([names, names[1:]]),
        buyer=np.concatenate([(names + 1) % size, names[:-1]]),
        capacity=np.full(2 * size - 1, np.inf),
        may_import=np.zeros(size, dtype=bool),
        may_export=np.zeros(size, dtype=bool),
    )
    net = np.random.default_rng(1).normal(size=size)
    net -= net.mean()
    found = least_norm(ties, net)
    assert found is not None
    assert carried(ties, found, size) == pytest.approx(net, abs=1e-7)


def test_what_no_ties_can_carry_is_refused() -> None:
    ties, net = random_ties(1)
    assert least_norm(ties, net + np.eye(8)[0]) is None
    away = Ties(
        seller=np.array([0]),
        buyer=np.array([1]),
        capacity=np.array([1.0]),
        may_import=np.zeros(2, dtype=bool),
        may_export=np.zeros(2, dtype=bool),
    )
    assert least_norm(away, np.array([1.0, -1.0])) is None
    assert least_norm(away, np.array([-2.0, 2.0])) is None
    assert least_norm(away, np.array([-1.0, 1.0])) is not None
