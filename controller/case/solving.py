"""Solving a case's market with the solver that was asked for and no other; its answer is certified before it counts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import assert_never

from controller.case.format import BILATERAL, Case
from controller.case.result import Result, result_of, without_clearing
from optimization.errors import SolverError
from optimization.market import Market
from optimization.market_certificate import MarketCertificate, certify
from optimization.market_clearing import MarketClearing, MarketConflict, MarketOutcome, Unserved, Unsolved

ACCEPTED_GAP = 1e-6
"""Relative: an answer is called optimal up to this, or up to the tolerance that the caller set, if that is wider."""


SMALLEST = 1e-9
"""Currency: a certificate's gap is relative to the objective's size, or to this if that is smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to solve.

    Attributes
    ----------
    solver : ``dispatch``, ``admm`` or ``reference``
    tolerance : the solver's own; None for its default
    scheme, penalty, max_iterations : of ADMM; None for its defaults
    start : where ADMM starts; None from nothing
    """

    solver: str = "dispatch"
    tolerance: float | None = None
    scheme: str | None = None
    penalty: float | None = None
    max_iterations: int | None = None
    start: MarketClearing | None = None

    @property
    def accepted_gap(self) -> float:
        """The relative gap up to which an answer is called optimal."""
        return max(ACCEPTED_GAP, self.tolerance or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """What solving gave.

    Attributes
    ----------
    result : for people and files
    clearing : the same as arrays; None where there is none
    """

    result: Result
    clearing: MarketClearing | None


def solve_case(case: Case, market: Market, options: Options) -> Solved:
    """The clearing of a case's market, certified.

    Parameters
    ----------
    case : the case
    market : its market in the scenario that is meant
    options : how

    Returns
    -------
    Solved
        The status is ``optimal`` where the answer keeps every rule and is proven within ``Options.accepted_gap`` of the
        best; ``infeasible`` where there is a proof that nothing keeps every rule; else ``unsolved``.
    """
    began = perf_counter()
    try:
        outcome = solver_of(options)(market)
    except SolverError as err:
        outcome = Unsolved(reason=str(err), best=MarketClearing.zeros(market))
    seconds = perf_counter() - began
    match outcome:
        case MarketClearing():
            return _certified(case, market, options, outcome, seconds=seconds)
        case Unsolved(reason=reason, best=best):
            return _judged(case, market, options, best, reason=reason, seconds=seconds)
        case MarketConflict():
            return _infeasible(case, options, outcome, seconds=seconds)
        case _:
            assert_never(outcome)


def solver_of(options: Options) -> Callable[[Market], MarketOutcome]:
    """The solver that the options mean; what it needs is imported here and not before."""
    match options.solver:
        case "dispatch":
            from optimization.dispatch import ACCEPTED, dispatch

            # The last digits cost a few steps; a looser stop would leave prices too far off to compare with answers.
            if options.tolerance is None or options.tolerance >= ACCEPTED:
                return dispatch
            tolerance = options.tolerance
            return lambda market: dispatch(market, tolerance=tolerance)
        case "admm":
            from optimization.admm import AdmmOptions, clear

            names = ("tolerance", "scheme", "penalty", "max_iterations")
            values = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
            return lambda market: clear(market, options=AdmmOptions(**values), start=options.start)
        case "reference":
            from optimization.reference.market import solve

            if options.tolerance is None:
                return solve
            tolerance = options.tolerance
            return lambda market: solve(market, tolerance=tolerance)
        case other:
            raise ValueError(f"solver: got {other!r}, wanted dispatch, admm or reference")


def _judged(
    case: Case, market: Market, options: Options, best: MarketClearing, *, reason: str, seconds: float
) -> Solved:
    """What a search that ended early is worth: its last iterate may be proven good enough, or nothing be possible."""
    exact = ACCEPTED_GAP if options.tolerance is None else options.tolerance
    if certify(market, best).optimal(exact):
        return _certified(case, market, options, best, seconds=seconds)
    if (conflict := _conflict(market)) is not None:
        return _infeasible(case, options, conflict, seconds=seconds)
    return _certified(case, market, options, best, reason=reason, seconds=seconds)


def _infeasible(case: Case, options: Options, conflict: MarketConflict, *, seconds: float) -> Solved:
    result = without_clearing(
        case,
        market=BILATERAL,
        solver=options.solver,
        status="infeasible",
        seconds=seconds,
        conflict=[named(entry) for entry in conflict.unserved],
    )
    return Solved(result=result, clearing=None)


def _certified(
    case: Case, market: Market, options: Options, clearing: MarketClearing, *, reason: str = "", seconds: float
) -> Solved:
    certificate = certify(market, clearing)
    reason = reason or _doubt(certificate, options)
    result = result_of(
        case,
        market,
        clearing,
        _with_constant(certificate, case.constant),
        solver=options.solver,
        status="unsolved" if reason else "optimal",
        reason=reason,
        seconds=seconds,
    )
    return Solved(result=result, clearing=clearing)


def _with_constant(certificate: MarketCertificate, constant: float) -> MarketCertificate:
    """The certificate of the same clearing where a constant is part of the cost."""
    if constant == 0:
        return certificate
    objective = certificate.objective + constant
    gap = certificate.gap * max(abs(certificate.objective), SMALLEST) / max(abs(objective), SMALLEST)
    return replace(certificate, objective=objective, lower_bound=certificate.lower_bound + constant, gap=gap)


def _doubt(certificate: MarketCertificate, options: Options) -> str:
    """What keeps an answer from being called optimal; empty for nothing."""
    if not certificate.feasible:
        return (
            f"recomputed feasibility: {certificate.violated} off by {certificate.primal_residual:.3g}, wanted at most "
            f"{certificate.tolerance:.3g}"
        )
    if not certificate.optimal(options.accepted_gap):
        distance = abs(certificate.objective - certificate.lower_bound)
        allowed = options.accepted_gap * max(abs(certificate.objective), certificate.stake)
        return f"recomputed gap: got {distance:.3g} above the lower bound, wanted at most {allowed:.3g}"
    return ""


def _conflict(market: Market) -> MarketConflict | None:
    """The proof that there is nothing to find, where a search found nothing."""
    from optimization.conflict import find_conflict

    try:
        return find_conflict(market)
    except SolverError:
        return None


def named(entry: Unserved) -> dict[str, str | int | float]:
    """What would have to give, as a result tells it."""
    return {"what": entry.what, "mtu": entry.mtu, "amount": entry.amount}
