import cvxpy
import numpy as np
import pytest

from optimization.decomposition.dither import choose
from optimization.decomposition.hulls import Hulls, step, step_plants


def filled(rng: np.random.Generator, *, homes: int, per_home: int, mtus: int, columns: int) -> Hulls:
    peer = np.repeat(np.arange(homes), per_home)
    hulls = Hulls.of(peer, peers=homes, mtus=mtus, columns=columns)
    for round_ in range(columns):
        hulls.add(rng.uniform(0.0, 2.0, (peer.size, mtus)), rng.uniform(0.0, 0.3, peer.size), round_)
    return hulls


@pytest.mark.parametrize("seed", range(4))
def test_steps_end_at_the_optimum_over_the_hulls(seed: int) -> None:
    rng = np.random.default_rng(seed)
    homes, per_home, mtus, columns, stiffness, hours = 2, 3, 6, 5, 0.4, 0.25
    hulls = filled(rng, homes=homes, per_home=per_home, mtus=mtus, columns=columns)
    target = rng.uniform(1.0, 4.0, (homes, mtus))
    net = hulls.mixed().reshape(homes, per_home, mtus).sum(axis=1)
    kappa = np.full(homes, stiffness)
    step(hulls.column, hulls.cost, hulls.weight, hulls.first, net, target, kappa, hours, 20_000)
    theta = cvxpy.Variable(hulls.weight.shape, nonneg=True)
    total = [
        sum(theta[b, k] * hulls.column[b, k] for b in range(n * per_home, (n + 1) * per_home) for k in range(columns))
        for n in range(homes)
    ]
    cost = cvxpy.sum(cvxpy.multiply(theta, hulls.cost))
    pull = sum(cvxpy.sum_squares(total[n] - target[n]) for n in range(homes))
    problem = cvxpy.Problem(cvxpy.Minimize(cost + hours * stiffness / 2 * pull), [cvxpy.sum(theta, axis=1) == 1])
    best = problem.solve(solver=cvxpy.CLARABEL)
    ours = hulls.mixed_cost() + hours * stiffness / 2 * float(((net - target) ** 2).sum())
    assert hulls.weight.sum(axis=1) == pytest.approx(1.0)
    assert (hulls.weight >= 0.0).all()
    assert net == pytest.approx(hulls.mixed().reshape(homes, per_home, mtus).sum(axis=1))
    assert ours == pytest.approx(best, rel=1e-5)


def test_a_known_schedule_is_not_added_twice_and_the_lightest_makes_room() -> None:
    hulls = Hulls.of(np.array([0]), peers=1, mtus=2, columns=2)
    one, two, three = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]])
    assert hulls.add(one, np.array([0.0]), 0).tolist() == [0]
    assert hulls.add(two, np.array([0.0]), 1).tolist() == [1]
    assert hulls.add(one, np.array([0.0]), 2).tolist() == [-1]
    hulls.weight[0] = [0.25, 0.75]
    assert hulls.add(three, np.array([0.0]), 3).tolist() == [0]
    assert hulls.weight[0].tolist() == [0.0, 1.0]


def test_plants_produce_towards_the_target_within_what_is_available() -> None:
    produced, available = np.array([[1.0, 1.0, 1.0]]), np.array([[2.0, 2.0, 0.5]])
    net = np.array([[3.0, 0.0, 3.0]])
    first, stiffness = np.array([0, 1]), np.array([0.5])
    step_plants(produced, available, np.array([0.0]), first, net, np.array([[2.5, 4.0, 0.0]]), stiffness)
    assert produced == pytest.approx(np.array([[1.5, 0.0, 0.5]]))
    assert net == pytest.approx(np.array([[2.5, 1.0, 3.5]]))


def test_chosen_columns_sum_to_nearly_what_was_mixed() -> None:
    """A hundred equal blocks, each mixed half and half of two columns: half of them take each."""
    blocks = 100
    hulls = Hulls.of(np.arange(blocks), peers=blocks, mtus=2, columns=2)
    hulls.add(np.tile([1.0, 0.0], (blocks, 1)), np.zeros(blocks), 0)
    hulls.add(np.tile([0.0, 1.0], (blocks, 1)), np.zeros(blocks), 1)
    hulls.weight[:] = 0.5
    chosen = choose(hulls, np.arange(blocks), np.arange(blocks))
    assert chosen.sum() == blocks // 2
