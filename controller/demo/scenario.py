"""Who lives in the community of a demonstration day, what they own, expect and prefer. All from data and a seed."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from controller.demo.catalogue import MINUTES_PER_DAY, Appliance
from controller.demo.grid import GridDay
from controller.errors import InputError
from controller.flexibility import Flexibility, Plant, Relay, Storage
from controller.microgrid import Device, Member, Microgrid, TariffPeriod

DAY_START_MINUTE = 6 * 60
MTU_MINUTES = 15
MTUS = 96
PARTNERS = 6
SELLERS = 4
MICRO = 1_000_000
PPM = 1_000_000

LOAD_ERROR = 0.10
"""Standard deviation of the hourly mean of a household's load around its forecast."""
CLOUD_ERROR = 0.08
"""The same of PV, common to all plants under one sky."""
ERROR_MEMORY = 0.7
"""Correlation of the errors of neighbouring quarter-hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What the grid asks and pays, and the DSO's charge on trades among neighbours, in currency/kWh.

    Attributes
    ----------
    export : what the grid pays for surplus
    peak, off_peak : what it asks inside and outside the peak hours
    peak_from_hour, peak_to_hour : local hours, 0 to 24
    network_charge : paid by buyers to the DSO
    """

    export: float = 0.039
    peak: float = 0.095
    off_peak: float = 0.060
    peak_from_hour: int = 13
    peak_to_hour: int = 23
    network_charge: float = 0.005

    def __post_init__(self) -> None:
        options = {"export": "export-price", "peak": "peak-price", "off_peak": "off-peak-price"}
        for name in (*options, "network_charge"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= 100):
                raise InputError(f"--{options.get(name, 'network-charge')}: got {value}, wanted 0 to 100 per kWh")
        if self.export > min(self.peak, self.off_peak):
            raise InputError(
                f"--export-price: got {self.export}, wanted at most the import price {min(self.peak, self.off_peak)}: "
                "buying and selling at once would make money"
            )
        if not 0 <= self.peak_from_hour <= self.peak_to_hour <= 24:
            raise InputError(
                f"--peak-hours: got {self.peak_from_hour} to {self.peak_to_hour}, wanted 0 <= from <= to <= 24"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """A member with what it expects and what will really happen.

    Attributes
    ----------
    member : id and feeder section
    profile : name of its load profile
    devices : what it can steer
    names : of each device, for people
    load_w, actual_load_w : forecast and truth of its uncontrolled load, one value an MTU
    available_w, actual_available_w : the same for its plants, by device id
    partners : disutility in micro-currency/kWh by member id
    """

    member: Member
    profile: str
    devices: tuple[Device, ...]
    names: Mapping[str, str]
    load_w: tuple[int, ...]
    actual_load_w: tuple[int, ...]
    available_w: Mapping[str, tuple[int, ...]]
    actual_available_w: Mapping[str, tuple[int, ...]]
    partners: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A community and its day.

    Attributes
    ----------
    grid : where it is
    microgrid : calendar and tariff, windows of an hour over 24 hours from 06:00 local time
    participants : in order of their ids
    seed : of everything drawn
    """

    grid: GridDay
    microgrid: Microgrid
    participants: tuple[Participant, ...]
    seed: int


def build_scenario(grid: GridDay, catalogue: tuple[Appliance, ...], tariff: Tariff, *, seed: int) -> Scenario:
    """The community of a grid on a day.

    Each load of the grid is a member with a meter of its own; PV plants and batteries belong to the house at their
    bus. Households and farms own flexible appliances, drawn by the shares in the catalogue.
    """
    random = np.random.default_rng([seed, grid.day.toordinal()])
    start = _local(grid, DAY_START_MINUTE)
    microgrid = Microgrid(
        id=_microgrid_id(grid.name),
        time_zone=grid.time_zone.key,
        mtu_minutes=MTU_MINUTES,
        window_minutes=60,
        lead_minutes=5,
        start=start,
        end=start + MTUS * MTU_MINUTES * 60,
        network_charge_micro_per_kwh=round(tariff.network_charge * MICRO),
        currency="EUR",
        tariff=_tariff(grid, tariff, start),
    )
    first = DAY_START_MINUTE // MTU_MINUTES
    owners = _owners(grid)
    appliances = _draw_appliances(grid, catalogue, owners, random)
    partners = _partners(grid, owners, random)
    sky = 1.0 + CLOUD_ERROR * _noise(random)
    participants = []
    for load in sorted(grid.loads, key=lambda item: item.id):
        devices: list[tuple[Device, str]] = []
        forecast: dict[str, tuple[int, ...]] = {}
        actual: dict[str, tuple[int, ...]] = {}
        for plant in grid.plants:
            if owners.get(plant.bus) == load.id:
                device = f"{load.id}/{plant.id}"
                devices.append((_device(device, Plant(rated_w=plant.rated_w)), "PV plant"))
                forecast[device] = grid.available_w[plant.id][first : first + MTUS]
                actual[device] = _disturb(forecast[device], sky, plant.rated_w)
        for store in grid.stores:
            if owners.get(store.bus) == load.id:
                device = f"{load.id}/{store.id}"
                efficiency = round(math.sqrt(store.efficiency) * PPM)
                devices.append((_device(device, _storage(store.rated_w, store.capacity_wh, efficiency)), "battery"))
        for appliance in appliances.get(load.id, ()):
            device = f"{load.id}/{appliance.name.replace(' ', '-')}"
            if any(known.id == device for known, _ in devices):
                raise InputError(
                    f"appliance {appliance.name!r}: got the id of a plant or battery of {load.id}, wanted another"
                )
            devices.append((_device(device, _relay(grid, appliance, microgrid)), appliance.name))
        load_w = grid.load_w[load.id][first : first + MTUS]
        participants.append(
            Participant(
                member=Member(id=load.id, section=load.section),
                profile=load.profile,
                devices=tuple(device for device, _ in devices),
                names={device.id: name for device, name in devices},
                load_w=load_w,
                actual_load_w=_disturb(load_w, 1.0 + LOAD_ERROR * _noise(random), 10**9),
                available_w=forecast,
                actual_available_w=actual,
                partners=partners[load.id],
            )
        )
    return Scenario(grid=grid, microgrid=microgrid, participants=tuple(participants), seed=seed)


def _microgrid_id(name: str) -> str:
    """``1-LV-rural1--2-sw`` as an id: ``lv-rural1``."""
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word and not word.isdigit() and word != "sw"]
    id_ = "-".join(words) or "microgrid"
    return (id_ if id_[0].isalpha() else f"microgrid-{id_}")[:63]


def _local(grid: GridDay, minute: int) -> int:
    """Unix seconds of a local time, given in minutes since midnight of the day."""
    midnight = datetime(grid.day.year, grid.day.month, grid.day.day, tzinfo=grid.time_zone)
    wall = midnight + timedelta(days=minute // MINUTES_PER_DAY)
    return int(wall.astimezone(UTC).timestamp()) + minute % MINUTES_PER_DAY * 60


def _tariff(grid: GridDay, tariff: Tariff, start: int) -> tuple[TariffPeriod, ...]:
    """Hourly prices over the day."""
    periods = []
    for hour in range(MTUS * MTU_MINUTES // 60):
        local = datetime.fromtimestamp(start + hour * 3600, grid.time_zone).hour
        peak = tariff.peak_from_hour <= local < tariff.peak_to_hour
        periods.append(
            TariffPeriod(
                start=start + hour * 3600,
                end=start + (hour + 1) * 3600,
                import_price_micro_per_kwh=round((tariff.peak if peak else tariff.off_peak) * MICRO),
                export_price_micro_per_kwh=round(tariff.export * MICRO),
            )
        )
    return tuple(periods)


def _owners(grid: GridDay) -> dict[int, str]:
    """The house at each bus: its first household, farm or trade, else its first load."""
    owners: dict[int, str] = {}
    for load in sorted(grid.loads, key=lambda item: (not _is_house(item.profile), item.id)):
        owners.setdefault(load.bus, load.id)
    return owners


def _is_house(profile: str) -> bool:
    """Whether a profile is a household's, a farm's or a trade's rather than a heat pump's or a charging point's."""
    return profile[:2] in {"H0", "L0", "L1", "L2"} or (profile[:1] == "G" and profile[1:2].isdigit())


def _draw_appliances(
    grid: GridDay, catalogue: tuple[Appliance, ...], owners: Mapping[int, str], random: np.random.Generator
) -> dict[str, tuple[Appliance, ...]]:
    houses = sorted(load.id for load in grid.loads if _is_house(load.profile) and owners.get(load.bus) == load.id)
    drawn = {}
    for house in houses:
        drawn[house] = tuple(
            appliance for appliance in catalogue if appliance.flexible and random.random() < appliance.share
        )
    return drawn


def _partners(grid: GridDay, owners: Mapping[int, str], random: np.random.Generator) -> dict[str, dict[str, int]]:
    """Who names whom: each member up to four sellers, nobody more than six partners; near ones are liked better."""
    sections = {load.id: (load.section, load.bus) for load in grid.loads}
    producing = {plant.bus for plant in grid.plants} | {store.bus for store in grid.stores}
    sellers = sorted({owner for bus, owner in owners.items() if bus in producing})
    partners: dict[str, dict[str, int]] = {load.id: {} for load in grid.loads}
    for round_ in range(SELLERS):
        for member in sorted(partners):
            choice = [
                seller
                for seller in sellers
                if seller != member
                and seller not in partners[member]
                and max(len(partners[seller]), len(partners[member])) < PARTNERS
            ]
            if not choice or len(partners[member]) > round_:
                continue
            near = [seller for seller in choice if sections[seller][0] == sections[member][0]]
            pool = near if near and random.random() < 0.7 else choice
            seller = pool[int(random.integers(len(pool)))]
            for one, other in ((member, seller), (seller, member)):
                far = sections[one][0] != sections[other][0]
                partners[one][other] = int(random.integers(0, 2000)) + 1000 * far
    return partners


def _device(id_: str, flexibility: Flexibility) -> Device:
    return Device(id=id_, member=id_.partition("/")[0], flexibility=flexibility)


def _storage(rated_w: int, capacity_wh: int, efficiency_ppm: int) -> Storage:
    return Storage(
        max_charge_w=rated_w,
        max_discharge_w=rated_w,
        capacity_wh=capacity_wh,
        stored_wh=capacity_wh // 2,
        final_wh=capacity_wh // 2,
        charge_efficiency_ppm=efficiency_ppm,
        discharge_efficiency_ppm=efficiency_ppm,
        cycle_cost_micro_per_kwh=1000,
    )


def _relay(grid: GridDay, appliance: Appliance, microgrid: Microgrid) -> Relay:
    """The appliance's window on this day; the part of it that lies inside the 24 hours."""
    start = max(_local(grid, appliance.from_minute), microgrid.start)
    end = min(_local(grid, appliance.from_minute + appliance.window_minutes), microgrid.end)
    if appliance.minutes * 60 > end - start:
        raise InputError(
            f"appliance {appliance.name!r}: got {appliance.minutes / 60:g} hours, wanted at most the "
            f"{max(0, end - start) / 3600:g} hours of its window that lie between 06:00 and 06:00"
        )
    return Relay(
        rated_w=appliance.power_w,
        start=start,
        end=end,
        required_s=appliance.minutes * 60,
        min_on_s=appliance.run_minutes * 60,
        min_off_s=appliance.rest_minutes * 60,
        max_starts_per_day=appliance.starts_per_day,
    )


def _noise(random: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A stationary series with memory, of unit variance."""
    values = np.empty(MTUS)
    value = random.standard_normal()
    for k in range(MTUS):
        values[k] = value
        value = ERROR_MEMORY * value + math.sqrt(1 - ERROR_MEMORY**2) * random.standard_normal()
    return values


def _disturb(
    series: tuple[int, ...], factors: np.ndarray[tuple[int], np.dtype[np.float64]], upper: int
) -> tuple[int, ...]:
    """What happens instead of what was expected."""
    return tuple(min(max(round(value * factor), 0), upper) for value, factor in zip(series, factors, strict=True))
