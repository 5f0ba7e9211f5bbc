"""The solvers that a benchmark compares, each behind the same call and through its own Python interface.

An entry turns a program and a tolerance into a call that solves it. What brings matrices into a solver's form is done
before and is not timed; its own set-up and factorizations are. Our own solvers begin at the market.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import scipy.sparse as sp

from optimization.community import Floats
from optimization.market_clearing import MarketClearing, MarketConflict, Unsolved
from tests.benchmarks.quadratic import QuadraticProgram, point

MANY_ITERATIONS = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a solver said.

    Attributes
    ----------
    status : in the solver's own words
    x : (V,) variables; None where there are none
    multiplier : (R,) of the rows, positive at the upper side; None where there are none
    iterations : what the solver counts
    """

    status: str
    x: Floats | None
    multiplier: Floats | None
    iterations: int


Solve = Callable[[], Answer]
Prepare = Callable[[QuadraticProgram, float], Solve]


@dataclass(frozen=True, slots=True, kw_only=True)
class _OneSided:
    """Equations first, then what may not exceed a right-hand side: the form of conic solvers."""

    matrix: sp.csc_array
    right: Floats
    equations: int
    rows_above: np.ndarray
    rows_below: np.ndarray

    def multiplier(self, program: QuadraticProgram, dual: Floats) -> Floats:
        """Multipliers of the program's rows from those of this form."""
        values = np.zeros(program.row_lower.size)
        values[: self.equations] = dual[: self.equations]
        above, below = self.rows_above.size, self.rows_below.size
        values[self.rows_above] += dual[self.equations : self.equations + above]
        values[self.rows_below] -= dual[self.equations + above : self.equations + above + below]
        return values


def _one_sided(program: QuadraticProgram) -> _OneSided:
    limits = np.arange(program.equations, program.row_lower.size)
    above = limits[np.isfinite(program.row_upper[limits])]
    below = limits[np.isfinite(program.row_lower[limits])]
    most, least = np.flatnonzero(np.isfinite(program.upper)), np.flatnonzero(np.isfinite(program.lower))
    rows, eye = sp.csr_array(program.rows), sp.eye_array(program.linear.size, format="csr")
    return _OneSided(
        matrix=sp.csc_array(sp.vstack([rows[: program.equations], rows[above], -rows[below], eye[most], -eye[least]])),
        right=np.concatenate([
            program.row_upper[: program.equations],
            program.row_upper[above],
            -program.row_lower[below],
            program.upper[most],
            -program.lower[least],
        ]),
        equations=program.equations,
        rows_above=above,
        rows_below=below,
    )  # fmt: skip


def _matrix(values: Any) -> sp.csc_matrix:
    """A matrix with 32-bit indices of the class that bindings know."""
    matrix = sp.csc_matrix(values)
    matrix.sort_indices()
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32)
    return matrix


def _clarabel(program: QuadraticProgram, tolerance: float) -> Solve:
    import clarabel

    form = _one_sided(program)
    quadratic, matrix = _matrix(sp.diags_array(program.diagonal)), _matrix(form.matrix)
    cones = [clarabel.ZeroConeT(form.equations), clarabel.NonnegativeConeT(form.right.size - form.equations)]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_feas = settings.tol_gap_abs = settings.tol_gap_rel = tolerance

    def solve() -> Answer:
        solver = clarabel.DefaultSolver(quadratic, program.linear, matrix, form.right, cones, settings)
        found = solver.solve()
        return Answer(
            status=str(found.status),
            x=np.asarray(found.x),
            multiplier=form.multiplier(program, np.asarray(found.z)),
            iterations=found.iterations,
        )

    return solve


def _scs(program: QuadraticProgram, tolerance: float) -> Solve:
    import scs

    form = _one_sided(program)
    data = {
        "P": _matrix(sp.diags_array(program.diagonal)),
        "A": _matrix(form.matrix),
        "b": form.right,
        "c": program.linear,
    }
    cone = {"z": form.equations, "l": form.right.size - form.equations}

    def solve() -> Answer:
        solver = scs.SCS(
            data, cone, eps_abs=tolerance, eps_rel=tolerance, max_iters=MANY_ITERATIONS // 10, verbose=False
        )
        found = solver.solve()
        return Answer(
            status=found["info"]["status"],
            x=found["x"],
            multiplier=form.multiplier(program, found["y"]),
            iterations=found["info"]["iter"],
        )

    return solve


def _osqp(program: QuadraticProgram, tolerance: float) -> Solve:
    import osqp

    quadratic = _matrix(sp.diags_array(program.diagonal))
    rows = _matrix(sp.vstack([program.rows, sp.eye_array(program.linear.size)]))
    lower = np.concatenate([program.row_lower, program.lower])
    upper = np.concatenate([program.row_upper, program.upper])

    def solve() -> Answer:
        solver = osqp.OSQP()
        solver.setup(
            quadratic,
            program.linear,
            rows,
            lower,
            upper,
            eps_abs=tolerance,
            eps_rel=tolerance,
            max_iter=MANY_ITERATIONS,
            verbose=False,
        )
        found = solver.solve(raise_error=False)
        return Answer(
            status=found.info.status,
            x=found.x,
            multiplier=found.y[: program.row_lower.size],
            iterations=found.info.iter,
        )

    return solve


def _piqp(program: QuadraticProgram, tolerance: float) -> Solve:
    import piqp

    rows = sp.csr_array(program.rows)
    equal, limits = _matrix(rows[: program.equations]), rows[program.equations :]
    quadratic = _matrix(sp.diags_array(program.diagonal))
    right = program.row_upper[: program.equations]
    limited = limits.shape[0] > 0
    sides = (program.row_lower[program.equations :], program.row_upper[program.equations :])
    given = {"G": _matrix(limits), "h_l": sides[0], "h_u": sides[1]} if limited else {}

    def solve() -> Answer:
        solver = piqp.SparseSolver()
        settings = solver.settings
        settings.eps_abs = settings.eps_rel = tolerance
        settings.eps_duality_gap_abs = settings.eps_duality_gap_rel = tolerance
        solver.setup(quadratic, program.linear, A=equal, b=right, x_l=program.lower, x_u=program.upper, **given)
        status = solver.solve()
        found = solver.result
        beyond = found.z_u - found.z_l if limited else np.zeros(0)
        return Answer(
            status=str(status),
            x=np.array(found.x),
            multiplier=np.concatenate([found.y, beyond]),
            iterations=found.info.iter,
        )

    return solve


def _highs(program: QuadraticProgram, tolerance: float) -> Solve:
    import highspy

    model = highspy.HighsModel()
    lp, matrix = model.lp_, _matrix(program.rows)
    lp.num_col_, lp.num_row_ = matrix.shape[1], matrix.shape[0]
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = program.linear, program.lower, program.upper
    lp.row_lower_, lp.row_upper_ = program.row_lower, program.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = lp.num_col_, lp.num_row_
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    if program.diagonal.any():
        curved = _matrix(sp.diags_array(program.diagonal))
        model.hessian_.dim_ = lp.num_col_
        model.hessian_.format_ = highspy.HessianFormat.kTriangular
        model.hessian_.start_, model.hessian_.index_, model.hessian_.value_ = curved.indptr, curved.indices, curved.data

    def solve() -> Answer:
        solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("kkt_tolerance", tolerance)
        solver.setOptionValue("qp_nullspace_limit", 100_000)
        solver.passModel(model)
        solver.run()
        info, found = solver.getInfo(), solver.getSolution()
        counts = (info.qp_iteration_count, info.simplex_iteration_count, info.ipm_iteration_count)
        return Answer(
            status=solver.modelStatusToString(solver.getModelStatus()),
            x=np.array(found.col_value),
            multiplier=-np.array(found.row_dual),
            iterations=max(counts),
        )

    return solve


def _cvxpy(program: QuadraticProgram, tolerance: float) -> Solve:
    import cvxpy as cp

    def solve() -> Answer:
        x = cp.Variable(program.linear.size)
        rows = sp.csr_array(program.rows)
        capped, above, below = (
            np.flatnonzero(np.isfinite(side))
            for side in (
                program.upper,
                program.row_upper[program.equations :],
                program.row_lower[program.equations :],
            )
        )
        limits = rows[program.equations :]
        balance = rows[: program.equations] @ x == program.row_upper[: program.equations]
        most = limits[above] @ x <= program.row_upper[program.equations :][above]
        least = limits[below] @ x >= program.row_lower[program.equations :][below]
        curved = np.flatnonzero(program.diagonal)
        quadratic = cp.sum_squares(cp.multiply(np.sqrt(0.5 * program.diagonal[curved]), x[curved]))
        bounds = [x >= program.lower, x[capped] <= program.upper[capped]]
        given = [balance, *bounds]
        given += [constraint for constraint in (most, least) if constraint.size]
        problem = cp.Problem(cp.Minimize(quadratic + program.linear @ x if curved.size else program.linear @ x), given)
        problem.solve(solver=cp.CLARABEL, tol_feas=tolerance, tol_gap_abs=tolerance, tol_gap_rel=tolerance)
        multiplier = np.zeros(program.row_lower.size)
        if x.value is not None:
            multiplier[: program.equations] = balance.dual_value
            if most.size:
                multiplier[program.equations + above] += most.dual_value
            if least.size:
                multiplier[program.equations + below] -= least.dual_value
        return Answer(
            status=problem.status,
            x=x.value,
            multiplier=None if x.value is None else multiplier,
            iterations=problem.solver_stats.num_iters or 0,
        )

    return solve


def _dispatch(program: QuadraticProgram, tolerance: float) -> Solve:
    from optimization.dispatch import dispatch

    return lambda: _ours(program, dispatch(program.market, tolerance=tolerance))


def _admm(program: QuadraticProgram, tolerance: float) -> Solve:
    """ADMM stops by a rule of its own; its default is kept, and the residual says what came of it."""
    from optimization.admm import clear

    return lambda: _ours(program, clear(program.market))


def _ours(program: QuadraticProgram, outcome: Any) -> Answer:
    match outcome:
        case MarketClearing():
            x, multiplier = point(program, outcome)
            return Answer(status="cleared", x=x, multiplier=multiplier, iterations=outcome.iterations)
        case MarketConflict():
            return Answer(status="conflict", x=None, multiplier=None, iterations=0)
        case Unsolved():
            return Answer(status=f"unsolved: {outcome.reason}", x=None, multiplier=None, iterations=0)
        case _:
            raise TypeError(f"outcome: got {type(outcome).__name__}, wanted a market's outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class Solver:
    """One solver of a benchmark.

    Attributes
    ----------
    prepare : as ``Prepare``
    distribution : package whose version is reported; None for our own
    """

    prepare: Prepare
    distribution: str | None = None

    @property
    def ours(self) -> bool:
        """Whether it is part of this repository."""
        return self.distribution is None


SOLVERS: Mapping[str, Solver] = MappingProxyType({
    "dispatch": Solver(prepare=_dispatch),
    "admm": Solver(prepare=_admm),
    "piqp": Solver(prepare=_piqp, distribution="piqp"),
    "clarabel": Solver(prepare=_clarabel, distribution="clarabel"),
    "cvxpy": Solver(prepare=_cvxpy, distribution="cvxpy"),
    "osqp": Solver(prepare=_osqp, distribution="osqp"),
    "scs": Solver(prepare=_scs, distribution="scs"),
    "highs": Solver(prepare=_highs, distribution="highspy"),
})  # fmt: skip
"""The solvers by name; "cvxpy" is Clarabel reached through cvxpy, whose compilation counts."""
