"""Planning a community's file: solved by the solver that was asked for, certified, and named for what it is."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from controller.plan.reading import CommunityFile
from controller.plan.result import Plan, Status
from optimization.certificate import Certificate, certify
from optimization.clearing import Clearing, Infeasible
from optimization.community import Battery, Community, Device, ElectricVehicle
from optimization.errors import SolverError
from optimization.fulfilment import ImpossibleTask, impossible_tasks
from optimization.members import Member, members_of
from optimization.scheduling import ScheduleOptions, Spent, schedule, unlimited
from optimization.states import shortfall_cost
from optimization.whole_numbers import name_conflict

DECOMPOSITION = "decomposition"
REFERENCE = "reference"
SOLVERS = (DECOMPOSITION, REFERENCE)

OPTIMAL_GAP = 1e-4
"""A plan is called optimal up to a hundredth of a percent."""

SEARCH_SHARE = 0.85
"""Of the time that is left, what the search gets; the rest is for what members would pay alone, and for writing."""

SHORTEST_SEARCH_S = 0.1
"""What the reference gets where no time is left: enough for what needs no search."""


PROVEN_SHARE = 0.5
"""Of what shortfalls cost: a bound that is nearer to the objective proves that most of them cannot be helped."""

MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """How to plan.

    Attributes
    ----------
    solver : ``decomposition`` or ``reference``
    gap : relative gap at which the search may end
    left : seconds that are left, asked now and then; None where there is no deadline
    """

    solver: str = DECOMPOSITION
    gap: float = OPTIMAL_GAP
    left: Callable[[], float] | None = None


def plan_community(given: CommunityFile, options: PlanOptions) -> Plan:
    """The plan of a community.

    Returns
    -------
    Plan
        ``OPTIMAL`` or ``FEASIBLE`` where every rule is kept and every task fulfilled, ``RELAXED`` where tasks fall
        short, ``INFEASIBLE`` where limits conflict, ``UNSOLVED`` where there is no certified answer: also where the
        reference's deadline came before it had a schedule that does what can be done.
    """
    plan = Plan(file=given, status="UNSOLVED", solver=options.solver, deadline=options.left is not None)
    try:
        outcome = _solve(given.community, options)
    except SolverError as err:
        return replace(plan, reason=str(err))
    match outcome:
        case Infeasible():
            return replace(plan, status="INFEASIBLE", reason=outcome.reason)
        case Clearing():
            pass
        case other:
            assert_never(other)
    certificate = certify(given.community, outcome)
    plan = replace(plan, certificate=certificate)
    if not certificate.feasible:
        broken = f"{certificate.violated} is broken by {certificate.primal_residual_kw:.3g} kW"
        return replace(plan, reason=f"the answer does not keep every rule: {broken}")
    if math.isfinite(certificate.lower_bound) and not math.isfinite(certificate.gap):
        return replace(plan, reason=f"the bound {certificate.lower_bound:.9g} lies above what it bounds")
    if options.solver == REFERENCE and options.left is not None and (reason := _cut_short(given, outcome, certificate)):
        return replace(plan, reason=reason)
    return replace(
        plan,
        status=_status(certificate, outcome),
        clearing=outcome,
        members=_members(given.community, outcome, options.left),
    )


def _cut_short(given: CommunityFile, clearing: Clearing, certificate: Certificate) -> str:
    """Why what a search had at its deadline is no plan: it leaves tasks undone that may well be possible.

    Empty where it does every task that is possible, or its bound proves that most of what falls short has to.
    """
    impossible = {task.device for task in find_impossible(given.community).tasks}
    short = {device: amount for device, amount in clearing.shortfall.items() if device not in impossible}
    if not short or certificate.distance <= PROVEN_SHARE * shortfall_cost(given.community, short):
        return ""
    names = [str(device) for device in sorted(short)]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return (
        f"at the deadline the search had only a schedule that leaves {', '.join(names[:MOST_NAMED])}{more} short, and "
        "no proof that they have to be; wanted more time, or the solver decomposition"
    )


def _status(certificate: Certificate, clearing: Clearing) -> Status:
    if clearing.shortfall:
        return "RELAXED"
    return "OPTIMAL" if certificate.gap <= OPTIMAL_GAP else "FEASIBLE"


def _solve(community: Community, options: PlanOptions) -> Clearing | Infeasible:
    if options.solver == REFERENCE:
        # pyomo costs a second to import.
        from optimization.reference.dispatch import dispatch

        limit = None if options.left is None else max(SHORTEST_SEARCH_S, SEARCH_SHARE * options.left())
        found = dispatch(community, gap=options.gap, time_limit=limit)
        if isinstance(found, Infeasible):
            return Infeasible(reason=name_conflict(community, found.reason, _spent(options.left)))
        return found
    search_s = None if options.left is None else SEARCH_SHARE * options.left()
    return schedule(
        community, options=ScheduleOptions(gap=options.gap, deadline_s=search_s), spent=_spent(options.left)
    )


def _spent(left: Callable[[], float] | None) -> Spent:
    """The share of the search's time that is over."""
    if left is None:
        return unlimited
    begun = left()
    search = SEARCH_SHARE * begun
    return lambda: 1.0 if search <= 0.0 else min(1.0, (begun - left()) / search)


def _members(community: Community, clearing: Clearing, left: Callable[[], float] | None) -> tuple[Member, ...]:
    return members_of(community, clearing, stop=None if left is None else lambda: left() <= 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Impossible:
    """What devices cannot do of what is asked of them.

    Attributes
    ----------
    tasks : that stop a plan unless shortfalls are allowed
    reserves : of stores that begin below their reserve, which planning keeps from sinking further
    """

    tasks: tuple[ImpossibleTask, ...]
    reserves: tuple[ImpossibleTask, ...]


def find_impossible(community: Community) -> Impossible:
    """The impossible tasks of a community, sorted by what becomes of them."""
    found = impossible_tasks(community)
    if not found:
        return Impossible(tasks=(), reserves=())
    peers = tuple(
        replace(peer, devices=tuple(_with_reachable_reserve(device) for device in peer.devices))
        for peer in community.peers
    )
    tasks = impossible_tasks(replace(community, peers=peers))
    return Impossible(tasks=tasks, reserves=tuple(task for task in found if task not in tasks))


def _with_reachable_reserve(device: Device) -> Device:
    if isinstance(device, Battery | ElectricVehicle) and device.initial_kwh < device.min_kwh:
        return replace(device, min_kwh=device.initial_kwh)
    return device
