"""Devices so plain that a person can work out what is best for them, and how the reference answers."""

from typing import Any

import numpy as np
import pytest

from optimization.certificate import certify
from optimization.clearing import Clearing, Infeasible
from optimization.community import Battery, Community, Curtailable, FixedLoad, Interruptible, Link
from optimization.reference.dispatch import dispatch


def load(id_: str, *power_kw: float) -> FixedLoad:
    return FixedLoad(id=id_, power_kw=np.array(power_kw))


def pv(id_: str, *available_kw: float) -> Curtailable:
    return Curtailable(id=id_, available_kw=np.array(available_kw))


def battery(**changes: Any) -> Battery:
    """Empty, without losses or wear."""
    fields = {
        "id": "battery",
        "max_charge_kw": 10.0,
        "max_discharge_kw": 10.0,
        "capacity_kwh": 10.0,
        "initial_kwh": 0.0,
        "final_kwh": 0.0,
        "charge_efficiency": 1.0,
        "discharge_efficiency": 1.0,
        "cycle_cost": 0.0,
        "waiting_cost": 0.0,
    }
    return Battery(**(fields | changes))


def appliance(**changes: Any) -> Interruptible:
    """Owes two MTUs of the first four, whenever that is."""
    fields = {
        "id": "pump",
        "power_kw": 2.0,
        "first_mtu": 0,
        "end_mtu": 4,
        "required_mtus": 2,
        "waiting_cost": 0.0,
        "start_cost": 0.0,
    }
    return Interruptible(**(fields | changes))


def link(seller: str, buyer: str, cost: float = 0.0) -> Link:
    return Link(seller=seller, buyer=buyer, network_charge=cost)


def solved(community: Community, *, gap: float = 0.0) -> Clearing:
    """The clearing, which its certificate finds feasible and as dear as the solver says."""
    clearing = dispatch(community, gap=gap)
    assert isinstance(clearing, Clearing)
    certificate = certify(community, clearing)
    assert certificate.primal_residual_kw < 1e-6, certificate.violated
    assert certificate.objective == pytest.approx(clearing.objective, abs=1e-6)
    assert certificate.gap <= gap + 1e-6
    return clearing


def refused(community: Community) -> str:
    outcome = dispatch(community, gap=0.0)
    assert isinstance(outcome, Infeasible)
    return outcome.reason
