r"""Clearing with devices: the community's whole mixed-integer problem, with a proven gap.

1. Prices by decomposition (``decomposition.master``): consensus between homes, trades and envelopes on the convexified
   problem; the oracles of all devices give columns and a lower bound that holds for every whole-number schedule.
2. A feasible schedule by rounding (``decomposition.dither``): one column a device, the errors diffused.
3. Polishing (``decomposition.descent``): block by block the exact best response to what the neighbourhood leaves, then
   batteries all together (``decomposition.blending``), then blocks as they were at other prices
   (``decomposition.swapping``) and homes torn out and put back in other orders (``decomposition.rebuilding``), while
   the budget lasts. Each step is taken only where it costs less.
4. Where that leaves a gap, home by home a better bound (``decomposition.splitting``): what convexity leaves open where
   links are dear and devices share what their own roof gives.
5. A home or two, where convexity tells little, are finished by ``reference`` in one search tree of bounded size.
6. What is found is re-counted by ``certificate``, with the bound.

Work is counted in rounds and steps, so equal input gives equal output. A deadline enters as a callable that tells how
much of the time is spent; a schedule that it cut short is the best so far, with its gap. The first schedule is always
finished: feasibility comes before any deadline.

References
----------
A. Frangioni (2005), "About Lagrangian methods in integer optimization", Annals of OR 139: bound and convexification.
R. M. Starr (1969), "Quasi-equilibria in markets with non-convex preferences", Econometrica 37(1): why the gap of a
device fades with the size of the community (Shapley-Folkman).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from optimization.certificate import FEASIBILITY_TOLERANCE_KW, certify, relative_gap
from optimization.clearing import Clearing, Infeasible, Outcome
from optimization.community import Community
from optimization.decomposition.blending import blend, feasible_kw
from optimization.decomposition.descent import Descent, Schedules
from optimization.decomposition.dither import choose
from optimization.decomposition.master import (
    SETTLED_GAIN,
    STIFFNESS,
    Consensus,
    Prices,
    find_prices,
    home_bounds,
    shared_bound,
)
from optimization.decomposition.pilot import pilot
from optimization.decomposition.problem import Problem
from optimization.decomposition.rebuilding import rebuild
from optimization.decomposition.splitting import costs_of, split_bounds
from optimization.decomposition.swapping import swap
from optimization.devices import Battery
from optimization.devices.oracle import Integers, pulled
from optimization.devices.thermostats import FINE, QUICK, ROUGH, Switched
from optimization.errors import SolverError
from optimization.limits import conflict
from optimization.quantities import DeviceId, Floats
from optimization.reference.dispatch import dispatch
from optimization.states import shortfall_of, states_of
from optimization.trading import without_closed
from optimization.whole_numbers import name_conflict, settle

Spent = Callable[[], float]
"""Tells which share of the time is over: 0 at first, 1 at the deadline."""

PRICES_SHARE = 0.45
"""Of the time, after which the search for prices ends."""

REFINED_SHARE = 0.65
"""Of the time, after which a bound is taken as it is."""


SPLIT_SHARE = 0.8
"""Of the time, after which homes' bounds are taken as they are."""

POLISHED_SHARE = 0.9
"""Of the time, after which sweeps end."""

PRICES_GAP = 0.05
"""Growth of the bound that is not waited for, relative to the gap that is wanted."""

SWAPPED = 8
"""Rebuilds for each swap of a block, before them and after."""

WORTHWHILE = 1e-5
"""Relative gain of a sweep below which the next is not worth its while."""


CELLS = 240
CELLS_IN_ALL = 12_000
"""Temperature cells of on/off thermostats while prices are sought: of each at most, and of all together."""

EXACT_SIZE = 400
"""Blocks times MTUs of a community so small that a search tree ends: a home or two, where convexity tells little."""

EXACT_NODES = 200
EXACT_SHARE = 0.3
"""Of the time, after which that search is not begun any more."""

EXACT_PART = 0.8
"""Of what is left then, after which it ends: the problem is written down before it, and read after it."""

ESCALATION = 100.0
ESCALATIONS = 2
"""How often, and how much, being beyond the limits is made dearer where a schedule has preferred it to keeping them."""


def unlimited() -> float:
    """No deadline: nothing of the time is ever spent."""
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleOptions:
    """How much work a schedule is worth; all counted in steps, none in seconds.

    Attributes
    ----------
    gap : relative gap at which the search may end
    rounds : of the oracles in the search for prices, at most
    iterations : of the consensus between two of them
    sweeps : most sweeps of the descent over all blocks
    splits : rounds in which homes' devices are asked at prices of their own, for a tighter bound, at most
    rebuilds : times that a few blocks are torn out and put back, at most; blocks are swapped an eighth as often, before
        and after
    resolution : temperature cells of on/off thermostats for the bound
    start : prices to begin with, as of an earlier plan
    deadline_s : seconds after which all of the time is spent, for the solver of ``reference``, which has its own clock;
        None where nothing but steps ends a search
    """

    gap: float = 1e-4
    rounds: int = 160
    iterations: int = 10
    sweeps: int = 12
    splits: int = 60
    rebuilds: int = 2000
    resolution: int = FINE
    start: Prices | None = None
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A clearing with what a later one can begin with.

    Attributes
    ----------
    outcome : Clearing, or Infeasible
    prices : dual prices of the bound
    rounds : of the oracles that were asked
    rebuilt : attempts at swapping and rebuilding that gained
    """

    outcome: Outcome
    prices: Prices
    rounds: int
    rebuilt: int


def schedule(community: Community, *, options: ScheduleOptions | None = None, spent: Spent = unlimited) -> Outcome:
    """The cheapest schedules and trades that the budget finds, with a proven lower bound.

    Parameters
    ----------
    community : the problem
    options : the budget
    spent : tells which share of the time is over

    Returns
    -------
    Clearing, or Infeasible where the limits conflict with what nobody can change

    Raises
    ------
    SolverError
        If no schedule within the limits was found, and no proof that there is none.
    """
    return schedule_with_prices(community, options=options, spent=spent).outcome


def schedule_with_prices(
    community: Community, *, options: ScheduleOptions | None = None, spent: Spent = unlimited
) -> Schedule:
    """As ``schedule``, with the dual prices, from which a later search can start."""
    options = options or ScheduleOptions()
    problem = Problem.of(community)
    consensus = find_prices(
        problem.refined(_cells(problem)),
        rounds=options.rounds,
        iterations=options.iterations,
        start=options.start or pilot(community, iterations=options.iterations),
        gain=max(SETTLED_GAIN, PRICES_GAP * options.gap),
        stop=lambda: spent() >= PRICES_SHARE,
    )
    resolution = options.resolution if spent() < REFINED_SHARE else QUICK
    homes = home_bounds(problem.refined(resolution), consensus.prices)
    descent = Descent(problem, _rounded(problem, consensus), consensus.produced)
    _descend(descent, consensus.prices, options, spent)
    bound = float(_split(descent, consensus.prices, homes, options, spent).sum())
    bound += shared_bound(problem, consensus.prices)
    rebuilt = _rebuild(descent, consensus, bound, options, spent)
    for _ in range(ESCALATIONS):
        if _beyond_kw(problem, descent.net) <= FEASIBILITY_TOLERANCE_KW:
            break
        # A long discomfort may outweigh what being beyond a limit counts: limits come before everything.
        descent.penalty *= ESCALATION
        _descend(descent, consensus.prices, options, spent)
        rebuilt += _rebuild(descent, consensus, bound, options, spent)
    found = descent.schedules()
    outcome: Outcome
    if _beyond_kw(problem, found.net_kw) > FEASIBILITY_TOLERANCE_KW:
        outcome = _impossible(community, found, spent)
    else:
        outcome = _clearing(community, bound, found, consensus.prices)
        if spent() < EXACT_SHARE and problem.peer.size * community.horizon.mtus <= EXACT_SIZE:
            left = None if options.deadline_s is None else EXACT_PART * (1.0 - spent()) * options.deadline_s
            outcome = _finished(community, outcome, options.gap, left)
    return Schedule(outcome=outcome, prices=consensus.prices, rounds=consensus.rounds, rebuilt=rebuilt)


def _cells(problem: Problem) -> int:
    """Temperature cells of on/off thermostats while prices are sought: many where there are few of them.

    What rough answers are beside the cheapest misleads a home, and is noise in a neighbourhood.
    """
    loads = sum(part.place.size for part in problem.parts if isinstance(part.blocks.batch, Switched))
    return max(ROUGH, min(CELLS, CELLS_IN_ALL // max(1, loads)))


def _split(descent: Descent, prices: Prices, homes: Floats, options: ScheduleOptions, spent: Spent) -> Floats:
    """(N,) the homes' bounds, tighter where they leave a gap that is not wanted."""
    problem, value = descent.problem, descent.value()
    bound = float(homes.sum()) + shared_bound(problem, prices)
    if options.splits == 0 or relative_gap(value, bound) <= options.gap:
        return homes
    return split_bounds(
        problem,
        prices,
        homes,
        costs_of(problem, prices, descent.block_kw, descent.own, descent.produced),
        wanted=options.gap * abs(value),
        rounds=options.splits,
        stop=lambda: spent() >= SPLIT_SHARE,
    )


def _rebuild(descent: Descent, consensus: Consensus, bound: float, options: ScheduleOptions, spent: Spent) -> int:
    """Tear out and put back while the budget lasts; a deadline ends it only once the limits are kept.

    Before and after it, blocks try what they did at the prices on the way.
    """

    def stop() -> bool:
        return spent() >= 1.0 and _beyond_kw(descent.problem, descent.net) <= FEASIBILITY_TOLERANCE_KW

    swaps = options.rebuilds // SWAPPED
    gained = swap(descent, consensus.hulls, limit=swaps, bound=bound, gap=options.gap, stop=stop)
    gained += rebuild(descent, limit=options.rebuilds, bound=bound, gap=options.gap, stop=stop)
    return gained + swap(descent, consensus.hulls, limit=swaps, bound=bound, gap=options.gap, stop=stop)


def _descend(descent: Descent, prices: Prices, options: ScheduleOptions, spent: Spent) -> None:
    """Sweep over all blocks, the largest first, and blend, until nothing moves; at least until the limits are kept."""
    order = _by_energy(descent.block_kw)
    blending = True
    for count in range(options.sweeps):
        before = descent.value()
        descent.sweep(order)
        kept = _beyond_kw(descent.problem, descent.net) <= FEASIBILITY_TOLERANCE_KW
        if count and spent() >= POLISHED_SHARE and kept:
            break
        if blending and count >= 1:
            blending = blend(descent, prices, rounds=20, iterations=options.iterations, stiffness=STIFFNESS)
        if not blending and before - descent.value() <= WORTHWHILE * abs(before):
            break
    # What a consensus leaves unused by a hair beside a limit is used: exactly, battery by battery.
    descent.sweep(order)


def _by_energy(power: Floats) -> Integers:
    return np.argsort(-np.abs(power).sum(axis=1), kind="stable")


def _rounded(problem: Problem, consensus: Consensus) -> tuple[Floats, ...]:
    """Per part, (R, T) kW of its devices: a column for each block."""
    hulls = consensus.hulls
    chosen = choose(hulls, problem.peer, _by_energy(consensus.mixed_kw))
    power = hulls.column[np.arange(chosen.size), chosen]
    rows = []
    for part in problem.parts:
        mine = power[part.place]
        if isinstance(part.blocks.batch.devices[0], Battery):
            rows.append(
                feasible_kw(part.blocks.batch.devices, consensus.mixed_kw[part.place], problem.community.horizon)
            )
            continue
        if len(part.blocks.batch.devices) != part.place.size:
            # A chain's column is the sum of its programmes; those that make it up are the nearest ones.
            mine = part.blocks.batch.respond(pulled(mine, 1e3)).power_kw
        rows.append(mine)
    return tuple(rows)


def _beyond_kw(problem: Problem, net: Floats) -> float:
    """The worst that any envelope is exceeded by, under (N, T) net powers."""
    sums = problem.member @ net
    return float(np.maximum(sums - problem.upper_kw, problem.lower_kw - sums).max(initial=0.0))


def _impossible(community: Community, found: Schedules, spent: Spent) -> Outcome:
    """The proof that the limits cannot be kept; of a small community also the schedule that was overlooked.

    Raises
    ------
    SolverError
        If there is neither: then the search has failed, not the community.
    """
    reason = conflict(community)
    if reason is not None:
        return Infeasible(reason=name_conflict(community, reason, spent))
    settled = settle(community, spent)
    if settled is None:
        raise SolverError(
            f"schedule: got {found.excess_kwh:.3g} kWh beyond the limits at best, wanted none or a proof of a conflict"
        )
    return settled


def _finished(community: Community, found: Clearing, gap: float, left_s: float | None) -> Clearing:
    """A small community's clearing after a search in one tree of so many seconds: better schedule, higher bound."""
    if relative_gap(found.objective, found.lower_bound) <= gap:
        return found
    try:
        other = dispatch(community, gap=gap, node_limit=EXACT_NODES, time_limit=left_s)
    except SolverError:
        return found
    if not isinstance(other, Clearing) or not certify(community, other).feasible:
        return found
    better = replace(other, price=found.price) if other.objective < found.objective else found
    return replace(better, lower_bound=max(found.lower_bound, min(other.lower_bound, better.objective)))


def _clearing(community: Community, bound: float, found: Schedules, prices: Prices) -> Clearing:
    """The answer as a value, its objective recounted; its prices are those that prove the bound."""
    device_kw = {DeviceId(device.id): found.power_kw[row] for row, (_, device) in enumerate(community.devices())}
    states = states_of(community, device_kw)
    # The search counts links as open that are closed for some MTUs: its bound holds, and the gap says what that costs.
    trades = without_closed(community, found.trades, found.net_kw)
    clearing = Clearing(
        device_kw=device_kw,
        state_kwh=states.state_kwh,
        temperature_c=states.temperature_c,
        shortfall=shortfall_of(community, device_kw),
        trade_kwh=trades.trade_kwh,
        import_kwh=trades.import_kwh,
        export_kwh=trades.export_kwh,
        price=prices.peer,
        objective=float("nan"),
        lower_bound=bound,
    )
    return replace(clearing, objective=certify(community, clearing).objective)
