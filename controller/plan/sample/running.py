"""How a sampled device could run: schedules that prove its task possible, and that a transformer must be able to bear.

Each function returns two (T,) schedules in kW: one that looks for the hours in which the others take least, and a
selfish one that looks for the tariff's cheapest.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from controller.plan.sample.setting import Setting
from optimization.community import Floats

Schedules = tuple[Floats, Floats]


def block(setting: Setting, others: Floats, device: dict[str, Any]) -> Schedules:
    """An interruptible appliance that runs in one go."""
    profile = np.full(device["required_mtus"], device["power_kw"])
    return sequence(setting, others, profile, device["first_mtu"], device["end_mtu"])


def sequence(setting: Setting, others: Floats, profile: Floats, first: int, end: int) -> Schedules:
    """A load of fixed shape that begins and ends within a window."""
    return (
        _placed(
            setting,
            profile,
            first,
            np.array([(others[t : t + profile.size] + profile).max() for t in range(first, end - profile.size + 1)]),
        ),
        _placed(
            setting,
            profile,
            first,
            np.array(
                [setting.import_price[t : t + profile.size] @ profile for t in range(first, end - profile.size + 1)]
            ),
        ),
    )


def split(power: Floats, mtus: int) -> tuple[Floats, Floats]:
    """A schedule that never rests once it has begun, in its first so many MTUs and what follows."""
    first = np.zeros_like(power)
    begin = int(np.argmax(power > 0))
    first[begin : begin + mtus] = power[begin : begin + mtus]
    return first, power - first


def _placed(setting: Setting, profile: Floats, first: int, cost: Floats) -> Floats:
    power, begin = np.zeros(setting.mtus), first + int(np.argmin(np.round(cost, 9)))
    power[begin : begin + profile.size] = profile
    return power


def charging(setting: Setting, others: Floats, vehicle: dict[str, Any]) -> Schedules:
    """A vehicle: slowly where others take least, and as fast as it can where the tariff is cheapest."""
    stay = np.arange(vehicle["arrival_mtu"], vehicle["departure_mtu"])
    energy = max(0.0, vehicle["required_kwh"] - vehicle["initial_kwh"]) / vehicle["charge_efficiency"]
    steps = [(level["lower_kw"], level["upper_kw"]) for level in vehicle["levels"]]
    calm = energy / (0.8 * stay.size * setting.hours)
    return (
        _filled(setting, stay[np.argsort(others[stay], kind="stable")], energy, _allowed(steps, calm), steps),
        _filled(setting, stay[np.argsort(setting.import_price[stay], kind="stable")], energy, steps[-1][1], steps),
    )


def _allowed(steps: Sequence[tuple[float, float]], wanted: float) -> float:
    """The least charging power that is at least what is wanted; the highest where none is."""
    for lower, upper in steps:
        if wanted <= upper:
            return max(lower, wanted)
    return steps[-1][1]


def _filled(
    setting: Setting, order: Iterable[int], energy: float, power: float, steps: Sequence[tuple[float, float]]
) -> Floats:
    schedule, left = np.zeros(setting.mtus), energy
    for t in order:
        if left <= 1e-9:
            break
        schedule[t] = min(power, _allowed(steps, left / setting.hours))
        left -= setting.hours * schedule[t]
    return schedule


def thermostat(setting: Setting, load: dict[str, Any], series: dict[str, Floats]) -> tuple[Floats, Floats]:
    """A simple thermostat's run, with the temperature that it reaches.

    Parameters
    ----------
    load : the device's fields
    series : (T,) ``performance``, ``ambient_c``, ``draw_kw``, ``lower_c``, ``upper_c`` of it

    Returns
    -------
    power_kw : (T,)
    temperature_c : (T,) at the end of each MTU; outside the band where so simple a rule cannot keep it
    """
    loss, capacity, rated = load["loss_kw_per_k"], load["heat_capacity_kwh_per_k"], load["rated_kw"]
    keep = math.exp(-setting.hours * loss / capacity)
    per_kw = (1.0 - keep) / loss
    gain = (per_kw * series["performance"]).tolist()
    drift = ((1.0 - keep) * series["ambient_c"] - per_kw * series["draw_kw"]).tolist()
    lower, upper = _foreseen(setting, series["lower_c"]).tolist(), series["upper_c"].tolist()
    heats, modulating, least = gain[0] > 0, load.get("modulating", False), load.get("min_kw", 0.0)
    minimum = (load.get("min_off_mtus", 1), load.get("min_on_mtus", 1))
    on, since, reached = False, max(minimum), load["initial_c"]
    power, temperature = [0.0] * setting.mtus, [0.0] * setting.mtus
    for t in range(setting.mtus):
        idle, full = keep * reached + drift[t], keep * reached + drift[t] + gain[t] * rated
        margin = 0.15 * (upper[t] - lower[t])
        if heats:
            wanted = full <= upper[t] if on else idle < lower[t] + margin
        else:
            wanted = full >= lower[t] if on else idle > upper[t] - margin
        if wanted != on and since >= minimum[on]:
            on, since = wanted, 0
        since += 1
        if modulating:
            asked = (lower[t] + margin - idle) / gain[t]
            power[t] = 0.0 if asked < least else min(asked, rated)
        elif on:
            power[t] = rated
        reached = idle + gain[t] * power[t]
        temperature[t] = reached
    return np.array(power), np.array(temperature)


def _foreseen(setting: Setting, lower: Floats) -> Floats:
    """(T,) the highest lower bound of the next three hours: a house is warm when its people get up."""
    ahead = min(setting.mtus_of(180), lower.size)
    padded = np.concatenate([lower, np.full(ahead, -np.inf)])
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, ahead + 1)[: lower.size].max(axis=1))
