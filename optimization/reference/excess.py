"""By how much limits have to give so that devices fit between them: a linear programme over the relaxed devices.

.. math::

    \\min \\sum_{kt} w^+_{kt} a_{kt} + w^-_{kt} b_{kt}, \\qquad
    \\underline P_{kt} - b_{kt} \\le \\sum_{n \\in k} q_{nt} \\le \\overline P_{kt} + a_{kt}, \\qquad a, b \\ge 0

A limit on taking or on giving is dear; one that asks to take (a lower bound above zero) or to give (an upper one below)
is cheap: it gives way where both cannot be. Tasks count nothing here: they fall short before a limit gives.
"""

from collections.abc import Mapping
from typing import Any

import cvxpy
import numpy as np

from optimization.community import Community, Floats
from optimization.errors import SolverError
from optimization.reference.relaxation import relaxed_devices

LIMIT, DEMAND = 100.0, 1.0
"""What a kW beyond a limit counts, and a kW that is asked for and not given."""

NOTHING_KW = 1e-6
"""Less is a solver's tolerance."""

cp: Any = cvxpy


def least_excess(community: Community) -> Mapping[str, tuple[Floats, Floats]]:
    """By envelope's name, (T,) kW by which its lower and its upper bound have to give.

    Parameters
    ----------
    community : the problem

    Returns
    -------
    mapping : those envelopes that have to give anywhere; empty where relaxed devices keep all

    Raises
    ------
    SolverError
        If the solver ends without an optimum: devices whose own rules contradict each other.
    """
    mtus = community.horizon.mtus
    devices = relaxed_devices(community)
    net = {
        peer.id: sum((devices[device.id].power for device in peer.devices), cp.Constant(np.zeros(mtus)))
        for peer in community.peers
    }
    rules = [rule for device in devices.values() for rule in device.rules]
    cost: Any = 0.0
    gives = []
    for envelope in community.envelopes:
        below, above = cp.Variable(mtus, nonneg=True), cp.Variable(mtus, nonneg=True)
        total = sum((net[peer] for peer in sorted(envelope.peers)), cp.Constant(np.zeros(mtus)))
        low, high = np.isfinite(envelope.lower_kw), np.isfinite(envelope.upper_kw)
        if low.any():
            rules.append(total[low] + below[low] >= envelope.lower_kw[low])
        if high.any():
            rules.append(total[high] - above[high] <= envelope.upper_kw[high])
        cost += np.where(envelope.lower_kw > 0.0, DEMAND, LIMIT) @ below
        cost += np.where(envelope.upper_kw < 0.0, DEMAND, LIMIT) @ above
        gives.append((envelope.name, below, above))
    problem = cp.Problem(cp.Minimize(cost), rules)
    try:
        problem.solve(solver=cp.HIGHS)
    except cp.error.SolverError as err:
        raise SolverError(f"cvxpy: {err}") from err
    if problem.status != cp.OPTIMAL:
        raise SolverError(f"cvxpy: got {problem.status}, wanted an optimum")
    found = {name: (_told(below.value), _told(above.value)) for name, below, above in gives}
    return {name: pair for name, pair in found.items() if pair[0].any() or pair[1].any()}


def _told(values: Floats) -> Floats:
    return np.where(values > NOTHING_KW, values, 0.0)
