"""Programmes and chains of them: whether some placement of the phases draws exactly the power that is claimed.

The search is over the MTU in which a phase ends: of each, the least by which power differs at worst from a placement
that ends its phases so far by then. What comes of it is the distance to the nearest allowed schedule, in kW.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optimization.checking.verdict import WRONG, Claim, Terms, Verdict
from optimization.devices import Phase, Programme
from optimization.quantities import DeviceId, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ends:
    """Where a programme, or a part of one, may have ended, and how far power is from that.

    Attributes
    ----------
    at : MTU after the last of it -> kW; before the horizon negative; T stands for any MTU from T on
    left_out : kW, if it did not run at all; infinity where that is not allowed
    """

    at: Mapping[int, float]
    left_out: float

    @property
    def least(self) -> float:
        return min([self.left_out, *self.at.values()])


def check_programmes(
    programmes: Sequence[Programme], claims: Mapping[DeviceId, Claim], terms: Terms
) -> dict[DeviceId, Verdict]:
    """Whether each of a peer's programmes runs once, whole, in its window and in time after the one that it follows."""
    verdicts: dict[DeviceId, Verdict] = {}
    for chain in _chains(programmes):
        residuals = _chain_residuals(chain, claims, terms, limit=terms.tolerance_kw)
        if max(residuals) > terms.tolerance_kw:
            residuals = _chain_residuals(chain, claims, terms, limit=WRONG)
        for device, residual in zip(chain, residuals, strict=True):
            verdicts[device.id] = Verdict(residual_kw=residual, cost=_cost(device, claims[device.id], terms))
    return verdicts


def _chains(programmes: Sequence[Programme]) -> Iterator[list[Programme]]:
    """The programmes one after the other; one that has begun already depends on none before."""
    follower = {d.follows: d for d in programmes if d.follows is not None and d.progress is None}
    for first in programmes:
        if first.follows is None or first.progress is not None:
            chain = [first]
            while chain[-1].id in follower:
                chain.append(follower[chain[-1].id])
            yield chain


def _cost(device: Programme, claim: Claim, terms: Terms) -> float:
    waited = terms.horizon.hours**2 * float(claim.power_kw @ np.arange(claim.power_kw.size))
    return device.waiting_cost * waited + terms.shortfall_price * claim.shortfall


def _chain_residuals(
    chain: Sequence[Programme], claims: Mapping[DeviceId, Claim], terms: Terms, *, limit: float
) -> list[float]:
    """How far each programme makes its chain differ from what is allowed; what differs by more than the limit is not
    looked at.
    """
    residuals: list[float] = []
    so_far = 0.0
    before: _Ends | None = None
    for device in chain:
        before = _ends(device, claims[device.id], before, terms, limit)
        residuals.append(before.least if before.least > so_far else 0.0)
        so_far = before.least
    return residuals


def _ends(device: Programme, claim: Claim, before: _Ends | None, terms: Terms, limit: float) -> _Ends:
    """The ends of a programme, after those of the one that it follows."""
    power, hours = np.abs(claim.power_kw), terms.horizon.hours
    mtus = power.size
    ran: dict[int, float] = {}
    said_to_run = claim.shortfall / hours
    for end, wrong in _placed(device, claim.power_kw, before, limit).items():
        rest = float(power[end:].max(initial=0.0)) if end > 0 else float(power.max())
        total = max(wrong, rest, said_to_run)
        if total <= limit and (device.progress is not None or end <= device.end_mtu):
            ran[min(end, mtus)] = min(total, ran.get(min(end, mtus), WRONG))
    left_out = WRONG
    if device.progress is None:
        said = abs(claim.shortfall - hours * float(sum(phase.power_kw.sum() for phase in device.phases))) / hours
        reached = 0.0 if before is None else before.least
        left_out = max(reached, said, float(power.max()))
    return _Ends(at=ran, left_out=left_out)


def _placed(device: Programme, power: Floats, before: _Ends | None, limit: float) -> dict[int, float]:
    """The MTUs in which the last phase may have ended, without what follows it."""
    if device.progress is not None:
        return _continued(device, power, limit)
    if before is None:
        begins = _begins({0: 0.0}, power, range(device.first_mtu, device.end_mtu), limit)
    else:
        lower, upper = device.min_delay_mtus, device.max_delay_mtus
        begins = {}
        for end, wrong in before.at.items():
            window = range(max(end + lower, device.first_mtu), min(end + upper + 1, device.end_mtu))
            _least(begins, _begins({0: wrong}, power, window, limit))
    return _rest(device.phases, begins, power, limit)


def _continued(device: Programme, power: Floats, limit: float) -> dict[int, float]:
    """The ends of what is left of a programme that has begun."""
    progress = device.progress
    if progress is None:
        return {}
    phase = device.phases[progress.phase]
    left = phase.power_kw[progress.elapsed_mtus :]
    if left.size:
        reached = _phase_ends({0: 0.0}, left, power, limit)
        return _rest_after(device.phases[progress.phase + 1 :], reached, power, limit)
    following = device.phases[progress.phase + 1 :]
    if not following:
        return {-progress.paused_mtus: 0.0}
    earliest = max(0, following[0].min_pause_mtus - progress.paused_mtus)
    latest = max(earliest, following[0].max_pause_mtus - progress.paused_mtus)
    begins = _begins({0: 0.0}, power, range(earliest, latest + 1), limit)
    return _rest(following, begins, power, limit)


def _rest(phases: Sequence[Phase], begins: Mapping[int, float], power: Floats, limit: float) -> dict[int, float]:
    """The ends of phases of which the first begins as given."""
    return _rest_after(phases[1:], _phase_ends(begins, phases[0].power_kw, power, limit), power, limit)


def _rest_after(phases: Sequence[Phase], ends: Mapping[int, float], power: Floats, limit: float) -> dict[int, float]:
    """The ends of phases after others that end as given."""
    reached = dict(ends)
    for phase in phases:
        begins: dict[int, float] = {}
        for end, wrong in reached.items():
            pauses = range(end + phase.min_pause_mtus, end + phase.max_pause_mtus + 1)
            _least(begins, _begins({end: wrong}, power, pauses, limit))
        reached = _phase_ends(begins, phase.power_kw, power, limit)
    return reached


def _begins(after: Mapping[int, float], power: Floats, window: range, limit: float) -> dict[int, float]:
    """Where in a window something may begin, with rest since the given MTUs; T stands for any MTU from T on."""
    mtus = power.size
    begins: dict[int, float] = {}
    for since, wrong in after.items():
        drawn = np.maximum.accumulate(np.concatenate([[wrong], np.abs(power[min(since, mtus) :])])).tolist()
        for begin in window:
            at = min(begin, mtus)
            total = drawn[max(0, at - since)]
            if total > limit:
                break
            _least(begins, {at: total})
            if begin >= mtus:
                break
    return begins


def _phase_ends(begins: Mapping[int, float], phase: Floats, power: Floats, limit: float) -> dict[int, float]:
    """Where a phase ends that begins as given; T stands for any MTU from T on, and what lies there is cut off."""
    ends: dict[int, float] = {}
    for begin, wrong in begins.items():
        drawn = power[begin : begin + phase.size]
        total = max(wrong, float(np.abs(drawn - phase[: drawn.size]).max(initial=0.0)))
        if total <= limit:
            _least(ends, {begin + phase.size: total})
    return ends


def _least(known: dict[int, float], more: Mapping[int, float]) -> None:
    for at, wrong in more.items():
        known[at] = min(wrong, known.get(at, WRONG))
