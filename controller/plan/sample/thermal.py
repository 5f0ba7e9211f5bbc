"""The thermostatic loads of a sampled home."""

from typing import Any

import numpy as np

from controller.plan.sample.running import thermostat
from controller.plan.sample.setting import Setting
from optimization.community import Floats

Drawn = tuple[dict[str, Any], Floats]
"""A device with a (T,) schedule in kW that keeps all its rules."""

LARGEST_STEP = 0.3
"""Of its band: further one MTU must not bring an on/off load, which is what its rated power is made to keep."""

TAPPED = ((6.8, 0.6, 0.8, 1.6), (7.6, 0.6, 0.4, 1.0), (12.5, 0.5, 0.2, 0.5), (19.5, 1.2, 1.0, 2.0))
"""Hour of the day, its spread, least and most kWh of heat of what is tapped."""

SERIES = ("performance", "ambient_c", "draw_kw", "lower_c", "upper_c")


def refrigerator(random: np.random.Generator, setting: Setting, id_: str) -> Drawn:
    """A refrigerator in a kitchen."""
    load = {
        **_load(id_, random.uniform(0.08, 0.15), random.uniform(0.04, 0.07), random.uniform(0.0015, 0.0025)),
        "performance": -round(random.uniform(1.8, 2.4), 2),
        "ambient_c": round(random.uniform(19.0, 22.0), 1),
        "draw_kw": 0.0,
        "lower_c": 2.0,
        "upper_c": 7.0,
        "initial_c": round(random.uniform(3.5, 6.0), 1),
    }
    return _possible(setting, load)


def water_heater(random: np.random.Generator, setting: Setting, id_: str) -> Drawn:
    """A tank of 150 to 300 litres with an immersion heater."""
    litres = random.uniform(150.0, 300.0)
    load = {
        **_load(id_, random.uniform(1.5, 2.4), 1.163e-3 * litres, random.uniform(0.0015, 0.0028)),
        "performance": 1.0,
        "ambient_c": 18.0,
        "draw_kw": _hot_water(random, setting),
        "lower_c": 45.0,
        "upper_c": 65.0,
        "initial_c": round(random.uniform(52.0, 60.0), 1),
        "min_on_mtus": setting.mtus_of(10),
    }
    return _possible(setting, load)


def heat_pump(random: np.random.Generator, setting: Setting, id_: str) -> Drawn:
    """A heat pump of a house, on or off or modulating."""
    load = {
        **_load(id_, random.uniform(2.0, 3.2), random.uniform(6.0, 12.0), random.uniform(0.11, 0.2)),
        "performance": "performance",
        "ambient_c": "outdoor_c",
        "draw_kw": -round(random.uniform(0.1, 0.4), 2),
        "lower_c": "warmth_c",
        "upper_c": 23.0,
        "initial_c": round(random.uniform(20.6, 21.6), 1),
    }
    if random.random() < 0.4:
        load |= {"modulating": True, "min_kw": round(load["rated_kw"] * random.uniform(0.2, 0.35), 1)}
    else:
        load |= {"min_on_mtus": setting.mtus_of(30), "min_off_mtus": setting.mtus_of(20), "start_cost": 0.01}
    return _possible(setting, load)


def air_conditioner(random: np.random.Generator, setting: Setting, id_: str) -> Drawn:
    """An air conditioner of a room that computers heat."""
    load = {
        **_load(id_, random.uniform(0.4, 0.8), random.uniform(0.5, 0.9), random.uniform(0.03, 0.06)),
        "performance": -round(random.uniform(2.6, 3.4), 2),
        "ambient_c": 21.0,
        "draw_kw": -round(random.uniform(0.2, 0.5), 2),
        "lower_c": 19.0,
        "upper_c": 25.0,
        "initial_c": round(random.uniform(21.0, 24.0), 1),
        "min_on_mtus": setting.mtus_of(15),
        "min_off_mtus": setting.mtus_of(10),
    }
    return _possible(setting, load)


def _load(id_: str, rated: float, capacity: float, loss: float) -> dict[str, Any]:
    return {
        "id": id_,
        "kind": "thermostatic",
        "rated_kw": round(rated, 2),
        "heat_capacity_kwh_per_k": round(capacity, 3),
        "loss_kw_per_k": round(loss, 4),
    }


def _hot_water(random: np.random.Generator, setting: Setting) -> list[float]:
    """Showers in the morning, dishes and baths in the evening: 3 to 5 kWh of heat a day."""
    draw = np.zeros(setting.mtus)
    for hour, spread, least, most in TAPPED:
        at, energy = hour + spread * random.standard_normal(), random.uniform(least, most)
        away = np.abs(setting.hour - at)
        nearest = np.flatnonzero(away <= setting.hours / 2)
        draw[nearest] += energy / setting.hours
    return [value or 0 for value in np.round(draw, 2).tolist()]


def _possible(setting: Setting, load: dict[str, Any]) -> Drawn:
    """The load with a power that fits its band and the MTU, and a band that a simple thermostat keeps."""
    series = {name: _series(setting, load[name]) for name in SERIES}
    band = float((series["upper_c"] - series["lower_c"]).min())
    strongest = float(np.abs(series["performance"]).max())
    step = LARGEST_STEP * band * load["heat_capacity_kwh_per_k"] / (setting.hours * strongest)
    load["rated_kw"] = round(min(load["rated_kw"], max(step, 0.02)), 2)
    power, temperature = thermostat(setting, load, series)
    if (temperature < series["lower_c"]).any():
        load["lower_c"] = np.round(np.minimum(series["lower_c"], temperature - 0.2), 1).tolist()
    if (temperature > series["upper_c"]).any():
        load["upper_c"] = np.round(np.maximum(series["upper_c"], temperature + 0.2), 1).tolist()
    return load, power


def _series(setting: Setting, value: float | str | list[float]) -> Floats:
    if isinstance(value, str):
        shared: Floats = getattr(setting, value)
        return shared
    return np.asarray(value, dtype=np.float64) if isinstance(value, list) else np.full(setting.mtus, value)
