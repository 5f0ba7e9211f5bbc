"""What a window is decided on: everything that counted when its gate closed, frozen, with its digest."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from controller.flexibility import from_plain, to_plain
from controller.microgrid import (
    Bounds,
    Device,
    DeviceState,
    Member,
    Microgrid,
    Order,
    TariffPeriod,
    ThermalForecast,
    Window,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """An envelope that counted: its id, its target's resource name, its periods, the digest of what was signed."""

    id: str
    target: str
    periods: tuple[Bounds, ...]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The inputs of a window.

    Attributes
    ----------
    microgrid, window : what is decided
    members, devices : in order of their ids
    states : each device's state as it will be at the window's start, by device id
    orders : each member's newest order, cut to begin with the window, by member id
    order_digests : SHA-256 of the signed orders, by member id
    limits : envelopes in order of their ids
    carry : remainders of rounding from the window before, by peer (W min) and link (micro-Wh)
    planned_w : what the last plan foresaw from the window's start on, of devices whose owners count on it
    uplifts : regret and uplifts received of all windows before, micro-currency, by member id
    """

    microgrid: Microgrid
    window: Window
    members: tuple[Member, ...]
    devices: tuple[Device, ...]
    states: Mapping[str, DeviceState]
    orders: Mapping[str, Order]
    order_digests: Mapping[str, str]
    limits: tuple[Limit, ...]
    carry: Mapping[str, int]
    planned_w: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    uplifts: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def mtus(self) -> tuple[int, ...]:
        """The starts of all MTUs from the window to the end of the horizon."""
        return self.microgrid.mtus(self.window.start, self.microgrid.end)

    def window_mtus(self) -> tuple[int, ...]:
        """The starts of the window's own MTUs."""
        return self.microgrid.mtus(self.window.start, self.window.end)

    def to_json(self) -> str:
        """Canonical JSON: equal snapshots give equal text."""
        return json.dumps(_plain(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Snapshot":
        """The snapshot of a text that ``to_json`` wrote."""
        raw = json.loads(text)
        grid = raw["microgrid"]
        return cls(
            microgrid=Microgrid(**grid | {"tariff": tuple(TariffPeriod(**p) for p in grid["tariff"])}),
            window=Window(**raw["window"]),
            members=tuple(Member(**m) for m in raw["members"]),
            devices=tuple(
                Device(id=d["id"], member=d["member"], flexibility=from_plain(d["flexibility"])) for d in raw["devices"]
            ),
            states={k: DeviceState(**v) for k, v in raw["states"].items()},
            orders={k: _order(v) for k, v in raw["orders"].items()},
            order_digests=raw["order_digests"],
            limits=tuple(
                Limit(**limit | {"periods": tuple(Bounds(**p) for p in limit["periods"])}) for limit in raw["limits"]
            ),
            carry=raw["carry"],
            planned_w={device: tuple(series) for device, series in raw.get("planned_w", {}).items()},
            uplifts={member: (regret, received) for member, (regret, received) in raw.get("uplifts", {}).items()},
        )

    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON: what the window's header commits to."""
        return hashlib.sha256(self.to_json().encode()).digest()


def _plain(snapshot: Snapshot) -> dict[str, Any]:
    values = asdict(snapshot)
    for device, source in zip(values["devices"], snapshot.devices, strict=True):
        device["flexibility"] = to_plain(source.flexibility)
    return values


def _order(values: dict[str, Any]) -> Order:
    return Order(
        window=values["window"],
        member=values["member"],
        load_w=tuple(values["load_w"]),
        production={device: tuple(series) for device, series in values["production"].items()},
        partners=values["partners"],
        thermal={
            device: ThermalForecast(**{name: tuple(series) for name, series in forecast.items()})
            for device, forecast in values.get("thermal", {}).items()
        },
    )


def cut(order: Order, mtus: int) -> Order:
    """The tail of an order that was made for an earlier window: its last ``mtus`` MTUs."""
    return Order(
        window=order.window,
        member=order.member,
        load_w=order.load_w[-mtus:],
        production={device: series[-mtus:] for device, series in order.production.items()},
        partners=order.partners,
        thermal={
            device: ThermalForecast(
                ambient_milli_c=forecast.ambient_milli_c[-mtus:],
                draw_w=forecast.draw_w[-mtus:],
                performance_ppm=forecast.performance_ppm[-mtus:],
            )
            for device, forecast in order.thermal.items()
        },
    )
