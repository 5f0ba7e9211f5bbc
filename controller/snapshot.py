"""What a window is decided on: everything that counted when its gate closed, frozen, with its digest."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from controller.flexibility import from_plain, to_plain
from controller.microgrid import (
    Bounds,
    Device,
    DeviceState,
    Member,
    Microgrid,
    Order,
    SettlementRule,
    SettlementTerms,
    TariffPeriod,
    ThermalForecast,
    Window,
)
from controller.veto import Veto
from controller.wishes import Decided, decided_from_plain, decided_to_plain


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
    amended : how orders were completed or cut, in words, by member id
    vetoes : trades that the DSO forbids in this window, in order of their ids
    overrides : what owners decided themselves that reaches into the window, by device id
    relaxed : by target, what is kept of limits that nobody can keep; never of what was frozen, it follows from that
    supposed : limits that do not exist, of a plan that asks what if; never relaxed
    bought_wh : of an adjustment, what was bought from neighbours before, less what was sold, in each MTU to the end of
        the horizon, by member id
    grid_wh : the same from the grid, in each MTU of the window
    reputations : each member's score in parts per million; empty where nobody's order asks for them
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
    amended: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    vetoes: tuple[Veto, ...] = ()
    overrides: Mapping[str, Decided] = field(default_factory=dict)
    relaxed: Mapping[str, tuple[Bounds, ...]] = field(default_factory=dict)
    supposed: tuple[Limit, ...] = ()
    bought_wh: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    grid_wh: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    reputations: Mapping[str, int] = field(default_factory=dict)

    def bought_w(self, member: str) -> tuple[int, ...]:
        """What a member bought before as power, in each MTU; an MTU is a part of an hour, so that it is exact."""
        per_hour = 60 // self.microgrid.mtu_minutes
        return tuple(energy * per_hour for energy in self.bought_wh.get(member, (0,) * len(self.mtus())))

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
        return cls(
            microgrid=_microgrid(raw["microgrid"]),
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
            amended={member: tuple(notes) for member, notes in raw.get("amended", {}).items()},
            vetoes=tuple(Veto(**veto) for veto in raw.get("vetoes", ())),
            overrides=decided_from_plain(raw.get("overrides", {})),
            bought_wh={member: tuple(series) for member, series in raw.get("bought_wh", {}).items()},
            grid_wh={member: tuple(series) for member, series in raw.get("grid_wh", {}).items()},
            reputations=raw.get("reputations", {}),
        )

    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON: what the window's header commits to."""
        return hashlib.sha256(self.to_json().encode()).digest()


def _plain(snapshot: Snapshot) -> dict[str, Any]:
    """What a later version added is left out where it says nothing: equal inputs keep their digests."""
    values = asdict(snapshot)
    grid = values["microgrid"]
    del grid["timing"], grid["ahead_minutes"]
    if grid["planning_minutes"] is None:
        del grid["planning_minutes"]
    _put_terms(grid, snapshot.microgrid.terms)
    for member in values["members"]:
        for name in ("connection_w", "feed_in_w"):
            if member[name] is None:
                del member[name]
    for name in ("amended", "vetoes", "bought_wh", "grid_wh", "reputations"):
        if not values[name]:
            del values[name]
    for order in values["orders"].values():
        for name in ("offers", "attributes"):
            if not order[name]:
                del order[name]
    for device, source in zip(values["devices"], snapshot.devices, strict=True):
        device["flexibility"] = to_plain(source.flexibility)
    # Left out where there is none, so that the digests of windows without are those of earlier versions.
    del values["overrides"], values["relaxed"]
    if not snapshot.supposed:
        del values["supposed"]
    if snapshot.overrides:
        values["overrides"] = decided_to_plain(snapshot.overrides)
    return values


def _put_terms(grid: dict[str, Any], terms: SettlementTerms) -> None:
    del grid["terms"]
    if terms != SettlementTerms():
        grid["terms"] = asdict(terms) | {"rule": terms.rule.value}


def microgrid_of(text: str) -> Microgrid:
    """The microgrid of a snapshot's text alone."""
    return _microgrid(json.loads(text)["microgrid"])


def _microgrid(values: dict[str, Any]) -> Microgrid:
    terms = dict(values.get("terms", {}))
    if "rule" in terms:
        terms["rule"] = SettlementRule(terms["rule"])
    return Microgrid(
        **values
        | {"tariff": tuple(TariffPeriod(**period) for period in values["tariff"]), "terms": SettlementTerms(**terms)}
    )


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
        offers=tuple((sell, buy) for sell, buy in values.get("offers", ())),
        attributes=values.get("attributes", {}),
    )


def continued(order: Order, *, offset: int, mtus: int, day: int) -> tuple[Order, tuple[str, ...]]:
    """An order as it counts for a later window, and in words what had to be added.

    Where it ends before the planning does, each forecast goes on as a day before within the order, or where the order
    is shorter than a day as its last value.

    Parameters
    ----------
    order : as it was given
    offset : MTUs between the start of its own window and the other's
    mtus : how many are wanted
    day : MTUs in 24 hours
    """
    known = len(order.load_w)
    places = [_place(offset + k, known, day) for k in range(mtus)]

    def of(series: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(series[place] for place in places) if series else ()

    missing = max(0, min(mtus, offset + mtus - known))
    notes = (f"forecasts: got {mtus - missing} of {mtus} MTUs, went on as the day before",) if missing else ()
    return replace(
        order,
        # Offers are for the order's own window.
        offers=() if offset else order.offers,
        load_w=of(order.load_w),
        production={device: of(series) for device, series in order.production.items()},
        thermal={
            device: ThermalForecast(
                ambient_milli_c=of(forecast.ambient_milli_c),
                draw_w=of(forecast.draw_w),
                performance_ppm=of(forecast.performance_ppm),
            )
            for device, forecast in order.thermal.items()
        },
    ), notes


def _place(wanted: int, known: int, day: int) -> int:
    """Which of the known values stands for one that is wanted."""
    if wanted < known:
        return wanted
    days = -(-(wanted - known + 1) // day)
    return wanted - days * day if wanted >= days * day else known - 1
