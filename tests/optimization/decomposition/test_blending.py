"""Batteries of several homes that only gain together."""

from collections.abc import Callable

import numpy as np
import pytest

from optimization.checking.stores import check_battery
from optimization.checking.verdict import Claim, Terms
from optimization.community import Community, Link, PeerId
from optimization.decomposition.blending import blend
from optimization.decomposition.descent import Descent
from optimization.decomposition.master import STIFFNESS, find_prices
from optimization.decomposition.problem import Problem
from optimization.devices import Battery, Curtailable, FixedLoad
from optimization.quantities import DeviceId
from optimization.states import stored_kwh

MakeCommunity = Callable[..., Community]

SUN = np.array([3.0, 0.0, 0.0, 2.0])
NEED = np.array([0.0, 1.5, 1.5, 1.0])


def battery(name: str) -> Battery:
    return Battery(
        id=DeviceId(name), max_charge_kw=2.0, max_discharge_kw=2.0, capacity_kwh=4.0, initial_kwh=0.5, final_kwh=0.5,
        min_kwh=0.25, self_discharge=0.01,
    )  # fmt: skip


@pytest.fixture
def community(make_community: MakeCommunity) -> Community:
    peers = {
        name: [
            battery(f"battery {name}"),
            Curtailable(id=DeviceId(f"pv {name}"), available_kw=SUN * (k + 1) / 2),
            FixedLoad(id=DeviceId(f"load {name}"), power_kw=NEED * (3 - k) / 2),
        ]
        for k, name in enumerate(("a", "b", "c"))
    }
    links = [Link(seller=PeerId(s), buyer=PeerId(b), network_charge=0.01) for s in peers for b in peers if s != b]
    return make_community(peers, import_price=[0.3] * 4, export_price=[0.05] * 4, links=links)


def idle(problem: Problem) -> Descent:
    """All batteries at rest but for what they lose, which they charge again."""
    held = tuple(np.full((part.place.size, 4), 0.01) for part in problem.parts)
    return Descent(problem, held, problem.available_kw)


def test_batteries_move_together_where_that_is_cheaper_and_stay_within_their_rules(community: Community) -> None:
    problem = Problem.of(community)
    descent = idle(problem)
    before = descent.value()
    prices = find_prices(problem, rounds=40).prices
    assert blend(descent, prices, rounds=20, iterations=10, stiffness=STIFFNESS)
    assert descent.value() < before - 0.1
    terms = Terms(horizon=community.horizon, shortfall_price=community.shortfall_price, tolerance_kw=1e-6)
    (part,) = problem.parts
    for device, power in zip(part.blocks.batch.devices, descent.power[0], strict=True):
        assert isinstance(device, Battery)
        stored = stored_kwh(device, power, community.horizon)
        claim = Claim(
            power_kw=power,
            shortfall=max(0.0, device.final_kwh - float(stored[-1])),
            state_kwh=stored,
            temperature_c=np.empty(0),
        )
        assert check_battery(device, claim, terms).residual_kw < 1e-9


def test_what_gains_nothing_changes_nothing(community: Community) -> None:
    problem = Problem.of(community)
    descent = idle(problem)
    prices = find_prices(problem, rounds=40).prices
    for _ in range(20):
        descent.sweep(np.arange(3))
        if not blend(descent, prices, rounds=30, iterations=10, stiffness=STIFFNESS):
            break
    else:
        pytest.fail("blending gained for ever")
    power, produced, value = descent.power[0].copy(), descent.produced.copy(), descent.value()
    assert not blend(descent, prices, rounds=30, iterations=10, stiffness=STIFFNESS)
    np.testing.assert_array_equal(descent.power[0], power)
    np.testing.assert_array_equal(descent.produced, produced)
    assert descent.value() == pytest.approx(value, abs=1e-9)


def test_without_batteries_there_is_nothing_to_blend(make_community: MakeCommunity) -> None:
    problem = Problem.of(make_community({"a": []}, import_price=[0.3], export_price=[0.1]))
    descent = Descent(problem, (), problem.available_kw)
    prices = find_prices(problem, rounds=6).prices
    assert not blend(descent, prices, rounds=5, iterations=5, stiffness=STIFFNESS)
