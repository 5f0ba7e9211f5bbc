r"""The multi-bilateral economic dispatch with device schedules, as a mixed-integer programme in pyomo.

With links :math:`(n, m)`, MTUs :math:`t` of :math:`\Delta` hours, devices :math:`d`:

.. math::

    \min \sum_{nm,t} c_{nm} e_{nm}(t) + \sum_{n,t} (\pi^i_t\, i_n(t) - \pi^x_t\, x_n(t))
         + \sum_d f_d(x_d) + \chi \Delta \sum_{d,t} |p_d(t) - \hat p_d(t)|

    x_d \in X_d, \qquad
    \Delta q_n(t) = \sum_m e_{mn}(t) - \sum_m e_{nm}(t) + i_n(t) - x_n(t), \qquad
    q_n(t) = \sum_{d \in n} p_d(t)

with :math:`X_d` and :math:`f_d` a device's rules and own cost, one file each under ``devices``, and :math:`\hat p_d`
what was planned for it, if anything. One variable :math:`e_{nm}` stands for each ordered pair, so that reciprocity
cannot be broken. The prices are the duals of the balances, from the linear programme that remains when the whole
numbers are fixed at their optimum.

References
----------
Sorin, Bobo, Pinson (2019), "Consensus-based approach to peer-to-peer electricity markets with product
differentiation", IEEE Trans. Power Systems 34(2), eq. (1).
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyomo.environ as pyo
from highspy import SolutionStatus
from pyomo.contrib.appsi.base import TerminationCondition
from pyomo.contrib.appsi.solvers import Highs

from optimization.clearing import Clearing, Infeasible, Outcome
from optimization.community import Community, DeviceId, Envelope, Floats, PeerId, Programme
from optimization.errors import SolverError
from optimization.reference.conflict import bounds_kw, conflict
from optimization.reference.devices.order import in_order
from optimization.reference.devices.writing import write_device
from optimization.reference.devices.written import Setting, Written

SHORTFALL_TOLERANCE = 1e-6

TOLERANCE = 1e-9
"""How far from whole numbers may be and from kept the rules, in their own units: a hundredth of HiGHS' default or less,
at which a shortfall's price times what is given away showed in the objective (1e-4 of 14)."""


def dispatch(
    community: Community, *, gap: float = 0.01, time_limit: float | None = None, node_limit: int | None = None
) -> Outcome:
    """The cheapest trades and schedules of a community, within a declared gap.

    Parameters
    ----------
    community : the problem
    gap : relative distance to the proven lower bound at which the search for whole numbers may end
    time_limit : seconds after which that search ends with what it has, at whatever gap; None for no limit. Finding the
        prices of what it has comes after it and has no limit of its own.
    node_limit : nodes of the search tree after which it ends so; None for no limit

    Returns
    -------
    Clearing, or Infeasible when the solver proves that envelopes and loads conflict

    Raises
    ------
    SolverError
        If HiGHS ends otherwise, without a schedule at the time limit too. It has one thread and a fixed seed: without a
        time limit, equal input gives equal output.
    """
    model, written = _build(community)
    search = _solve(model, gap=gap, time_limit=time_limit, node_limit=node_limit)
    if search is None:
        return Infeasible(reason=conflict(community))
    bound = search.best_objective_bound
    for variable in model.component_data_objects(pyo.Var):
        if variable.is_integer():
            # What no rule holds is not in the solver's answer, and may be anything.
            whole = 0 if variable.value is None else round(variable.value)
            variable.setlb(whole)
            variable.setub(whole)
            variable.domain = pyo.Reals
    solution = _solve(model, gap=gap, time_limit=None)
    if solution is None:
        raise SolverError("HiGHS: got an infeasible linear programme with its own whole numbers fixed")
    return _read(community, model, written, duals=solution.solution_loader.get_duals(), bound=float(bound))


def _build(community: Community) -> tuple[Any, dict[DeviceId, Written]]:
    """The mixed-integer model, and each device's lines in it."""
    model = pyo.ConcreteModel()
    written = _write_devices(model, community)
    tariff, hours, mtus = community.tariff, community.horizon.hours, range(community.horizon.mtus)
    peers, links = [peer.id for peer in community.peers], range(len(community.links))
    model.traded = pyo.Var(links, mtus, within=pyo.NonNegativeReals)
    model.imported = pyo.Var(peers, mtus, within=pyo.NonNegativeReals)
    model.exported = pyo.Var(peers, mtus, within=pyo.NonNegativeReals)
    model.net_kw = pyo.Var(peers, mtus)
    powers = {peer.id: [written[device.id].power for device in peer.devices] for peer in community.peers}
    model.net = pyo.Constraint(peers, mtus, rule=lambda m, n, t: m.net_kw[n, t] == sum(power[t] for power in powers[n]))
    bought, sold = defaultdict(list), defaultdict(list)
    for index, link in enumerate(community.links):
        for mtu in link.closed_mtus:
            model.traded[index, mtu].fix(0.0)
        sold[link.seller].append(index)
        bought[link.buyer].append(index)
    model.balance = pyo.Constraint(
        peers,
        mtus,
        rule=lambda m, n, t: (
            sum(m.traded[k, t] for k in bought[n])
            - sum(m.traded[k, t] for k in sold[n])
            + m.imported[n, t]
            - m.exported[n, t]
            - hours * m.net_kw[n, t]
            == 0
        ),
    )
    model.envelope = pyo.Constraint(
        range(len(community.envelopes)), mtus, rule=lambda m, k, t: _bounds(m, community.envelopes[k], t)
    )
    model.cost = pyo.Objective(
        expr=sum(community.links[k].cost * model.traded[k, t] for k in links for t in mtus)
        + sum(
            float(tariff.import_price[t]) * model.imported[n, t] - float(tariff.export_price[t]) * model.exported[n, t]
            for n in peers
            for t in mtus
        )
        + sum(lines.cost for lines in written.values())
        + _changes(model, community, written)
    )
    return model, written


def _write_devices(model: Any, community: Community) -> dict[DeviceId, Written]:
    """Each device's lines, in a block of its own; a programme's after those of the one that it follows."""
    model.device = pyo.Block(pyo.Any)
    wasteful = _may_pay_to_waste(community)
    written: dict[DeviceId, Written] = {}
    for peer in community.peers:
        for device in in_order(peer.devices):
            before = device.follows if isinstance(device, Programme) else None
            setting = Setting(
                horizon=community.horizon,
                shortfall_price=community.shortfall_price,
                may_pay_to_waste=wasteful[peer.id] | (community.change_price > 0 and device.id in community.planned_kw),
                ends_before=None if before is None else written[before].ends,
            )
            written[device.id] = write_device(model.device[device.id], device, setting)
    return written


def _may_pay_to_waste(community: Community) -> dict[PeerId, npt.NDArray[np.bool_]]:
    """(T,) of each peer, whether losing energy on purpose could lower the costs, wear left aside.

    It cannot where what is not wasted may be exported at no loss, and no lower bound on the peer's consumption could be
    in the way.
    """
    losing = community.tariff.export_price < 0
    wasteful = {peer.id: losing.copy() for peer in community.peers}
    for envelope in community.envelopes:
        least, _ = bounds_kw(community, envelope)
        for peer in envelope.peers:
            wasteful[peer] |= envelope.lower_kw > least
    return wasteful


def _changes(model: Any, community: Community, written: Mapping[DeviceId, Written]) -> Any:
    """What departing from an earlier plan costs."""
    if community.change_price == 0.0:
        return 0.0
    planned, mtus = community.planned_kw, range(community.horizon.mtus)
    model.change = pyo.Var(list(planned), mtus, within=pyo.NonNegativeReals)
    model.more = pyo.Constraint(
        list(planned), mtus, rule=lambda m, d, t: m.change[d, t] >= written[d].power[t] - float(planned[d][t])
    )
    model.less = pyo.Constraint(
        list(planned), mtus, rule=lambda m, d, t: m.change[d, t] >= float(planned[d][t]) - written[d].power[t]
    )
    return community.change_price * community.horizon.hours * sum(model.change[d, t] for d in planned for t in mtus)


def _bounds(model: Any, envelope: Envelope, t: int) -> Any:
    """One envelope in one MTU; an infinite bound is no bound."""
    # In the order of their names: that of a set is another in each process.
    total = sum(model.net_kw[n, t] for n in sorted(envelope.peers))
    lower, upper = float(envelope.lower_kw[t]), float(envelope.upper_kw[t])
    if not envelope.peers:
        # Nobody consumes nothing: a bound that excludes it excludes every schedule.
        return pyo.Constraint.Feasible if lower <= 0.0 <= upper else pyo.Constraint.Infeasible
    if np.isinf(lower) and np.isinf(upper):
        return pyo.Constraint.Skip
    return pyo.inequality(None if np.isinf(lower) else lower, total, None if np.isinf(upper) else upper)


def _solve(model: Any, *, gap: float, time_limit: float | None, node_limit: int | None = None) -> Any:
    """HiGHS' results, or None when it proved that there is no solution."""
    solver = Highs()
    # What HiGHS prints is not logged: a handler that fails would write to what pyomo captures, and wait for itself.
    solver.config.log_level = 0
    solver.config.load_solution = False
    solver.config.time_limit = time_limit
    solver.highs_options = {
        "threads": 1,
        "mip_rel_gap": gap,
        # Else it ends at 1e-6 currency, which is more than a small gap of a cost of a few cents.
        "mip_abs_gap": TOLERANCE,
        "mip_feasibility_tolerance": TOLERANCE,
        "primal_feasibility_tolerance": TOLERANCE,
        "dual_feasibility_tolerance": TOLERANCE,
        "random_seed": 0,
    }
    if node_limit is not None:
        solver.highs_options |= {"mip_max_nodes": node_limit}
    results = solver.solve(model)
    match results.termination_condition:
        case TerminationCondition.optimal:
            results.solution_loader.load_vars()
            return results
        case TerminationCondition.infeasible | TerminationCondition.infeasibleOrUnbounded:
            return None
        case TerminationCondition.maxTimeLimit if _has_incumbent(solver):
            results.solution_loader.load_vars()
            return results
        case TerminationCondition.maxTimeLimit:
            raise SolverError(f"HiGHS: got no schedule within {time_limit} s, wanted one")
        case _ if node_limit is not None and _has_incumbent(solver):
            results.solution_loader.load_vars()
            return results
        case other:
            raise SolverError(f"HiGHS: got {other}, wanted an optimum or a proof of infeasibility")


def _has_incumbent(solver: Highs) -> bool:
    """Whether a cut search for whole numbers has a feasible schedule in hand; a cut linear programme has no bound."""
    info = solver._solver_model.getInfo()
    return bool(info.primal_solution_status == SolutionStatus.kSolutionStatusFeasible and info.mip_node_count >= 0)


def _read(
    community: Community, model: Any, written: Mapping[DeviceId, Written], *, duals: Any, bound: float
) -> Clearing:
    """The solved linear model as a value."""
    mtus = range(community.horizon.mtus)

    def table(variable: Any, keys: Any) -> Floats:
        return np.array([[pyo.value(variable[key, t]) for t in mtus] for key in keys]).reshape(len(keys), len(mtus))

    schedules = {device.id: written[device.id].read() for _, device in community.devices()}
    short = {device: schedule.shortfall for device, schedule in schedules.items()}
    peers = [peer.id for peer in community.peers]
    return Clearing(
        device_kw={device: schedule.power_kw for device, schedule in schedules.items()},
        state_kwh={d: schedule.state_kwh for d, schedule in schedules.items() if schedule.state_kwh is not None},
        temperature_c={
            d: schedule.temperature_c for d, schedule in schedules.items() if schedule.temperature_c is not None
        },
        shortfall={device: amount for device, amount in short.items() if amount > SHORTFALL_TOLERANCE},
        trade_kwh=table(model.traded, range(len(community.links))),
        import_kwh=table(model.imported, peers),
        export_kwh=table(model.exported, peers),
        price=np.array([[duals[model.balance[n, t]] for t in mtus] for n in peers]),
        objective=float(pyo.value(model.cost)) + sum(schedule.above_model for schedule in schedules.values()),
        lower_bound=bound,
    )
