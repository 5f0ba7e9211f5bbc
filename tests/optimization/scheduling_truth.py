"""What holds of every schedule, checked by the certificate and by the mixed-integer reference."""

from dataclasses import dataclass

import pytest

from optimization.certificate import Certificate, certify
from optimization.clearing import Clearing, Infeasible
from optimization.community import Community
from optimization.errors import SolverError
from optimization.reference.dispatch import dispatch
from optimization.scheduling import ScheduleOptions, schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A schedule beside the reference's.

    Attributes
    ----------
    clearing, certificate : of the schedule
    reference : the solver's clearing
    incumbent, dual_bound : currency: what the reference's schedule truly costs, and what nothing can fall below
    """

    clearing: Clearing
    certificate: Certificate
    reference: Clearing
    incumbent: float
    dual_bound: float

    @property
    def distance(self) -> float:
        """How much dearer than the incumbent, relative to it; negative where cheaper."""
        return (self.certificate.objective - self.incumbent) / max(abs(self.incumbent), 1e-9)

    @property
    def reference_gap(self) -> float:
        """Relative distance of the incumbent to what the solver proved."""
        return (self.incumbent - self.dual_bound) / max(abs(self.incumbent), 1e-9)

    def __str__(self) -> str:
        return (
            f"{100 * self.distance:+.3f} % of [{self.dual_bound:.5g}, {self.incumbent:.5g}], "
            f"ours [{self.clearing.lower_bound:.5g}, {self.certificate.objective:.5g}]"
        )


def tolerance(objective: float) -> float:
    """Currency by which two solvers may differ."""
    return 1e-6 * max(1.0, abs(objective))


def checked(community: Community, clearing: Clearing) -> Certificate:
    """The certificate of a clearing that is feasible, costs what it says, and no less than its own bound."""
    certificate = certify(community, clearing)
    assert certificate.feasible, (certificate.violated, certificate.primal_residual_kw)
    assert certificate.objective == pytest.approx(clearing.objective, rel=1e-9, abs=1e-9)
    assert clearing.lower_bound <= certificate.objective + tolerance(certificate.objective)
    return certificate


def against_reference(
    community: Community, *, options: ScheduleOptions, gap: float = 0.0, time_limit: float | None = None
) -> Comparison | None:
    """The schedule beside the reference's, neither on the wrong side of the other's bound; None where none is allowed.

    A community whose limits conflict by whole numbers alone, without a proof, makes the search give up; that is allowed
    where the reference proves that there is no schedule.
    """
    reference = dispatch(community, gap=gap, time_limit=time_limit)
    if isinstance(reference, Infeasible):
        try:
            outcome = schedule(community, options=options)
        except SolverError:
            return None
        assert isinstance(outcome, Infeasible)
        assert outcome.reason
        return None
    clearing = schedule(community, options=options)
    assert isinstance(clearing, Clearing), clearing
    certificate = checked(community, clearing)
    incumbent = certify(community, reference)
    assert incumbent.feasible, incumbent.violated
    assert clearing.lower_bound <= incumbent.objective + tolerance(incumbent.objective)
    assert certificate.objective >= reference.lower_bound - tolerance(reference.lower_bound)
    return Comparison(
        clearing=clearing,
        certificate=certificate,
        reference=reference,
        incumbent=incumbent.objective,
        dual_bound=reference.lower_bound,
    )
