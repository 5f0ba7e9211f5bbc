"""Interruptible appliances: rated power or none, windows, runs, rests and starts."""

from itertools import pairwise

import numpy as np

from optimization.checking.verdict import Claim, Terms, Verdict, runs, worst
from optimization.devices import Interruptible
from optimization.quantities import Horizon


def check_interruptible(device: Interruptible, claim: Claim, terms: Terms) -> Verdict:
    """Whether an appliance runs when and as long as it may, and owes as much as is said.

    What one draws that has no rated power says nothing about its runs: it need only draw nothing.
    """
    power, hours = claim.power_kw, terms.horizon.hours
    if not device.power_kw:
        owed = worst(np.array([claim.shortfall - device.required_mtus]))
        return Verdict(residual_kw=max(worst(np.abs(power)), owed), cost=0.0)
    on = power > device.power_kw / 2
    mtus = float(power.sum()) / device.power_kw
    missing = max(0.0, device.required_mtus - mtus)
    wrong = max(
        abs(missing - claim.shortfall),
        mtus - device.max_on_mtus,
        float(_mtus_wrong(device, on)),
        float(_starts_too_many(device, on, terms.horizon)),
    )
    cost = terms.shortfall_price * claim.shortfall * device.power_kw * hours
    cost += device.start_cost * len(_starts(device, on))
    cost += device.waiting_cost * hours**2 * float(power @ np.arange(power.size))
    half_on = worst(np.minimum(np.abs(power), np.abs(power - device.power_kw)))
    return Verdict(residual_kw=max(half_on, wrong * device.power_kw), cost=cost)


def _starts(device: Interruptible, on: np.ndarray) -> list[int]:
    begins, _ = runs(on)
    return [begin for begin in begins if begin > 0 or not device.running]


def _mtus_wrong(device: Interruptible, on: np.ndarray) -> int:
    """The most MTUs by which a window, a run or a rest is broken."""
    forced = 0
    if device.running and device.elapsed_mtus is not None:
        forced = min(max(0, device.min_on_mtus - device.elapsed_mtus), on.size)
    resting = 0
    if not device.running and device.elapsed_mtus is not None:
        resting = max(0, device.min_off_mtus - device.elapsed_mtus)
    allowed = np.zeros(on.size, dtype=bool)
    allowed[device.first_mtu : device.end_mtu] = True
    allowed[:forced] = True
    wrong = [
        int(np.count_nonzero(on & ~allowed)),
        int(np.count_nonzero(~on[:forced])),
        int(np.count_nonzero(on[:resting])),
    ]
    begins, ends = runs(on)
    stops = [0, *ends] if device.running and not on[0] else ends
    starts = _starts(device, on)
    for begin, end in zip(begins, ends, strict=True):
        if begin in starts:
            wrong.append(device.min_on_mtus - (end - begin))
            wrong.append(begin + device.min_on_mtus - device.end_mtu)
    wrong += [device.min_off_mtus - _rest_before(start, stops) for start in starts if stops and stops[0] <= start]
    return max(wrong)


def _rest_before(start: int, stops: list[int]) -> int:
    return start - max(stop for stop in stops if stop <= start)


def _starts_too_many(device: Interruptible, on: np.ndarray, horizon: Horizon) -> int:
    """The most starts above the limit in one day."""
    if device.max_starts is None:
        return 0
    starts = np.array(_starts(device, on), dtype=np.int64)
    excess = 0
    for day, (first, end) in enumerate(pairwise((0, *horizon.day_starts, horizon.mtus))):
        made = int(np.count_nonzero((starts >= first) & (starts < end)))
        left = max(0, device.max_starts - (device.starts_today if day == 0 else 0))
        excess = max(excess, made - left)
    return excess
