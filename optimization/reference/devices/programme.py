r"""Programmes: phases that begin once each, one after the other, maybe after another programme.

:math:`b_{k,t}` says whether phase k, of length L, begins in MTU t. Each begins once where the programme runs; with
pauses between :math:`\underline r` and :math:`\overline r`,

.. math::

    b_{k,t} \le \sum_{\tau = t - L_{k-1} - \overline r}^{t - L_{k-1} - \underline r} b_{k-1,\tau}

What was begun before the horizon began in an MTU below 0. What may begin beyond the horizon's end, because the
programme was begun before, has one number for all those MTUs.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyomo.environ as pyo

from optimization.devices import Phase, Programme
from optimization.reference.devices.written import Schedule, Setting, Written

Begins = dict[int, Any]
"""Whether a phase begins in an MTU: 0 or 1, or the model's number."""


def write_programme(block: Any, device: Programme, setting: Setting) -> Written:
    """A programme that is to be begun, or one that was."""
    horizon, hours = setting.horizon, setting.horizon.hours
    mtus = range(horizon.mtus)
    block.begin = pyo.Var(range(len(device.phases)), range(horizon.mtus + 1), within=pyo.Binary)
    block.left_out = pyo.Var(within=pyo.Binary)
    block.rules = pyo.ConstraintList()
    begins = _fresh(block, device, setting) if device.progress is None else _begun(block, device, setting)
    energy = device.energy_kwh(hours)
    power: list[Any] = [0.0 for _ in mtus]
    for phase, begin in zip(device.phases, begins, strict=True):
        for t, begun in begin.items():
            for s in range(max(t, 0), min(t + phase.mtus, horizon.mtus)):
                power[s] = power[s] + float(phase.power_kw[s - t]) * begun
    return Written(
        power=power,
        cost=setting.shortfall_price * energy * block.left_out
        + sum(hours**2 * device.waiting_cost * t * power[t] for t in mtus),
        read=lambda: Schedule(
            power_kw=np.array([float(pyo.value(power[t])) for t in mtus]),
            shortfall=energy * round(pyo.value(block.left_out)),
        ),
        ends=_ends(begins[-1], device.phases[-1]),
    )


def _fresh(block: Any, device: Programme, setting: Setting) -> list[Begins]:
    """The phases of a programme that has not begun: all inside its window, or none."""
    begins: list[Begins] = []
    for k, phase in enumerate(device.phases):
        allowed = range(device.first_mtu, device.end_mtu - phase.mtus + 1)
        begins.append({t: block.begin[k, t] for t in allowed})
        block.rules.add(sum(begins[k].values()) + block.left_out == 1)
        if k:
            ends = _ends(begins[k - 1], device.phases[k - 1])
            _after(block, begins[k], ends, phase.min_pause_mtus, phase.max_pause_mtus)
    if setting.ends_before is not None:
        _after(block, begins[0], setting.ends_before, device.min_delay_mtus, device.max_delay_mtus)
    return begins


def _begun(block: Any, device: Programme, setting: Setting) -> list[Begins]:
    """The phases of a programme in progress from the current one on; those before it began nowhere any more."""
    progress = device.progress
    assert progress is not None  # for the type checker: the caller has looked
    block.left_out.setub(0)
    beyond = setting.horizon.mtus
    begins: list[Begins] = [{} for _ in range(progress.phase)]
    begins.append({-progress.elapsed_mtus - progress.paused_mtus: 1.0})
    for k in range(progress.phase + 1, len(device.phases)):
        phase, before = device.phases[k], device.phases[k - 1]
        begins.append({t: block.begin[k, t] for t in range(beyond + 1)})
        block.rules.add(sum(begins[k].values()) == 1)
        ends, most = _ends(begins[k - 1], before), phase.max_pause_mtus
        if k == progress.phase + 1 and progress.elapsed_mtus == before.mtus:
            # A pause that has already lasted too long ends at once.
            most = max(most, progress.paused_mtus)
        _after(block, begins[k], ends, phase.min_pause_mtus, most, beyond=beyond)
    return begins


def _ends(begins: Mapping[int, Any], phase: Phase) -> dict[int, Any]:
    """Whether a phase ends in an MTU, the first after it."""
    return {t + phase.mtus: begun for t, begun in begins.items()}


def _after(
    block: Any, begins: Begins, ends: Mapping[int, Any], least: int, most: int, *, beyond: int | None = None
) -> None:
    """Let something begin only ``least`` to ``most`` MTUs after the end of something else.

    The MTU ``beyond``, if given, stands for itself and all later ones.
    """
    for t, begun in begins.items():
        if t == beyond:
            block.rules.add(begun <= sum(ended for s, ended in ends.items() if s + most >= t))
        else:
            block.rules.add(begun <= sum(ended for s, ended in ends.items() if least <= t - s <= most))
