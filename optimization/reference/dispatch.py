r"""The multi-bilateral economic dispatch with device schedules, as a mixed-integer programme in pyomo.

With links :math:`(n, m)`, MTUs :math:`t` of :math:`\Delta` hours, devices :math:`d`:

.. math::

    \min \sum_{nm,t} c_{nm} e_{nm}(t) + \sum_{n,t} (\pi^i_t\, i_n(t) - \pi^x_t\, x_n(t))
         + \sum_b k_b \Delta \sum_t p^-_b(t) + M \sum_d s_d + W

    \Delta q_n(t) = \sum_m e_{mn}(t) - \sum_m e_{nm}(t) + i_n(t) - x_n(t), \qquad
    q_n(t) = \sum_{d \in n} p_d(t)

with :math:`s_d` what a device's task falls short by, and :math:`W` the small costs of waiting and of starting, which
let ties go to the earlier MTU and to running in one go. One variable :math:`e_{nm}` stands for each ordered pair, so
that reciprocity cannot be broken. The prices are the duals of the balances, from the linear programme that remains when
the whole numbers are fixed at their optimum.

References
----------
Sorin, Bobo, Pinson (2019), "Consensus-based approach to peer-to-peer electricity markets with product
differentiation", IEEE Trans. Power Systems 34(2), eq. (1).
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.contrib.appsi.base import TerminationCondition
from pyomo.contrib.appsi.solvers import Highs

from optimization.clearing import Clearing, Infeasible, Outcome
from optimization.community import Battery, Community, Curtailable, DeviceId, FixedLoad, Floats, Interruptible
from optimization.errors import SolverError

SHORTFALL_TOLERANCE = 1e-6

Commitment = Mapping[DeviceId, Floats]
"""On (1) or off (0) of each appliance in each MTU, charging (1) or not (0) of each battery that must be told."""


def dispatch(community: Community, *, gap: float = 0.01) -> Outcome:
    """The cheapest trades and schedules of a community, within a declared gap.

    Parameters
    ----------
    community : the problem
    gap : relative distance to the proven lower bound at which the search for whole numbers may end

    Returns
    -------
    Clearing, or Infeasible when the solver proves that envelopes and loads conflict

    Raises
    ------
    SolverError
        If HiGHS ends otherwise. It has no time limit, one thread and a fixed seed: equal input, equal output.
    """
    model = _build(community, commitment=None)
    _forbid_waste(model, community)
    solver = _solve(model, gap)
    if solver is None:
        return Infeasible(reason=_conflict(community))
    bound = solver.best_objective_bound
    commitment = {
        DeviceId(device): np.array([round(pyo.value(model.on[device, t])) for t in model.mtus], dtype=float)
        for device in model.appliances
    } | {
        DeviceId(device): np.array([round(pyo.value(model.charging[device, t])) for t in model.mtus], dtype=float)
        for device in model.one_way
    }
    relaxed = _build(community, commitment=commitment)
    _forbid_waste(relaxed, community)
    solution = _solve(relaxed, gap)
    if solution is None:
        raise SolverError("HiGHS: got an infeasible linear programme with its own whole numbers fixed")
    duals = solution.solution_loader.get_duals()
    return _read(community, relaxed, duals, float(bound))


def _build(community: Community, commitment: Commitment | None) -> Any:
    """The model: a mixed-integer one without a commitment, a linear one with it."""
    model = pyo.ConcreteModel()
    hours = community.horizon.hours
    model.mtus = range(community.horizon.mtus)
    model.peers = [peer.id for peer in community.peers]
    model.links = range(len(community.links))
    by_kind: dict[type, dict[DeviceId, Any]] = defaultdict(dict)
    for _, device in community.devices():
        by_kind[type(device)][device.id] = device
    batteries: dict[DeviceId, Battery] = by_kind[Battery]
    plants: dict[DeviceId, Curtailable] = by_kind[Curtailable]
    appliances: dict[DeviceId, Interruptible] = by_kind[Interruptible]
    model.batteries, model.plants, model.appliances = list(batteries), list(plants), list(appliances)

    model.traded = pyo.Var(model.links, model.mtus, within=pyo.NonNegativeReals)
    model.imported = pyo.Var(model.peers, model.mtus, within=pyo.NonNegativeReals)
    model.exported = pyo.Var(model.peers, model.mtus, within=pyo.NonNegativeReals)
    model.produced = pyo.Var(model.plants, model.mtus, bounds=lambda m, d, t: (0.0, float(plants[d].available_kw[t])))
    model.charged = pyo.Var(model.batteries, model.mtus, bounds=lambda m, d, t: (0.0, batteries[d].max_charge_kw))
    model.discharged = pyo.Var(model.batteries, model.mtus, bounds=lambda m, d, t: (0.0, batteries[d].max_discharge_kw))
    model.stored = pyo.Var(model.batteries, model.mtus, bounds=lambda m, d, t: (0.0, batteries[d].capacity_kwh))
    model.start = pyo.Var(model.appliances, model.mtus, bounds=(0.0, 1.0))
    model.short = pyo.Var(model.batteries + model.appliances, within=pyo.NonNegativeReals)
    model.commitment = commitment
    on: Any
    if commitment is None:
        on = model.on = pyo.Var(model.appliances, model.mtus, within=pyo.Binary)
        for d, appliance in appliances.items():
            for t in model.mtus:
                if not appliance.first_mtu <= t < appliance.end_mtu:
                    model.on[d, t].fix(0)
    else:
        on = {(d, t): float(commitment[d][t]) for d in appliances for t in model.mtus}

    def power(device: Any, t: int) -> Any:
        match device:
            case FixedLoad():
                return float(device.power_kw[t])
            case Curtailable():
                return -model.produced[device.id, t]
            case Battery():
                return model.charged[device.id, t] - model.discharged[device.id, t]
            case _:
                return device.power_kw * on[device.id, t]

    model.net_kw = pyo.Var(model.peers, model.mtus)
    devices_of = {peer.id: peer.devices for peer in community.peers}
    model.net = pyo.Constraint(
        model.peers,
        model.mtus,
        rule=lambda m, n, t: m.net_kw[n, t] == sum(power(d, t) for d in devices_of[n]),
    )
    bought, sold = defaultdict(list), defaultdict(list)
    for index, link in enumerate(community.links):
        sold[link.seller].append(index)
        bought[link.buyer].append(index)
    model.balance = pyo.Constraint(
        model.peers,
        model.mtus,
        rule=lambda m, n, t: (
            sum(m.traded[k, t] for k in bought[n])
            - sum(m.traded[k, t] for k in sold[n])
            + m.imported[n, t]
            - m.exported[n, t]
            - hours * m.net_kw[n, t]
            == 0
        ),
    )
    model.storage = pyo.Constraint(
        model.batteries,
        model.mtus,
        rule=lambda m, d, t: (
            m.stored[d, t]
            == (m.stored[d, t - 1] if t else batteries[d].initial_kwh)
            + hours * batteries[d].charge_efficiency * m.charged[d, t]
            - hours / batteries[d].discharge_efficiency * m.discharged[d, t]
        ),
    )
    model.final = pyo.Constraint(
        model.batteries,
        rule=lambda m, d: m.stored[d, community.horizon.mtus - 1] + m.short[d] >= batteries[d].final_kwh,
    )
    model.starting = pyo.Constraint(
        model.appliances,
        model.mtus,
        rule=lambda m, d, t: m.start[d, t] >= on[d, t] - (on[d, t - 1] if t else float(appliances[d].running)),
    )
    model.task = pyo.Constraint(
        model.appliances,
        rule=lambda m, d: sum(on[d, t] for t in m.mtus) + m.short[d] == appliances[d].required_mtus,
    )
    model.envelope = pyo.Constraint(
        range(len(community.envelopes)),
        model.mtus,
        rule=lambda m, k, t: _bounds(m, community.envelopes[k], t),
    )
    tariff = community.tariff
    shortfall_cost = dict.fromkeys(batteries, community.shortfall_price) | {
        d: community.shortfall_price * appliance.power_kw * hours for d, appliance in appliances.items()
    }
    model.cost = pyo.Objective(
        expr=sum(community.links[k].cost * model.traded[k, t] for k in model.links for t in model.mtus)
        + sum(
            float(tariff.import_price[t]) * model.imported[n, t] - float(tariff.export_price[t]) * model.exported[n, t]
            for n in model.peers
            for t in model.mtus
        )
        + sum(hours * batteries[d].cycle_cost * model.discharged[d, t] for d in batteries for t in model.mtus)
        + sum(cost * model.short[d] for d, cost in shortfall_cost.items())
        + sum(
            hours * b.waiting_cost * (b.capacity_kwh - model.stored[d, t])
            for d, b in batteries.items()
            for t in model.mtus
        )
        + sum(
            hours**2 * a.waiting_cost * t * a.power_kw * on[d, t] + a.start_cost * model.start[d, t]
            for d, a in appliances.items()
            for t in model.mtus
        )
    )
    return model


def _forbid_waste(model: Any, community: Community) -> None:
    """Lets no battery charge and discharge at once, which none can, where that would be free or even pay."""
    negative = bool((community.tariff.import_price < 0).any())
    forced = any((envelope.lower_kw > 0).any() for envelope in community.envelopes)
    batteries = {
        device.id: device
        for _, device in community.devices()
        if isinstance(device, Battery)
        and device.charge_efficiency * device.discharge_efficiency < 1
        and (device.cycle_cost == 0 or negative or forced)
    }
    model.one_way = list(batteries)
    if model.commitment is None:
        model.charging = pyo.Var(model.one_way, model.mtus, within=pyo.Binary)
    else:
        model.charging = {(d, t): float(model.commitment[d][t]) for d in model.one_way for t in model.mtus}
    model.charges = pyo.Constraint(
        model.one_way,
        model.mtus,
        rule=lambda m, d, t: m.charged[d, t] <= batteries[d].max_charge_kw * m.charging[d, t],
    )
    model.discharges = pyo.Constraint(
        model.one_way,
        model.mtus,
        rule=lambda m, d, t: m.discharged[d, t] <= batteries[d].max_discharge_kw * (1 - m.charging[d, t]),
    )


def _bounds(model: Any, envelope: Any, t: int) -> Any:
    """One envelope in one MTU; an infinite bound is no bound."""
    total = sum(model.net_kw[n, t] for n in model.peers if n in envelope.peers)
    lower, upper = float(envelope.lower_kw[t]), float(envelope.upper_kw[t])
    if not envelope.peers or (np.isinf(lower) and np.isinf(upper)):
        return pyo.Constraint.Skip
    return pyo.inequality(None if np.isinf(lower) else lower, total, None if np.isinf(upper) else upper)


def _solve(model: Any, gap: float) -> Any:
    """HiGHS' results, or None when it proved that there is no solution."""
    solver = Highs()
    solver.config.load_solution = False
    solver.highs_options = {"threads": 1, "mip_rel_gap": gap, "random_seed": 0}
    results = solver.solve(model)
    match results.termination_condition:
        case TerminationCondition.optimal:
            results.solution_loader.load_vars()
            return results
        case TerminationCondition.infeasible | TerminationCondition.infeasibleOrUnbounded:
            return None
        case other:
            raise SolverError(f"HiGHS: got {other}, wanted an optimum or a proof of infeasibility")


def _read(community: Community, model: Any, duals: Any, bound: float) -> Clearing:
    """The solved linear model as a value."""
    mtus = model.mtus

    def values(variable: Any, key: Any) -> Floats:
        return np.array([pyo.value(variable[key, t]) for t in mtus])

    def table(variable: Any, keys: Any) -> Floats:
        return np.array([values(variable, key) for key in keys]).reshape(len(keys), len(mtus))

    device_kw: dict[DeviceId, Floats] = {}
    for _, device in community.devices():
        match device:
            case FixedLoad():
                device_kw[device.id] = device.power_kw
            case Curtailable():
                device_kw[device.id] = -values(model.produced, device.id)
            case Battery():
                device_kw[device.id] = values(model.charged, device.id) - values(model.discharged, device.id)
            case Interruptible():
                device_kw[device.id] = device.power_kw * model.commitment[device.id]
    shortfall = {DeviceId(d): float(pyo.value(model.short[d])) for d in model.batteries + model.appliances}
    return Clearing(
        device_kw=device_kw,
        state_kwh={DeviceId(d): values(model.stored, d) for d in model.batteries},
        shortfall={device: amount for device, amount in shortfall.items() if amount > SHORTFALL_TOLERANCE},
        trade_kwh=table(model.traded, model.links),
        import_kwh=table(model.imported, model.peers),
        export_kwh=table(model.exported, model.peers),
        price=np.array([[duals[model.balance[n, t]] for t in mtus] for n in model.peers]),
        objective=float(pyo.value(model.cost)),
        lower_bound=bound,
    )


def _conflict(community: Community) -> str:
    """The MTUs in which even the least possible consumption breaks an upper bound, or the most a lower one."""
    floor = {peer.id: np.zeros(community.horizon.mtus) for peer in community.peers}
    ceiling = {peer.id: np.zeros(community.horizon.mtus) for peer in community.peers}
    for peer, device in community.devices():
        match device:
            case FixedLoad():
                floor[peer.id] += device.power_kw
                ceiling[peer.id] += device.power_kw
            case Curtailable():
                floor[peer.id] -= device.available_kw
            case Battery():
                floor[peer.id] -= device.max_discharge_kw
                ceiling[peer.id] += device.max_charge_kw
            case Interruptible():
                ceiling[peer.id][device.first_mtu : device.end_mtu] += device.power_kw
    conflicts = []
    for envelope in community.envelopes:
        none = np.zeros(community.horizon.mtus)
        low = sum((floor[peer] for peer in sorted(envelope.peers)), none)
        high = sum((ceiling[peer] for peer in sorted(envelope.peers)), none)
        for t in np.flatnonzero(low > envelope.upper_kw):
            conflicts.append(f"{envelope.name} MTU {t}: at least {low[t]:.3f} kW, allowed {envelope.upper_kw[t]:.3f}")
        for t in np.flatnonzero(high < envelope.lower_kw):
            conflicts.append(f"{envelope.name} MTU {t}: at most {high[t]:.3f} kW, wanted {envelope.lower_kw[t]:.3f}")
    if conflicts:
        return "; ".join(conflicts[:5]) + ("" if len(conflicts) <= 5 else f"; and {len(conflicts) - 5} more")
    return "the envelopes cannot be kept over the whole horizon, though in each MTU alone they could"
