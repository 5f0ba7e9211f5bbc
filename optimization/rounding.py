"""From a float clearing to integers: totals conserved, no limit crossed, remainders carried forward.

Setpoints in W come first, each rounded towards the side on which the limits leave more room. Energies in Wh then follow
from those very watts in exact integers: W times minutes, of which 60 make a Wh, the remainder going to the next MTU
(0.125 kW for a quarter of an hour is 31.25 Wh). Nothing here depends on the order of its inputs, or on a float's last
bit beyond the first rounding.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimization.community import Floats
from optimization.errors import ProblemError

Integers = npt.NDArray[np.int64]

MICRO_WH_PER_WH = 1_000_000
UNBOUNDED_WH = 10**15


def round_power(power_kw: Floats, *, up: npt.NDArray[np.bool_], lower_w: int, upper_w: int) -> Integers:
    """Setpoints in W of one device.

    Parameters
    ----------
    power_kw : (T,) kW
    up : (T,) whether to round towards more consumption (near a limit on feeding in) or less (near one on consuming)
    lower_w, upper_w : what the device can do; a setpoint never lies outside

    Returns
    -------
    (T,) int64, W
    """
    watts = np.round(power_kw * 1000.0, 6)
    rounded = np.where(up, np.ceil(watts), np.floor(watts)).astype(np.int64)
    return np.clip(rounded, lower_w, upper_w)


def apportion(
    total: int,
    targets: Sequence[int],
    scale: int,
    lower: Sequence[int],
    upper: Sequence[int],
    ties: Sequence[str],
) -> list[int]:
    """The integers nearest to their targets that sum to a total: the largest remainder method with bounds.

    Parameters
    ----------
    total : what the shares sum to
    targets : wanted shares, as integers over ``scale``
    scale : denominator of the targets, positive
    lower, upper : bounds of each share, integers
    ties : a label for each share; equal remainders go to the smaller label

    Returns
    -------
    list of int, each within its bounds, of least summed squared distance to the targets

    Raises
    ------
    ProblemError
        If the bounds leave no way to reach the total.
    """
    for label, lo, hi in zip(ties, lower, upper, strict=True):
        if lo > hi:
            raise ProblemError(f"apportion {label}: got bounds {lo} to {hi}, wanted lower at most upper")
    if not sum(lower) <= total <= sum(upper):
        raise ProblemError(f"apportion: got total {total}, wanted {sum(lower)} to {sum(upper)} within the bounds")
    shares = [min(max(t // scale, lo), hi) for t, lo, hi in zip(targets, lower, upper, strict=True)]
    missing = total - sum(shares)
    step = 1 if missing > 0 else -1
    bound = upper if missing > 0 else lower
    queue = [
        (step * (share * scale - target), ties[k], k)
        for k, (share, target) in enumerate(zip(shares, targets, strict=True))
        if share != bound[k]
    ]
    heapq.heapify(queue)
    for _ in range(abs(missing)):
        distance, label, k = heapq.heappop(queue)
        shares[k] += step
        if shares[k] != bound[k]:
            heapq.heappush(queue, (distance + scale, label, k))
    return shares


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyBounds:
    """Bounds on the energy of one MTU, of a tree: connection point, sections below it, peers below those.

    Attributes
    ----------
    section : (N,) index of the section of each peer
    total_wh : (lower, upper) of all peers together
    section_wh : (S, 2) lower and upper of each section
    peer_wh : (N, 2) lower and upper of each peer
    """

    section: Integers
    total_wh: tuple[int, int]
    section_wh: Integers
    peer_wh: Integers


def round_energy(
    net_w: Integers, *, minutes: int, carry: Integers, bounds: EnergyBounds, ties: Sequence[str]
) -> tuple[Integers, Integers]:
    """Whole Wh of every peer in one MTU, and the remainders for the next.

    Parameters
    ----------
    net_w : (N,) W, the peers' net power over the MTU; keeps the bounds itself
    minutes : length of the MTU
    carry : (N,) W min left over from before
    bounds : what the sums must keep
    ties : (N,) peer ids

    Returns
    -------
    energy_wh : (N,) Wh; its sums keep every bound
    carry : (N,) W min

    Raises
    ------
    ProblemError
        If no whole Wh keep all bounds.
    """
    target = net_w * minutes + carry
    sections = len(bounds.section_wh)
    members = [np.flatnonzero(bounds.section == s) for s in range(sections)]
    low = [max(int(bounds.section_wh[s, 0]), int(bounds.peer_wh[members[s], 0].sum())) for s in range(sections)]
    high = [min(int(bounds.section_wh[s, 1]), int(bounds.peer_wh[members[s], 1].sum())) for s in range(sections)]
    lowest, highest = max(bounds.total_wh[0], sum(low)), min(bounds.total_wh[1], sum(high))
    if lowest > highest:
        raise ProblemError(
            f"round_energy: got bounds {bounds.total_wh} Wh of the total and {sum(low)} to {sum(high)} Wh of the "
            "sections, wanted some energy within both"
        )
    total = _nearest(int(target.sum()), lowest, highest)
    of_section = apportion(
        total, [int(target[m].sum()) for m in members], 60, low, high, [str(s) for s in range(sections)]
    )
    energy = np.zeros_like(target)
    for s, indices in enumerate(members):
        energy[indices] = apportion(
            of_section[s],
            [int(value) for value in target[indices]],
            60,
            [int(value) for value in bounds.peer_wh[indices, 0]],
            [int(value) for value in bounds.peer_wh[indices, 1]],
            [ties[int(k)] for k in indices],
        )
    return energy, target - energy * 60


def _nearest(target: int, lower: int, upper: int) -> int:
    """The integer nearest to ``target / 60`` within the bounds; halves go down."""
    return min(max((target + 29) // 60, lower), upper)


def round_trades(trade_kwh: Floats, carry: Integers) -> tuple[Integers, Integers]:
    """Whole Wh of every link in one MTU, and the remainders for the next.

    Parameters
    ----------
    trade_kwh : (L,) kWh, non-negative up to solver noise
    carry : (L,) micro-Wh left over from before

    Returns
    -------
    energy_wh : (L,) Wh, non-negative
    carry : (L,) micro-Wh, within half a Wh of zero
    """
    target = np.round(np.maximum(trade_kwh, 0.0) * 1000.0 * MICRO_WH_PER_WH).astype(np.int64) + carry
    energy = np.maximum((target + MICRO_WH_PER_WH // 2) // MICRO_WH_PER_WH, 0)
    return energy, target - energy * MICRO_WH_PER_WH
