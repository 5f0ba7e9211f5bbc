"""One sampled home: its devices, and two ways in which they could run."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from controller.plan.sample import running, thermal
from controller.plan.sample.setting import Setting
from optimization.community import Floats

GOLDEN = 0.6180339887498949
LEAST_DEVICES = 8

SHARES = {"pv": 0.7, "battery": 0.4, "vehicle": 0.5, "heat_pump": 0.5, "air_conditioner": 0.2, "generator": 0.04}
"""Which part of all homes has what; the rest every home has."""

CHARGERS = ([(1.4, 3.7)], [(1.4, 3.7)], [(4.1, 11.0)], [(1.4, 3.7), (4.2, 11.0)])
WASHER = ((20, 2.0), (70, 0.15), (20, 0.5))
DRYER = ((75, 0.8), (15, 0.2))
DISHWASHER = ((20, 1.9), (60, 0.1), (25, 1.7))


@dataclass(slots=True, kw_only=True)
class Home:
    """A home while it is drawn.

    Attributes
    ----------
    peer : the fields of the peer in the community's file
    calm : (T,) kW of each device when devices make way for each other and for their neighbours'; keeps all its rules
    calm_kw : (T,) net power then
    selfish_kw : (T,) net power when they follow the tariff alone
    """

    peer: dict[str, Any]
    calm: dict[str, Floats]
    calm_kw: Floats
    selfish_kw: Floats

    def add(self, device: dict[str, Any], schedules: running.Schedules) -> None:
        """Add a device with its two schedules."""
        self.peer["devices"].append(device)
        self.calm[device["id"]] = schedules[0]
        self.calm_kw = self.calm_kw + schedules[0]
        self.selfish_kw = self.selfish_kw + schedules[1]


def draw_home(*, seed: int, index: int, setting: Setting, section: str, others: Floats) -> Home:
    """The home of an index; the same whatever homes there are beside it.

    Parameters
    ----------
    others : (T,) kW that homes before this one take, for its calm schedule to make way for
    """
    random = np.random.default_rng([seed, index + 1])
    name = f"home-{index + 1}"
    home = Home(
        peer={"id": name, "section": section, "devices": []},
        calm={},
        calm_kw=np.zeros(setting.mtus),
        selfish_kw=np.zeros(setting.mtus),
    )
    has = {what: _has(seed, index, place, share) for place, (what, share) in enumerate(SHARES.items())}
    _add_passive(home, random, setting, name, has["pv"])
    if has["generator"]:
        _add_generator(home, random, setting, name)
    if has["battery"]:
        _add_battery(home, random, name)
    makers = [thermal.refrigerator, thermal.water_heater]
    makers += [thermal.heat_pump] if has["heat_pump"] else []
    makers += [thermal.air_conditioner] if has["air_conditioner"] else []
    for make in makers:
        load, power = make(random, setting, f"{name}/{make.__name__.replace('_', '-')}")
        home.add(load, (power, power))
    _add_laundry(home, random, setting, others)
    _add_dishwasher(home, random, setting, others)
    _add_interruptibles(home, random, setting, others)
    if has["vehicle"]:
        vehicle = _vehicle(random, setting, f"{name}/car")
        home.add(vehicle, running.charging(setting, others + home.calm_kw, vehicle))
    return home


def _has(seed: int, index: int, place: int, share: float) -> bool:
    """Whether a home is among a share of all, which even a few homes come near to (a golden-section sequence)."""
    return (GOLDEN * (index + 1) + 0.37 * place + 0.61 * (seed % 997)) % 1.0 < share


def _add_passive(home: Home, random: np.random.Generator, setting: Setting, name: str, sunny: bool) -> None:
    load = np.round(_household(random, setting), 3)
    home.add({"id": f"{name}/load", "kind": "fixed_load", "power_kw": load.tolist()}, (load, load))
    if not sunny:
        return
    roof = ("sun_south", "sun_south", "sun_east", "sun_west")[random.integers(4)]
    size = round(random.uniform(3.0, 9.0), 1)
    available = {"profile": roof, "times": size}
    none = np.zeros(setting.mtus)
    home.add({"id": f"{name}/pv", "kind": "curtailable", "available_kw": available}, (none, -size * setting.sun[roof]))


def _household(random: np.random.Generator, setting: Setting) -> Floats:
    """(T,) kW of what nobody schedules: a base, breakfast, lunch, an evening, and chance."""
    hour, size = setting.hour, random.uniform(0.6, 1.5)
    load = np.full(hour.size, random.uniform(0.06, 0.16))
    for at, width, height in ((7.2, 0.9, 0.3), (12.6, 0.8, 0.25), (18.7, 1.1, 0.8), (20.8, 1.6, 0.35)):
        away = (hour - at - 0.5 * random.standard_normal() + 12.0) % 24.0 - 12.0
        load += size * height * np.exp(-0.5 * (away / width) ** 2)
    return np.asarray(load * random.gamma(12.0, 1.0 / 12.0, hour.size))


def _add_generator(home: Home, random: np.random.Generator, setting: Setting, name: str) -> None:
    generator = {
        "id": f"{name}/generator",
        "kind": "generator",
        "min_kw": 1.0,
        "max_kw": round(random.uniform(3.0, 6.0), 1),
        "quadratic_cost": round(random.uniform(0.005, 0.02), 3),
        "linear_cost": round(random.uniform(0.22, 0.3), 3),
        "running_cost": 0.05,
        "start_cost": round(random.uniform(0.1, 0.4), 2),
        "min_up_mtus": setting.mtus_of(60),
        "min_down_mtus": setting.mtus_of(30),
    }
    home.add(generator, (np.zeros(setting.mtus), np.zeros(setting.mtus)))


def _add_battery(home: Home, random: np.random.Generator, name: str) -> None:
    capacity = round(random.uniform(5.0, 14.0), 1)
    power = round(min(5.0, capacity * random.uniform(0.35, 0.6)), 1)
    initial = round(capacity * random.uniform(0.25, 0.6), 1)
    battery = {
        "id": f"{name}/battery",
        "kind": "battery",
        "max_charge_kw": power,
        "max_discharge_kw": power,
        "capacity_kwh": capacity,
        "initial_kwh": initial,
        "final_kwh": round(0.8 * initial, 1),
        "min_kwh": round(0.1 * capacity, 1),
        "charge_efficiency": round(random.uniform(0.93, 0.97), 3),
        "discharge_efficiency": round(random.uniform(0.93, 0.97), 3),
        "self_discharge": 0.0005,
        "final_value": 0.15,
        "cycle_cost": round(random.uniform(0.01, 0.03), 3),
    }
    none = np.zeros(home.calm_kw.size)
    home.add(battery, (none, none))


def _phases(setting: Setting, cycle: tuple[tuple[int, float], ...], room: int) -> list[dict[str, Any]]:
    """A cycle's phases in MTUs, of which those that are shorter than half of one are part of the one before.

    Where there is little room the cycle is shortened.
    """
    shrink = min(1.0, room * setting.calendar.mtu_minutes / sum(minutes for minutes, _ in cycle))
    pieces: list[list[float]] = []
    for minutes, power in cycle:
        length = shrink * minutes
        if pieces and length < setting.calendar.mtu_minutes / 2:
            pieces[-1][1] = (pieces[-1][0] * pieces[-1][1] + length * power) / (pieces[-1][0] + length)
            pieces[-1][0] += length
        else:
            pieces.append([length, power])
    phases, left = [], room
    for k, (length, power) in enumerate(pieces):
        mtus = min(setting.mtus_of(length), left - (len(pieces) - 1 - k))
        if mtus < 1:
            continue
        left -= mtus
        phases.append({"power_kw": round(power, 2), "mtus": mtus})
    return phases


def _profile(phases: list[dict[str, Any]]) -> Floats:
    return np.concatenate([np.full(phase["mtus"], phase["power_kw"]) for phase in phases])


def _window(
    random: np.random.Generator, setting: Setting, choices: tuple[tuple[float, float], ...], least: int
) -> tuple[int, int]:
    """A window in hours after the horizon's begin, as MTUs; the whole horizon where that holds less than ``least``."""
    first, end = choices[random.integers(len(choices))]
    begin = round((first + random.uniform(-0.5, 0.5)) / setting.hours) if first else 0
    finish = min(round((end + random.uniform(-1.0, 1.0)) / setting.hours), setting.mtus)
    return (begin, finish) if finish - max(begin, 0) >= least and begin >= 0 else (0, setting.mtus)


def _add_laundry(home: Home, random: np.random.Generator, setting: Setting, others: Floats) -> None:
    """A washer, and a dryer that follows it."""
    name, room = home.peer["id"], max(2, setting.mtus // 4)
    strength = random.uniform(0.85, 1.15)
    phases = [
        _phases(setting, tuple((minutes, power * strength) for minutes, power in cycle), room)
        for cycle in (WASHER, DRYER)
    ]
    for phase in phases[0][1:]:
        phase["max_pause_mtus"] = setting.mtus_of(20)
    profile = np.concatenate([_profile(each) for each in phases])
    first, end = _window(random, setting, ((1.0, 6.5), (2.0, 15.5), (16.0, 23.5)), profile.size + 2)
    window = {"first_mtu": first, "end_mtu": end}
    washer = {"id": f"{name}/washer", "kind": "programme", "phases": phases[0], **window}
    dryer = {
        **{"id": f"{name}/dryer", "kind": "programme", "phases": phases[1], **window},
        **{"follows": washer["id"], "max_delay_mtus": setting.mtus_of(120)},
    }
    calm, selfish = running.sequence(setting, others + home.calm_kw, profile, first, end)
    washing = _profile(phases[0]).size
    parts = [running.split(power, washing) for power in (calm, selfish)]
    home.add(washer, (parts[0][0], parts[1][0]))
    home.add(dryer, (parts[0][1], parts[1][1]))


def _add_dishwasher(home: Home, random: np.random.Generator, setting: Setting, others: Floats) -> None:
    phases = _phases(setting, DISHWASHER, max(1, setting.mtus // 3))
    profile = _profile(phases)
    first, end = _window(random, setting, ((3.5, 14.5), (4.0, 15.5), (2.5, 7.5)), profile.size + 1)
    device = {
        **{"id": f"{home.peer['id']}/dishwasher", "kind": "programme", "phases": phases},
        **{"first_mtu": first, "end_mtu": end},
    }
    home.add(device, running.sequence(setting, others + home.calm_kw, profile, first, end))


def _add_interruptibles(home: Home, random: np.random.Generator, setting: Setting, others: Floats) -> None:
    """A pump or a storage heater's timer; a second one where the home has few devices."""
    choices = [
        ("pool-pump", random.uniform(0.4, 1.1), random.uniform(2.0, 5.0), ((0.0, 6.0), (14.5, 24.0), (0.0, 24.0))),
        ("floor-heating", random.uniform(0.8, 2.0), random.uniform(1.5, 4.0), ((5.0, 15.0), (6.0, 14.0))),
    ]
    order = random.permutation(2)
    for place in order[: 1 if len(home.peer["devices"]) >= LEAST_DEVICES - 1 else 2]:
        name, power, hours, windows = choices[place]
        owed = min(setting.mtus_of(60 * hours), max(1, setting.mtus // 3))
        least = min(setting.mtus_of(30), owed)
        first, end = _window(random, setting, windows, owed + 1)
        device = {
            **{"id": f"{home.peer['id']}/{name}", "kind": "interruptible", "power_kw": round(power, 2)},
            **{"first_mtu": first, "end_mtu": end, "required_mtus": owed},
            **{"min_on_mtus": least, "min_off_mtus": setting.mtus_of(15), "max_starts": int(random.integers(2, 5))},
        }
        home.add(device, running.block(setting, others + home.calm_kw, device))


def _vehicle(random: np.random.Generator, setting: Setting, id_: str) -> dict[str, Any]:
    """A car that comes home in the evening and leaves in the morning, or as much of that as the horizon holds."""
    levels = CHARGERS[random.integers(len(CHARGERS))]
    arrival = min(round(random.uniform(0.0, 4.5) / setting.hours), setting.mtus // 3)
    departure = min(round(random.uniform(14.0, 17.0) / setting.hours), setting.mtus)
    capacity = round(random.uniform(38.0, 80.0))
    initial = round(capacity * random.uniform(0.2, 0.6), 1)
    efficiency = 0.92
    reach = 0.75 * efficiency * levels[-1][1] * (departure - arrival) * setting.hours
    required = min(initial + random.uniform(6.0, 18.0), initial + reach, capacity - 5.0)
    vehicle = {
        **{"id": id_, "kind": "electric_vehicle", "arrival_mtu": arrival, "departure_mtu": departure},
        **{"capacity_kwh": capacity, "initial_kwh": initial, "required_kwh": round(required - 0.05, 1)},
        "levels": [{"lower_kw": lower, "upper_kw": upper} for lower, upper in levels],
        "charge_efficiency": efficiency,
    }
    if random.random() < 0.2:
        vehicle |= {"max_discharge_kw": levels[-1][1], "min_kwh": round(0.15 * capacity, 1), "cycle_cost": 0.05}
    return vehicle
