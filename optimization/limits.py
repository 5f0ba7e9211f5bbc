"""Whether limits can be kept at all: the proof that they cannot, where there is one."""

import numpy as np

from optimization.clearing import Infeasible
from optimization.community import Community
from optimization.reference.conflict import conflict as told
from optimization.reference.relaxation import relax


def conflict(community: Community) -> str | None:
    """What conflicts, for people; None where no proof of a conflict was found.

    The proof is the convex relaxation: where no mixture of schedules keeps the limits, no schedule does.

    Parameters
    ----------
    community : the problem
    """
    if not any(np.isfinite(e.upper_kw).any() or np.isfinite(e.lower_kw).any() for e in community.envelopes):
        return None
    relaxed = relax(community)
    return told(community) if isinstance(relaxed, Infeasible) else None
