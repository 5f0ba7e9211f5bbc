"""A lone peer's devices under powers by hand, and what a certificate says of them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from optimization.certificate import Certificate, certify
from optimization.clearing import Clearing
from optimization.community import Battery, Community, Device, DeviceId
from optimization.states import shortfall_of, states_of
from tests.optimization.lone_peer import lone_peer

INFINITY, NAN = float("inf"), float("nan")


def community_of(*devices: Device, mtus: int, **more: Any) -> Community:
    """One peer with some devices, where energy costs nothing: what remains is what the devices themselves cost.

    A kWh of shortfall costs 100 in it.
    """
    return lone_peer(*devices, import_price=np.zeros(mtus), export_price=np.zeros(mtus), **more)


def clearing_of(community: Community, powers: Mapping[str, Sequence[float]], **changes: Any) -> Clearing:
    """The clearing that powers mean, balanced with the grid; some of its fields replaced."""
    device_kw = {DeviceId(name): np.array(power, dtype=np.float64) for name, power in powers.items()}
    states = states_of(community, device_kw)
    energy = community.horizon.hours * np.array([np.sum(list(device_kw.values()), axis=0)])
    clearing = Clearing(
        device_kw=device_kw,
        state_kwh=states.state_kwh,
        temperature_c=states.temperature_c,
        shortfall=shortfall_of(community, device_kw, states),
        trade_kwh=np.zeros((0, community.horizon.mtus)),
        import_kwh=np.maximum(energy, 0.0),
        export_kwh=np.maximum(-energy, 0.0),
        price=np.zeros_like(energy),
        objective=0.0,
        lower_bound=-INFINITY,
    )
    return dataclasses.replace(clearing, **changes)


def certified(community: Community, power: Sequence[float], **changes: Any) -> Certificate:
    """Of a community with one device."""
    (name,) = [device.id for _, device in community.devices()]
    return certify(community, clearing_of(community, {name: power}, **changes))


def assert_right(certificate: Certificate, cost: float) -> None:
    assert certificate.violated == ""
    assert certificate.primal_residual_kw < 1e-9
    assert certificate.objective == pytest.approx(cost, abs=1e-9)


def assert_wrong(certificate: Certificate, device: str, residual_kw: float) -> None:
    assert not certificate.feasible
    assert certificate.violated == f"device {device}"
    assert certificate.primal_residual_kw == pytest.approx(residual_kw)


def battery(**changes: Any) -> Battery:
    fields = {"id": "battery", "max_charge_kw": 4.0, "max_discharge_kw": 4.0, "capacity_kwh": 8.0, "initial_kwh": 4.0}
    fields |= {"final_kwh": 2.0, "min_kwh": 1.0, "charge_efficiency": 0.5, "discharge_efficiency": 0.8}
    fields |= {"final_value": 0.1, "cycle_cost": 0.02, "waiting_cost": 0.01}
    return Battery(**(fields | changes))
