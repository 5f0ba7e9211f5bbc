"""Whether limits can be kept in whole numbers, asked of the reference: of communities so small that its tree ends.

The convex relaxation (``limits``) mixes schedules, so it cannot tell that a pump of 2 kW fits nowhere between 0.5 and
1 kW. The reference can. Which limits conflict is found by leaving out ever smaller parts of them, and keeping left out
what is not needed for the conflict (a deletion filter); what remains conflicts, though each part of it could be kept.

References
----------
J. Chinneck, E. Dravnieks (1991), "Locating minimal infeasible constraint sets in linear programs", ORSA J. Computing
3(2): the deletion filter.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from optimization.certificate import certify
from optimization.clearing import Infeasible, Outcome
from optimization.community import Community, Curtailable, Envelope, FixedLoad
from optimization.errors import SolverError
from optimization.reference.conflict import ONLY_TOGETHER
from optimization.reference.dispatch import dispatch

ALWAYS_SIZE = 400
"""Deciding devices times MTUs of communities that are asked about at any deadline: it takes a second or so."""

MOST_SIZE = 2000
NODES = 500
TRIALS = 40
"""Parts that are left out by way of trial, at most: then the rest of the conflict is named as it is."""

ANY_GAP = 1.0
GAP = 1e-3
NAMED = 5

Kept = npt.NDArray[np.bool_]


def settle(community: Community, spent: Callable[[], float]) -> Outcome | None:
    """A schedule within the limits that a search overlooked, or the conflict that makes it impossible.

    Parameters
    ----------
    community : the problem
    spent : tells which share of the time is over

    Returns
    -------
    Clearing, certified feasible, or Infeasible with the limits that conflict; None where the community is too large to
    tell, or the reference did not come to an end
    """
    if not _small(community, spent):
        return None
    try:
        found = dispatch(community, gap=GAP, node_limit=NODES)
    except SolverError:
        return None
    if isinstance(found, Infeasible):
        told = _told(community, _conflicting(community, spent))
        return Infeasible(reason=f"{told}, as devices are on or off and cannot run in part")
    return found if certify(community, found).feasible else None


def name_conflict(community: Community, reason: str, spent: Callable[[], float]) -> str:
    """Why limits of a community that has no schedule conflict: the reason, or where it names none of them, which do.

    Parameters
    ----------
    community : which is known to have no schedule
    reason : as ``reference.conflict`` told it
    spent : tells which share of the time is over
    """
    if reason != ONLY_TOGETHER or not _small(community, spent):
        return reason
    return _told(community, _conflicting(community, spent))


def _small(community: Community, spent: Callable[[], float]) -> bool:
    """Whether the reference may be asked again and again."""
    deciding = sum(not isinstance(device, FixedLoad | Curtailable) for _, device in community.devices())
    return community.horizon.mtus * deciding <= (MOST_SIZE if spent() < 1.0 else ALWAYS_SIZE)


def _conflicting(community: Community, spent: Callable[[], float]) -> Kept:
    """(K, T) bounds of envelopes that conflict, of which as many as the trials allow are needed for it."""
    kept = np.array([np.isfinite(e.lower_kw) | np.isfinite(e.upper_kw) for e in community.envelopes])
    trials = 0
    chunk = kept.shape[1]
    while chunk:
        for row in range(kept.shape[0]):
            for first in range(0, kept.shape[1], chunk):
                if not kept[row, first : first + chunk].any() or kept.sum() == 1:
                    continue
                if trials == TRIALS or (trials and spent() >= 1.0):
                    return kept
                trials += 1
                fewer = kept.copy()
                fewer[row, first : first + chunk] = False
                if _conflicts(_with_bounds(community, fewer)):
                    kept = fewer
        chunk = 0 if chunk == 1 else -(-chunk // 2)
    return kept


def _with_bounds(community: Community, kept: Kept) -> Community:
    envelopes = tuple(
        replace(
            envelope,
            lower_kw=np.where(row, envelope.lower_kw, -np.inf),
            upper_kw=np.where(row, envelope.upper_kw, np.inf),
        )
        for envelope, row in zip(community.envelopes, kept, strict=True)
    )
    return replace(community, envelopes=envelopes)


def _conflicts(community: Community) -> bool:
    """Whether the reference proves a conflict."""
    try:
        return isinstance(dispatch(community, gap=ANY_GAP, node_limit=NODES), Infeasible)
    except SolverError:
        return False


def _told(community: Community, kept: Kept) -> str:
    """The conflict for people."""
    parts = [
        f"{envelope.name} MTU {t}: {_allowed(envelope, int(t))}"
        for envelope, row in zip(community.envelopes, kept, strict=True)
        for t in np.flatnonzero(row)
    ]
    more = f"; and {len(parts) - NAMED} more" if len(parts) > NAMED else ""
    which = "this" if len(parts) == 1 else "these together"
    return f"{'; '.join(parts[:NAMED])}{more}: no schedule keeps {which}"


def _allowed(envelope: Envelope, t: int) -> str:
    lower, upper = envelope.lower_kw[t], envelope.upper_kw[t]
    if np.isinf(lower):
        return f"at most {upper:.3f} kW allowed"
    if np.isinf(upper):
        return f"at least {lower:.3f} kW wanted"
    return f"{lower:.3f} to {upper:.3f} kW allowed"
