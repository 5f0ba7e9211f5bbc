"""What the homes of a sample share: the hours, the weather, the tariff."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from controller.plan.calendar import Calendar
from optimization.community import Floats

ZONE = "Europe/Berlin"
START = datetime(2026, 3, 18, 15, 0, tzinfo=UTC)
"""Four in the afternoon of a day in March that needs heat and has sun: even a short horizon has its evening peak."""

IMPORT_PERIODS = (("22:00", "06:00", 0.236), ("17:00", "21:00", 0.418))
IMPORT_OTHERWISE = 0.312
EXPORT_PRICE = 0.079

SUNRISE, SUNSET = 6.5, 18.6
ORIENTATIONS = {"sun_east": -1.6, "sun_south": 0.0, "sun_west": 1.6}
"""Hours by which a roof's own noon lies after the sun's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the homes share.

    Attributes
    ----------
    calendar : the horizon
    hour : (T,) of the local day, at each MTU's middle
    import_price : (T,) currency/kWh
    outdoor_c : (T,) temperature
    performance : (T,) thermal kW per electric kW of a heat pump that takes heat from outdoors
    warmth_c : (T,) lower comfort bound of a house
    sun : (T,) kW per installed kW, by orientation
    """

    calendar: Calendar
    hour: Floats
    import_price: Floats
    outdoor_c: Floats
    performance: Floats
    warmth_c: Floats
    sun: dict[str, Floats]

    @property
    def mtus(self) -> int:
        """Number of MTUs."""
        return self.calendar.mtus

    @property
    def hours(self) -> float:
        """Length of one MTU in hours."""
        return self.calendar.mtu_minutes / 60

    def mtus_of(self, minutes: float) -> int:
        """The whole MTUs nearest to a time, at least one."""
        return max(1, round(minutes / self.calendar.mtu_minutes))

    def head(self, id_: str) -> dict[str, Any]:
        """The fields of the community's file that come before its peers."""
        start = self.calendar.start.strftime("%Y-%m-%dT%H:%M:%SZ")
        periods = [{"from": begin, "to": end, "value": value} for begin, end, value in IMPORT_PERIODS]
        return {
            "version": 1,
            "id": id_,
            "currency": "EUR",
            "horizon": {
                "start": start,
                "mtus": self.mtus,
                "mtu_minutes": self.calendar.mtu_minutes,
                "time_zone": ZONE,
            },
            "profiles": {
                "outdoor_c": self.outdoor_c.tolist(),
                "performance": self.performance.tolist(),
                "warmth_c": {"periods": [{"from": "06:00", "to": "22:00", "value": 20.0}], "otherwise": 18.5},
                **{name: values.tolist() for name, values in self.sun.items()},
            },
            "tariff": {
                "import_price": {"periods": periods, "otherwise": IMPORT_OTHERWISE},
                "export_price": EXPORT_PRICE,
            },
        }


def setting_of(*, seed: int, mtus: int, mtu_minutes: int) -> Setting:
    """The hours, weather and tariff of a sample."""
    calendar = Calendar(start=START, mtus=mtus, mtu_minutes=mtu_minutes, zone=ZoneInfo(ZONE))
    minute = np.array(calendar.minute_of_day())
    hour = (minute + mtu_minutes / 2) / 60
    random = np.random.default_rng([seed])
    mean, swing, clear = random.uniform(6.0, 11.0), random.uniform(3.0, 6.0), random.uniform(0.45, 0.95)
    outdoor = np.round(mean + swing * np.cos((hour - 15.0) * np.pi / 12), 1)
    clouds = np.clip(clear + 0.12 * random.standard_normal(mtus), 0.1, 1.0)
    price = np.full(mtus, IMPORT_OTHERWISE)
    price[(minute >= 22 * 60) | (minute < 6 * 60)] = IMPORT_PERIODS[0][2]
    price[(minute >= 17 * 60) & (minute < 21 * 60)] = IMPORT_PERIODS[1][2]
    return Setting(
        calendar=calendar,
        hour=hour,
        import_price=price,
        outdoor_c=outdoor,
        performance=np.round(2.9 + 0.06 * outdoor, 2),
        warmth_c=np.where((minute >= 6 * 60) & (minute < 22 * 60), 20.0, 18.5),
        sun={name: np.round(clouds * _sunshine(hour, later), 3) for name, later in ORIENTATIONS.items()},
    )


def _sunshine(hour: Floats, later: float) -> Floats:
    """(T,) kW per installed kW under a clear sky of a roof whose noon is so many hours later."""
    day = np.clip((hour - SUNRISE) / (SUNSET - SUNRISE), 0.0, 1.0)
    facing = np.maximum(0.0, np.cos((hour - 12.6 - later) * np.pi / 14.0))
    return np.asarray(0.85 * np.sin(np.pi * day) * facing)
