import numpy as np
import pytest

from optimization.decomposition.exchange import sweep


@pytest.mark.parametrize("seed", range(8))
def test_sweeps_end_where_no_link_gains(seed: int) -> None:
    rng = np.random.default_rng(seed)
    peers, mtus, stiffness = 7, 5, 0.1
    pairs = np.array([(s, b) for s in range(peers) for b in range(peers) if s != b and rng.random() < 0.6])
    seller, buyer = pairs[:, 0].copy(), pairs[:, 1].copy()
    cost = rng.uniform(0.0, 0.15, seller.size)
    high, low = rng.uniform(0.2, 0.4, mtus), rng.uniform(0.0, 0.1, mtus)
    wanted = rng.normal(0.0, 4.0, (peers, mtus)) + 0.2 / stiffness
    traded, net, price = np.zeros((seller.size, mtus)), np.zeros((peers, mtus)), np.zeros((peers, mtus))
    sweep(traded, net, wanted, seller, buyer, cost, high, low, price, stiffness, 400)
    expected = np.zeros_like(net)
    np.add.at(expected, buyer, traded)
    np.subtract.at(expected, seller, traded)
    assert net == pytest.approx(expected, abs=1e-9)
    assert (traded >= 0.0).all()
    assert (price >= low - 1e-12).all()
    assert (price <= high + 1e-12).all()
    gain = price[buyer] - price[seller] - cost[:, None]
    assert gain.max() <= 1e-6
    assert np.abs(gain[traded > 1e-6]).max(initial=0.0) <= 1e-6
