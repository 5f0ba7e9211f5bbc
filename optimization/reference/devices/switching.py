r"""What is on or off, with least lengths of runs and rests and with what it was before the horizon.

With :math:`u_t` whether it is on, :math:`v_t` whether it starts and :math:`w_t` whether it stops in MTU t:

.. math::

    v_t - w_t = u_t - u_{t-1}, \qquad v_t + w_t \le 1, \qquad
    \sum_{\tau = t - U + 1}^{t} v_\tau \le u_t, \qquad \sum_{\tau = t - D + 1}^{t} w_\tau \le 1 - u_t

The sums begin at the horizon's start at the earliest: what is carried in is forced by bounds. What a run or a rest
still lacks where the horizon ends is left to the next plan.

References
----------
D. Rajan, S. Takriti (2005), "Minimum up/down polytopes of the unit commitment problem with start-up costs", IBM
Research Report RC23628: the sums.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyomo.environ as pyo


def add_switching(
    block: Any,
    mtus: range,
    *,
    running: bool,
    least_on: int,
    least_off: int,
    stays_on: int,
    stays_off: int,
) -> None:
    """Give a block its ``on``, ``start`` and ``stop`` in each MTU, and their rules.

    Parameters
    ----------
    block : of a device
    mtus : of the horizon
    running : whether it is on when the horizon begins
    least_on, least_off : MTUs of a run and of a rest
    stays_on, stays_off : MTUs at the start in which what was carried in must go on
    """

    def bounds(_: Any, t: int) -> tuple[int, int]:
        return (1, 1) if t < stays_on else (0, 0) if t < stays_off else (0, 1)

    block.on = pyo.Var(mtus, within=pyo.Binary, bounds=bounds)
    block.start = pyo.Var(mtus, bounds=(0.0, 1.0))
    block.stop = pyo.Var(mtus, bounds=(0.0, 1.0))
    block.switching = pyo.Constraint(
        mtus, rule=lambda b, t: b.start[t] - b.stop[t] == b.on[t] - (b.on[t - 1] if t else float(running))
    )
    block.one_of_both = pyo.Constraint(mtus, rule=lambda b, t: b.start[t] + b.stop[t] <= 1)
    block.runs = pyo.Constraint(
        mtus, rule=lambda b, t: sum(b.start[s] for s in range(max(0, t - least_on + 1), t + 1)) <= b.on[t]
    )
    block.rests = pyo.Constraint(
        mtus, rule=lambda b, t: sum(b.stop[s] for s in range(max(0, t - least_off + 1), t + 1)) <= 1 - b.on[t]
    )


def read_on(block: Any, mtus: range) -> npt.NDArray[np.float64]:
    """(T,) whether it is on, as 0 or 1."""
    return np.array([float(round(pyo.value(block.on[t]))) for t in mtus])
