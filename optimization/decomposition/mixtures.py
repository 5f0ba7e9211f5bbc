"""What a home's devices draw together in one MTU: one of few sums, of which the cheapest is found by looking at all."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from optimization.decomposition.problem import Part, Problem
from optimization.devices import (
    Battery,
    Device,
    ElectricVehicle,
    Generator,
    Interruptible,
    Programme,
    Thermostatic,
)
from optimization.devices.oracle import Integers
from optimization.quantities import Floats

Ranges = list[tuple[float, float]]

MOST_SUMS = 4096
"""Of the choices of a home in an MTU; where there were more, some blocks may take any power between their extremes."""

_LEAST_GAIN = 1e-12
_ROUNDING_KW = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Which powers blocks may take in an MTU: ranges, most of them points; at least all that their rules allow.

    Attributes
    ----------
    low_kw, high_kw : (B, R) ranges of each block
    count : (B,) how many it has
    live : (B, T) MTUs in which it may take them; in others its power is zero
    """

    low_kw: Floats
    high_kw: Floats
    count: Integers
    live: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, problem: Problem) -> "Choices":
        """Those of all blocks of a problem."""
        blocks, mtus = problem.peer.size, problem.fixed_kw.shape[1]
        live = np.zeros((blocks, mtus), dtype=np.bool_)
        found: list[Ranges] = [[] for _ in range(blocks)]
        for part in problem.parts:
            for block, devices in _by_block(part):
                found[block] = _apart([item for device in devices for item in _ranges(device)])
                for device in devices:
                    _let_live(device, live[block])
        widest = max((len(ranges) for ranges in found), default=1)
        low, high = np.zeros((blocks, widest)), np.zeros((blocks, widest))
        for block, ranges in enumerate(found):
            low[block, : len(ranges)] = [item[0] for item in ranges]
            high[block, : len(ranges)] = [item[1] for item in ranges]
        return cls(low_kw=low, high_kw=high, count=np.array([len(r) for r in found], dtype=np.int64), live=live)

    def extremes(self, peer: Integers, peers: int) -> tuple[Floats, Floats]:
        """(N, T) kW of all blocks of each peer together, at least and at most."""
        mtus = self.live.shape[1]
        lowest, highest = np.zeros((peers, mtus)), np.zeros((peers, mtus))
        np.add.at(lowest, peer, np.where(self.live, self.low_kw.min(axis=1, initial=0.0)[:, None], 0.0))
        np.add.at(highest, peer, np.where(self.live, self.high_kw.max(axis=1, initial=0.0)[:, None], 0.0))
        return lowest, highest


def _by_block(part: Part) -> list[tuple[int, list[Device]]]:
    devices: dict[int, list[Device]] = {}
    for device, block in zip(part.blocks.batch.devices, part.blocks.batch.block, strict=True):
        devices.setdefault(int(part.place[block]), []).append(device)
    return list(devices.items())


def _ranges(device: Device) -> Ranges:
    """Powers that a device may take in an MTU, the ranges of one that runs beside none."""
    match device:
        case Battery():
            return [(-device.max_discharge_kw, device.max_charge_kw)]
        case ElectricVehicle():
            return [(-device.max_discharge_kw, 0.0), *((level.lower_kw, level.upper_kw) for level in device.levels)]
        case Generator():
            return [(0.0, 0.0), (-device.max_kw, -device.min_kw)]
        case Thermostatic():
            return [(0.0, 0.0), (device.min_kw if device.modulating else device.rated_kw, device.rated_kw)]
        case Interruptible():
            return [(0.0, 0.0), (device.power_kw, device.power_kw)]
        case Programme():
            powers = np.unique(np.concatenate([phase.power_kw for phase in device.phases]))
            return [(0.0, 0.0), *((float(power), float(power)) for power in powers)]
        case _:
            raise TypeError(f"choices: got a {type(device).__name__}, wanted a device that decides something")


def _apart(ranges: Ranges) -> Ranges:
    """The same powers in ranges that do not touch."""
    joined: Ranges = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return joined


def _let_live(device: Device, live: npt.NDArray[np.bool_]) -> None:
    """Write in which of the (T,) MTUs a device may run; those that were begun before may run at any time."""
    match device:
        case ElectricVehicle():
            live[device.arrival_mtu : device.departure_mtu] = True
        case Interruptible():
            live[device.first_mtu : device.end_mtu] = True
            live[: device.forced_mtus] = True
        case Programme(progress=None):
            live[device.first_mtu : device.end_mtu] = True
        case _:
            live[:] = True


@njit(cache=True, error_model="numpy")
def _sorted_down(price, order, count):  # type: ignore[no-untyped-def]
    """Writes the order in which prices fall."""
    for i in range(count):
        k = i
        while k > 0 and price[order[k - 1]] < price[i]:
            order[k] = order[k - 1]
            k -= 1
        order[k] = i


@njit(cache=True, error_model="numpy")
def _fewer(low, high, count, entries):  # type: ignore[no-untyped-def]
    """Lets entries take all powers between their extremes until there are not too many choices; their number."""
    sums = 1
    for e in range(entries):
        sums *= count[e]
        if sums > MOST_SUMS:
            sums //= count[e]
            for i in range(1, count[e]):
                low[e, 0] = min(low[e, 0], low[e, i])
                high[e, 0] = max(high[e, 0], high[e, i])
            count[e] = 1
    return sums


@njit(cache=True, error_model="numpy")
def _raised(low, high, price, order, entries, choice, net, sides, power):  # type: ignore[no-untyped-def]
    """The cost of chosen ranges at their cheapest powers, less what these earn; infinite beyond the limits.

    Each is raised from its least while it earns more than the net power costs, the dearest first. Writes the powers.
    """
    sell, buy, lower, upper = sides
    value = 0.0
    for e in range(entries):
        power[e] = low[e, choice[e]]
        value -= price[e] * power[e]
    for k in range(entries):
        e = order[k]
        room = min(high[e, choice[e]] - low[e, choice[e]], upper - net)
        if room <= 0.0:
            continue
        by = min(room, max(0.0, lower - net))
        if net + by < 0.0 and price[e] > sell:
            by = min(room, -net)
        if net + by >= 0.0 and price[e] > buy:
            by = room
        power[e] += by
        net += by
        value -= price[e] * by
    if net < lower - _ROUNDING_KW or net > upper + _ROUNDING_KW:
        return np.inf
    return value + (buy * net if net > 0.0 else sell * net)


@njit(cache=True, error_model="numpy")
def _cheapest_sum(low, high, count, price, entries, fixed, sides, room):  # type: ignore[no-untyped-def]
    """The least cost of a net power less what its parts earn, over all choices of ranges; writes the powers."""
    order, choice, chosen, power = room
    sums = _fewer(low, high, count, entries)
    _sorted_down(price, order, entries)
    net = fixed
    for e in range(entries):
        choice[e] = chosen[e] = 0
        net += low[e, 0]
    best = np.inf
    for _ in range(sums):
        value = _raised(low, high, price, order, entries, choice, net, sides, power)
        if value < best - _LEAST_GAIN:
            best = value
            chosen[:entries] = choice[:entries]
        for e in range(entries):
            before = low[e, choice[e]]
            choice[e] = choice[e] + 1 if choice[e] + 1 < count[e] else 0
            net += low[e, choice[e]] - before
            if choice[e] > 0:
                break
    net = fixed
    for e in range(entries):
        net += low[e, chosen[e]]
    _raised(low, high, price, order, entries, chosen, net, sides, power)
    return best


@njit(cache=True, parallel=True, error_model="numpy")
def cheapest_sums(homes, first, plants, choices, fixed, available, curtailing, sides, free, price, power):  # type: ignore[no-untyped-def]
    """The cheapest powers of homes' blocks, MTU by MTU, as nothing but the power of the moment decides them.

    Parameters
    ----------
    homes : (A,) which
    first, plants : (N + 1,) where the blocks and the plants of each begin
    choices : low_kw, high_kw (B, R), count (B,) and live (B, T)
    fixed : (N, T) kW
    available : (D, T) kW of plants
    curtailing : (D,) currency/kWh
    sides : sell, buy (N, T) currency/kWh of a net power below and above zero; lower, upper (N, T) kW that it keeps to
    free : (N, T) MTUs that are looked at; elsewhere blocks are to earn what the net power costs, so that none matters
    price : (B, T) currency/kWh that each block earns for its power
    power : (B, T) kW, written for the blocks of the homes where they are free

    Returns
    -------
    (A,) currency per hour of the net power and of what plants do not produce, less what the blocks earn
    """
    low_kw, high_kw, count_of, live = choices
    sell, buy, lower, upper = sides
    widest = low_kw.shape[1]
    values = np.zeros(homes.size)
    for a in prange(homes.size):
        n = homes[a]
        most = first[n + 1] - first[n] + plants[n + 1] - plants[n]
        low, high = np.empty((most, widest)), np.empty((most, widest))
        count, earn = np.empty(most, dtype=np.int64), np.empty(most)
        block = np.empty(most, dtype=np.int64)
        room = (
            np.empty(most, dtype=np.int64),
            np.empty(most, dtype=np.int64),
            np.empty(most, dtype=np.int64),
            np.empty(most),
        )
        for t in range(fixed.shape[1]):
            entries = 0
            for d in range(plants[n], plants[n + 1]):
                low[entries, 0], high[entries, 0] = -available[d, t], 0.0
                count[entries], earn[entries], block[entries] = 1, -curtailing[d], -1
                values[a] += curtailing[d] * available[d, t]
                entries += 1
            if free[n, t]:
                for b in range(first[n], first[n + 1]):
                    power[b, t] = 0.0
                    if live[b, t]:
                        low[entries], high[entries] = low_kw[b], high_kw[b]
                        count[entries], earn[entries], block[entries] = count_of[b], price[b, t], b
                        entries += 1
            side = (sell[n, t], buy[n, t], lower[n, t], upper[n, t])
            best = _cheapest_sum(low, high, count, earn, entries, fixed[n, t], side, room)
            if best == np.inf:
                # No choice keeps the limits: that is for others to prove.
                side = (sell[n, t], buy[n, t], -np.inf, np.inf)
                best = _cheapest_sum(low, high, count, earn, entries, fixed[n, t], side, room)
            values[a] += best
            for e in range(entries):
                if block[e] >= 0:
                    power[block[e], t] = room[3][e]
    return values
