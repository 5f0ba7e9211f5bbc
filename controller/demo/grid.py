"""A real low-voltage grid with the profiles of some days: a SimBench extract, checked at load."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from controller.demo.strict import Reader
from controller.errors import InputError

FORMAT = "gridpact.grid.v1"
DATA = Path(__file__).parent / "data"
PROFILE_MTUS = 120
"""Thirty hours of quarter-hours from local midnight."""
MTU_MINUTES = 15
FIRST_DAY, LAST_DAY = date(2000, 1, 2), date(2099, 12, 30)
ID = re.compile(r"[a-z][a-z0-9-]{0,23}")
NO_MEMBERS = {"grid", "dso", "community"}
"""Accounts of the ledger that are not members'."""
ALIASES = {"rural1": "1-LV-rural1--2-sw", "rural3": "1-LV-rural3--2-sw"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A metered connection.

    Attributes
    ----------
    id : unique
    bus : where it hangs
    profile : SimBench's name of its profile: H0 households, L farms, G trade; heat pumps and charging points apart
    section : feeder, counted from the transformer
    """

    id: str
    bus: int
    profile: str
    section: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """A PV plant of ``rated_w`` at a bus."""

    id: str
    bus: int
    rated_w: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A battery at a bus."""

    id: str
    bus: int
    rated_w: int
    capacity_wh: int
    efficiency: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GridDay:
    """One grid on one day.

    Attributes
    ----------
    name, day, time_zone : what it is
    transformer_va : rated power of its only transformer
    loads, plants, stores : what hangs on it
    load_w, available_w : quarter-hour profiles of 30 hours from local midnight by id, in W
    """

    name: str
    day: date
    time_zone: ZoneInfo
    transformer_va: int
    loads: tuple[Load, ...]
    plants: tuple[Plant, ...]
    stores: tuple[Store, ...]
    load_w: Mapping[str, tuple[int, ...]]
    available_w: Mapping[str, tuple[int, ...]]


def grid_names() -> tuple[str, ...]:
    """The grids that are shipped."""
    return tuple(sorted(path.stem for path in DATA.glob("*.json") if path.stem.startswith("1-LV-")))


def load_grid(name: str, day: str | None) -> GridDay:
    """A grid on a day.

    Parameters
    ----------
    name : a shipped grid (or its short name, such as rural1), or the path of an extract
    day : ISO date; None takes the file's default

    Raises
    ------
    InputError
        If grid or day is unknown, or a field is missing or malformed.
    """
    root = Reader.of_file(_path(name))
    if root.field("format").value != FORMAT:
        raise root.field("format").wrong(repr(FORMAT))
    days = root.field("days").entries()
    if not days:
        raise root.field("days").wrong("at least one day")
    wanted = day if day is not None else root.field("default_day").text()
    if wanted not in days:
        raise InputError(f"day: got {wanted!r}, wanted one of {', '.join(days)} ({root.place})")
    if root.field("mtu_minutes").value != MTU_MINUTES:
        raise root.field("mtu_minutes").wrong(str(MTU_MINUTES))
    zone = _zone(root.field("time_zone"))
    loads = _loads(root)
    houses = {load.bus for load in loads}
    plants = tuple(
        Plant(id=_id(p), bus=_house(p.field("bus"), houses), rated_w=p.field("rated_w").integer(lower=1))
        for p in root.field("pv").items()
    )
    stores = tuple(
        Store(
            id=_id(s),
            bus=_house(s.field("bus"), houses),
            rated_w=s.field("rated_w").integer(lower=1),
            capacity_wh=s.field("capacity_wh").integer(lower=1),
            efficiency=s.field("efficiency").number(lower=0.01, upper=1.0),
        )
        for s in root.field("storages").items()
    )
    ids = [*(item.id for item in loads), *(item.id for item in plants), *(item.id for item in stores)]
    for id_ in ids:
        if ids.count(id_) > 1:
            raise InputError(f"{root.place}: id {id_!r}: got {ids.count(id_)} times, wanted once")
    profiles = days[wanted]
    return GridDay(
        name=root.field("name").text(),
        day=_date(root.place, wanted, zone),
        time_zone=zone,
        transformer_va=root.field("transformer").field("rated_va").integer(lower=1),
        loads=loads,
        plants=plants,
        stores=stores,
        load_w={load.id: profiles.field("load_w").field(load.id).watts(PROFILE_MTUS) for load in loads},
        available_w={
            plant.id: profiles.field("pv_w").field(plant.id).watts(PROFILE_MTUS, upper=plant.rated_w)
            for plant in plants
        },
    )


def _path(name: str) -> Path:
    known = ALIASES.get(name, name)
    if known in grid_names():
        return DATA / f"{known}.json"
    path = Path(name)
    if path.suffix == ".json":
        return path
    raise InputError(
        f"grid: got {name!r}, wanted one of {', '.join((*ALIASES, *grid_names()))}, or the path of a .json extract"
    )


def _id(place: Reader) -> str:
    id_ = place.field("id").text()
    if not ID.fullmatch(id_):
        raise place.field("id").wrong("1 to 24 lower case letters, digits and hyphens, a letter first")
    if id_ in NO_MEMBERS:
        raise place.field("id").wrong("none of the ledger's own accounts")
    return id_


def _house(place: Reader, houses: Collection[int]) -> int:
    """A bus at which somebody lives, to whom a plant or a battery belongs."""
    bus = place.integer()
    if bus not in houses:
        raise place.wrong("a bus with a load")
    return bus


def _zone(place: Reader) -> ZoneInfo:
    try:
        return ZoneInfo(place.text())
    except (ValueError, OSError, ZoneInfoNotFoundError) as err:
        raise place.wrong("an IANA time zone such as Europe/Berlin") from err


def _date(file: str, text: str, zone: ZoneInfo) -> date:
    """A day on whose 30 hours the clocks do not change: a wall clock's hours are then the profile's."""
    try:
        day = date.fromisoformat(text)
    except ValueError as err:
        raise InputError(f"{file}: days: got {text!r}, wanted dates such as 2016-01-20") from err
    if not FIRST_DAY <= day <= LAST_DAY:
        raise InputError(f"{file}: days: got {text}, wanted {FIRST_DAY} to {LAST_DAY}")
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    if midnight.utcoffset() != (midnight + timedelta(minutes=PROFILE_MTUS * MTU_MINUTES)).utcoffset():
        raise InputError(f"{file}: days: got {text}, wanted a day on whose 30 hours the clocks of {zone} do not change")
    return day


def _loads(root: Reader) -> tuple[Load, ...]:
    sections = _sections(root)
    loads = []
    for place in root.field("loads").items():
        bus = place.field("bus").integer()
        if bus not in sections:
            raise place.field("bus").wrong("a bus that lines connect with the transformer")
        loads.append(Load(id=_id(place), bus=bus, profile=place.field("profile").text(), section=sections[bus]))
    if not loads:
        raise root.field("loads").wrong("at least one load")
    return tuple(loads)


def _sections(root: Reader) -> dict[int, str]:
    """The feeder of each bus: the branch at the transformer's bus through which it is reached."""
    neighbours: dict[int, list[int]] = {}
    for line in root.field("lines").items():
        ends = line.field("from_bus").integer(), line.field("to_bus").integer()
        neighbours.setdefault(ends[0], []).append(ends[1])
        neighbours.setdefault(ends[1], []).append(ends[0])
    source = root.field("transformer").field("bus").integer()
    sections = {source: "busbar"}
    for number, first in enumerate(sorted(neighbours.get(source, [])), start=1):
        reached = [first]
        while reached:
            bus = reached.pop()
            if bus in sections:
                continue
            sections[bus] = f"feeder-{number}"
            reached += neighbours[bus]
    return sections
