"""The appliances that households own: a published table, checked at load."""

import re
from dataclasses import dataclass
from pathlib import Path

from controller.demo.strict import Reader
from controller.errors import InputError

FORMAT = "gridpact.appliances.v1"
MINUTES_PER_DAY = 1440
TIME = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])")
MTU_MINUTES = 15
LONGEST_NAME = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Appliance:
    """One row of the catalogue.

    Attributes
    ----------
    name : lower case words
    flexible : whether a planner may choose when it runs
    from_minute, to_minute : local time of day in minutes; an end at or before the start is on the next day
    minutes : how long it runs in there
    power_w : while running
    share : part of the households that own one, 0 to 1
    run_minutes, rest_minutes : least length of a run, and of the rest between two; what a compressor or pump asks for
    starts_per_day : at most so many; None for any number
    """

    name: str
    flexible: bool
    from_minute: int
    to_minute: int
    minutes: int
    power_w: int
    share: float
    run_minutes: int = 0
    rest_minutes: int = 0
    starts_per_day: int | None = None

    @property
    def window_minutes(self) -> int:
        """Length of the time in which it may run."""
        return self.to_minute - self.from_minute + MINUTES_PER_DAY * (self.to_minute <= self.from_minute)


def load_catalogue(path: Path) -> tuple[Appliance, ...]:
    """The appliances in a file.

    Raises
    ------
    InputError
        If a field is missing or malformed, a name stands twice, or a row asks for more hours than its window holds.
    """
    root = Reader.of_file(path)
    if root.field("format").value != FORMAT:
        raise root.field("format").wrong(repr(FORMAT))
    appliances = tuple(_appliance(row) for row in root.field("appliances").items())
    names = [appliance.name for appliance in appliances]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: appliance {name!r}: got {names.count(name)} rows, wanted one")
    return appliances


def _appliance(row: Reader) -> Appliance:
    name = row.field("name").text()
    if not re.fullmatch(r"[a-z]+( [a-z]+)*", name) or len(name) > LONGEST_NAME:
        raise row.field("name").wrong(f"lower case words of at most {LONGEST_NAME} characters")
    flexible = row.field("flexible").truth()
    hours = row.field("hours").number(lower=0.0, upper=24.0)
    appliance = Appliance(
        name=name,
        flexible=flexible,
        from_minute=_minute(row.field("from")),
        to_minute=_minute(row.field("to")),
        minutes=round(hours * 60),
        power_w=round(row.field("power_kw").number(lower=0.001, upper=1000.0) * 1000),
        share=row.field("share").number(upper=1.0) if flexible else 0.0,
        run_minutes=_least(row, "min_run_hours", upper=hours),
        rest_minutes=_least(row, "min_rest_hours", upper=24.0),
        starts_per_day=row.field("starts_per_day").integer(lower=1, upper=96) if row.has("starts_per_day") else None,
    )
    if appliance.minutes > appliance.window_minutes:
        raise InputError(
            f"{row.place}: appliance {name!r}: got {hours:g} hours between {row.field('from').value} and "
            f"{row.field('to').value}, wanted at most the {appliance.window_minutes / 60:g} hours of that window"
        )
    if appliance.minutes % MTU_MINUTES and flexible:
        raise row.field("hours").wrong("a multiple of a quarter of an hour")
    return appliance


def _least(row: Reader, name: str, *, upper: float) -> int:
    """Minutes of an optional duration: whole quarters of an hour."""
    if not row.has(name):
        return 0
    minutes = round(row.field(name).number(upper=upper) * 60)
    if minutes % MTU_MINUTES:
        raise row.field(name).wrong("a multiple of a quarter of an hour")
    return minutes


def _minute(place: Reader) -> int:
    match = TIME.fullmatch(place.text())
    if match is None or (int(match[1]) == 24 and int(match[2])):
        raise place.wrong("a time of day such as 19:00")
    return int(match[1]) * 60 + int(match[2])
