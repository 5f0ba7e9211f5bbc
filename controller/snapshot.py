"""What a window is decided on: everything that counted when its gate closed, frozen, with its digest."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from controller.microgrid import (
    Bounds,
    Device,
    DeviceSetpoint,
    DeviceState,
    Flexibility,
    Member,
    Microgrid,
    Order,
    Plant,
    Relay,
    SetpointKind,
    Storage,
    TariffPeriod,
    Window,
)

SECONDS_PER_HOUR = 3600
PPM = 1_000_000


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
                Device(id=d["id"], member=d["member"], flexibility=_flexibility(d["flexibility"]))
                for d in raw["devices"]
            ),
            states={k: DeviceState(**v) for k, v in raw["states"].items()},
            orders={k: _order(v) for k, v in raw["orders"].items()},
            order_digests=raw["order_digests"],
            limits=tuple(
                Limit(**limit | {"periods": tuple(Bounds(**p) for p in limit["periods"])}) for limit in raw["limits"]
            ),
            carry=raw["carry"],
        )

    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON: what the window's header commits to."""
        return hashlib.sha256(self.to_json().encode()).digest()


def project(
    state: DeviceState, device: Device, setpoints: Sequence[DeviceSetpoint], start: int, mtu_seconds: int
) -> DeviceState:
    """The state of a device at ``start``, if it does until then what it was told.

    Parameters
    ----------
    state : its newest telemetry, earlier than ``start``
    device : what it is
    setpoints : its own, of the MTUs in between
    start : Unix seconds
    mtu_seconds : how long each setpoint holds
    """
    closed_s, stored_wh = state.closed_s, state.stored_wh
    power_w = state.power_w
    for setpoint in setpoints:
        seconds = min(setpoint.mtu_start + mtu_seconds, start) - max(setpoint.mtu_start, state.instant)
        if seconds <= 0:
            continue
        match device.flexibility, setpoint.kind:
            case Relay(rated_w=rated_w), SetpointKind.RELAY:
                closed_s += seconds * setpoint.value
                power_w = rated_w * setpoint.value
            case Storage() as storage, SetpointKind.POWER:
                power_w = setpoint.value
                known_wh = storage.stored_wh if stored_wh is None else stored_wh
                stored_wh = _stored(storage, known_wh, setpoint.value, seconds)
            case _:
                pass
    return DeviceState(device=device.id, instant=start, power_w=power_w, closed_s=closed_s, stored_wh=stored_wh)


def _stored(storage: Storage, stored_wh: int, power_w: int, seconds: int) -> int:
    """Wh in a battery after some seconds at a constant power, whole Wh, within its capacity."""
    scale = PPM * SECONDS_PER_HOUR
    if power_w >= 0:
        change = power_w * seconds * storage.charge_efficiency_ppm // scale
    else:
        change = -(-power_w * seconds * PPM // (storage.discharge_efficiency_ppm * SECONDS_PER_HOUR))
    return min(max(stored_wh + change, 0), storage.capacity_wh)


def _plain(snapshot: Snapshot) -> dict[str, Any]:
    values = asdict(snapshot)
    for device, source in zip(values["devices"], snapshot.devices, strict=True):
        device["flexibility"]["kind"] = type(source.flexibility).__name__
    return values


def _flexibility(values: dict[str, Any]) -> Flexibility:
    kinds: dict[str, type[Relay] | type[Storage] | type[Plant]] = {
        "Relay": Relay,
        "Storage": Storage,
        "Plant": Plant,
    }
    return kinds[values.pop("kind")](**values)


def _order(values: dict[str, Any]) -> Order:
    return Order(
        window=values["window"],
        member=values["member"],
        load_w=tuple(values["load_w"]),
        production={device: tuple(series) for device, series in values["production"].items()},
        partners=values["partners"],
    )


def cut(order: Order, mtus: int) -> Order:
    """The tail of an order that was made for an earlier window: its last ``mtus`` MTUs."""
    return Order(
        window=order.window,
        member=order.member,
        load_w=order.load_w[-mtus:],
        production={device: series[-mtus:] for device, series in order.production.items()},
        partners=order.partners,
    )
