"""What is up or down, with minimum times: generators and thermostatic loads.

Where power is drawn a device is up, and where it rests below its minimum it is down. One whose minimum is zero may be
either at no power: then what it was is the cheapest that breaks fewest of its minimum times.
"""

from dataclasses import dataclass

import numpy as np

from optimization.devices import Generator, Thermostatic


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """The cheapest way to have been up and down.

    Attributes
    ----------
    mtus_wrong : MTUs that are missing to minimum times, summed
    cost : currency of starts and of being up
    """

    mtus_wrong: int
    cost: float


def commitment(
    device: Generator | Thermostatic,
    *,
    may_be_up: np.ndarray,
    may_be_down: np.ndarray,
    up_cost: float,
    min_up: int,
    min_down: int,
) -> Commitment:
    """The commitment that explains in which (T,) MTUs a device can have been up, and in which down.

    Parameters
    ----------
    device : with its carry-in and its start cost
    may_be_up, may_be_down : (T,) of which in each MTU one holds at least
    up_cost : currency per MTU up
    min_up, min_down : least length of a run and of a rest; what reaches beyond the horizon is cut there
    """
    longest = max(min_up, min_down)
    elapsed = longest if device.elapsed_mtus is None else min(device.elapsed_mtus, longest)
    # Of each (up, MTUs so) that the device can be in: MTUs wrong and currency, the least in this order.
    states: dict[tuple[bool, int], tuple[int, float]] = {(device.running, elapsed): (0, 0.0)}
    least = {True: min_up, False: min_down}
    for can_be_up, can_be_down in zip(may_be_up.tolist(), may_be_down.tolist(), strict=True):
        following: dict[tuple[bool, int], tuple[int, float]] = {}
        for (was_up, so_long), (wrong, cost) in states.items():
            for up, possible in ((True, can_be_up), (False, can_be_down)):
                if not possible:
                    continue
                running = up_cost if up else 0.0
                if up == was_up:
                    state, value = (up, min(so_long + 1, longest)), (wrong, cost + running)
                else:
                    start = device.start_cost if up else 0.0
                    state = (up, 1)
                    value = (wrong + max(0, least[was_up] - so_long), cost + running + start)
                if state not in following or value < following[state]:
                    following[state] = value
        states = following
    wrong, cost = min(states.values())
    return Commitment(mtus_wrong=wrong, cost=cost)
