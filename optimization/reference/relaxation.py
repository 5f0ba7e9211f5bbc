"""The convex relaxation of the dispatch with devices, in cvxpy: whole numbers may lie anywhere between their bounds.

The problem is the one that ``optimization.reference.dispatch`` states. Its optimum is a lower bound of it, in general a
weaker one than a search over whole numbers or the devices' best responses prove; the multipliers of its balances are
prices. Quadratic costs are what they are.

References
----------
Sorin, Bobo, Pinson (2019), "Consensus-based approach to peer-to-peer electricity markets with product
differentiation", IEEE Trans. Power Systems 34(2), eq. (1).
"""

from dataclasses import dataclass
from typing import Any

import cvxpy
import numpy as np

from optimization.clearing import Infeasible
from optimization.community import Community, DeviceId, Floats, Generator, PeerId, Programme
from optimization.errors import SolverError
from optimization.reference.conflict import conflict
from optimization.reference.devices.order import in_order
from optimization.reference.relaxed_devices import Relaxed, relax_device

TOLERANCE = 1e-9
"""For feasibility and gap, as the solvers understand them."""

cp: Any = cvxpy
"""Its functions are exported in a way that type checkers do not see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """The optimum of the relaxation.

    Attributes
    ----------
    lower_bound : currency below which no schedule can cost, to the solver's tolerance
    price : (N, T) currency/kWh, the multiplier of each peer's balance
    """

    lower_bound: float
    price: Floats


def relax(community: Community) -> Relaxation | Infeasible:
    """The least cost of a community whose devices may do anything between what they may do.

    Parameters
    ----------
    community : the problem

    Returns
    -------
    Relaxation, or Infeasible where envelopes and devices conflict even so

    Raises
    ------
    SolverError
        If the solver (HiGHS, or Clarabel where costs are quadratic) ends otherwise.
    """
    hours, tariff, shape = community.horizon.hours, community.tariff, (len(community.peers), community.horizon.mtus)
    devices = relaxed_devices(community)
    rows = [
        sum((devices[device.id].power for device in peer.devices), cp.Constant(np.zeros(shape[1])))
        for peer in community.peers
    ]
    net, traded = cp.vstack(rows), cp.Variable((max(1, len(community.links)), shape[1]), nonneg=True)
    imported, exported = cp.Variable(shape, nonneg=True), cp.Variable(shape, nonneg=True)
    supply = _flow(community) @ traded + imported - exported
    balance = hours * net - supply == 0
    cost = cp.sum(cp.multiply(tariff.import_price[None, :], imported))
    cost -= cp.sum(cp.multiply(tariff.export_price[None, :], exported))
    cost += np.array([link.cost for link in community.links] or [0.0]) @ cp.sum(traded, axis=1)
    cost += sum(device.cost for device in devices.values())
    for device, planned in community.planned_kw.items():
        cost += community.change_price * hours * cp.norm1(devices[device].power - planned)
    rules = [balance, *_envelopes(community, net), *(rule for device in devices.values() for rule in device.rules)]
    problem = cp.Problem(cp.Minimize(cost), rules)
    if not _solved(problem, community):
        return Infeasible(reason=conflict(community))
    return Relaxation(lower_bound=float(problem.value), price=np.asarray(balance.dual_value, dtype=np.float64))


def relaxed_devices(community: Community) -> dict[DeviceId, Relaxed]:
    """Each device with its power, rules and cost, as expressions of one problem."""
    devices: dict[DeviceId, Relaxed] = {}
    for peer in community.peers:
        for device in in_order(peer.devices):
            before = device.follows if isinstance(device, Programme) else None
            ends = None if before is None else devices[before].ends
            devices[device.id] = relax_device(device, community.horizon, community.shortfall_price, ends)
    return devices


def _flow(community: Community) -> Floats:
    """(N, L) what a trade over each link brings each peer; one idle column where there are no links."""
    row: dict[PeerId, int] = {peer.id: n for n, peer in enumerate(community.peers)}
    flow = np.zeros((len(community.peers), max(1, len(community.links))))
    for k, link in enumerate(community.links):
        flow[row[link.buyer], k] += 1.0
        flow[row[link.seller], k] -= 1.0
    return flow


def _envelopes(community: Community, net: Any) -> list[Any]:
    rules = []
    for envelope in community.envelopes:
        members = np.array([float(peer.id in envelope.peers) for peer in community.peers])
        total, lower, upper = members @ net, envelope.lower_kw, envelope.upper_kw
        bounded = np.flatnonzero(np.isfinite(lower))
        rules += [total[bounded] >= lower[bounded]] if bounded.size else []
        bounded = np.flatnonzero(np.isfinite(upper))
        rules += [total[bounded] <= upper[bounded]] if bounded.size else []
    return rules


def _solved(problem: Any, community: Community) -> bool:
    """Whether there is an optimum; False where there is proof that nothing is feasible."""
    curved = any(isinstance(device, Generator) and device.quadratic_cost for _, device in community.devices())
    try:
        if curved:
            problem.solve(solver=cp.CLARABEL, tol_gap_abs=TOLERANCE, tol_gap_rel=TOLERANCE, tol_feas=TOLERANCE)
        else:
            problem.solve(solver=cp.HIGHS, primal_feasibility_tolerance=TOLERANCE, dual_feasibility_tolerance=TOLERANCE)
    except cp.error.SolverError as err:
        raise SolverError(f"cvxpy: {err}") from err
    if problem.status not in {cp.OPTIMAL, cp.INFEASIBLE, cp.settings.INFEASIBLE_OR_UNBOUNDED}:
        raise SolverError(f"cvxpy: got {problem.status}, wanted an optimum or a proof of infeasibility")
    return bool(problem.status == cp.OPTIMAL)
