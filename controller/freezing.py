"""Gathers what counts for a window at a moment: orders, limits, and what devices will have done by its start."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from controller.adjusting import priced_as, traded_before
from controller.counted_orders import GivenFor, counted_order
from controller.counting import counted
from controller.flexibility import Generator, Programme, Relay, Vehicle
from controller.microgrid import PAST_S, Device, DeviceSetpoint, DeviceState, Member, Microgrid, Order, Slot, Window
from controller.past import Past
from controller.snapshot import Limit, Snapshot
from controller.store import market, overrides, registry, reputations, vetoes
from controller.store.market import PlanRow, WindowOutline, WindowRow
from controller.uplifts import from_json
from controller.wishes import Decided, obeyed

COMMITTED = (Relay, Programme, Vehicle, Generator)
"""Kinds of devices whose owners count on the plan: it changes them only where that is worth a price."""


LimitsFor = Callable[[str, int, int], tuple[Limit, ...]]
"""What limits a microgrid (by id) from an instant to another, as things stand."""


def snapshot_of(connection: Connection, microgrid: Microgrid, window: Window, limits: LimitsFor) -> Snapshot:
    """What counts for a window at this moment.

    Parameters
    ----------
    connection : of the transaction
    microgrid : its calendar as it is kept
    window : which
    limits : tells the limits
    """
    view = microgrid.seen_from(window)
    devices = registry.devices(connection, microgrid.id)
    members = registry.members(connection, microgrid.id)
    earlier = market.outlines(connection, microgrid.id, start=window.start - PAST_S, end=window.start)
    begins = {row.name: row.start for row in earlier} | {window.name: window.start}
    wanted = _Wanted(view=view, window=window, begins=begins, counting=(window.name, 0))
    orders, digests, amended = _orders(connection, wanted, members, devices)
    carry = market.last_carry(connection, microgrid.id, at=window.start)
    planned = market.last_plan(connection, microgrid.id, before=window.start)
    return Snapshot(
        microgrid=view,
        window=window,
        members=tuple(members),
        devices=tuple(devices),
        states=_projected(connection, view, window, devices, earlier),
        orders=orders,
        order_digests=digests,
        limits=limits(view.id, window.start, view.end),
        carry=json.loads(carry or "{}"),
        planned_w=_planned(view, window, planned, devices),
        uplifts=_uplifts(market.newest_with(connection, microgrid.id, "uplifts", before=window.start)),
        amended=amended,
        vetoes=vetoes.in_force(connection, microgrid.id, window.start, window.end),
        overrides=_overrides(connection, window, devices, microgrid.id),
        reputations=_reputations(connection, microgrid.id, orders, members, window.start),
    )


def adjusted_of(
    connection: Connection, microgrid: Microgrid, row: WindowRow, slot: Slot, limits: LimitsFor
) -> Snapshot:
    """What counts for the adjustment of a part of a window at this moment.

    Whose window it is, its charge and its prices are as its own clearing had them.

    Parameters
    ----------
    connection : of the transaction
    microgrid : its calendar as it is kept
    row : the window, whose gate has closed
    slot : the part
    limits : tells the limits
    """
    cleared = Snapshot.from_json(row.snapshot or "")
    part = Window(name=f"{row.name}/adjustments/{slot.number}", start=slot.start, end=slot.end)
    view = priced_as(microgrid.seen_from(part), cleared.microgrid, slot.start, row.end)
    members = {member.id for member in cleared.members}
    devices = [device for device in registry.devices(connection, microgrid.id) if device.member in members]
    # Orders that counted for the window's own clearing count for all of its parts.
    earlier = market.outlines(connection, microgrid.id, start=row.start - PAST_S, end=slot.start)
    begins = {each.name: each.start for each in earlier} | {row.name: row.start}
    wanted = _Wanted(view=view, window=part, begins=begins, counting=(row.name, slot.number))
    orders, digests, amended = _orders(connection, wanted, cleared.members, devices)
    mtus = view.mtus(slot.start, view.end)
    traded = market.trades_between(connection, microgrid.id, slot.start, view.end)
    before = traded_before(traded, mtus, len(view.mtus(slot.start, slot.end)))
    # The window's own plan begins with the part, where it is the first; later ones begin in the window.
    planned = market.last_plan(connection, microgrid.id, before=slot.start + 1)
    return Snapshot(
        microgrid=view,
        window=part,
        members=cleared.members,
        devices=tuple(devices),
        states=_projected(connection, view, part, devices, earlier),
        orders=orders,
        order_digests=digests,
        limits=limits(view.id, slot.start, view.end),
        carry=json.loads(market.last_carry(connection, microgrid.id, at=slot.start) or "{}"),
        planned_w=_planned(view, part, planned, devices),
        amended=amended,
        vetoes=vetoes.in_force(connection, microgrid.id, slot.start, slot.end),
        overrides=_overrides(connection, part, devices, microgrid.id),
        bought_wh=before.from_neighbours,
        grid_wh=before.from_grid,
        reputations=cleared.reputations or _reputations(connection, view.id, orders, cleared.members, row.start),
    )


def _reputations(
    connection: Connection, microgrid: str, orders: Mapping[str, Order], members: Sequence[Member], start: int
) -> dict[str, int]:
    """The members' scores for a window, where anybody's order asks for them."""
    if not any("REPUTATION" in order.attributes for order in orders.values()):
        return {}
    return reputations.scores_at(connection, microgrid, [member.id for member in members], start)


def expected_states(connection: Connection, cleared: Snapshot, now: Snapshot, window: str) -> dict[str, DeviceState]:
    """Each device's state at the start of a window's part, had it done what the window's own clearing told it.

    Where a part before was adjusted, or left to the failsafes, it was told something else: what follows in the
    window's plan may rest on what it did not do.
    """
    told: dict[str, list[DeviceSetpoint]] = {}
    for setpoint in market.own_setpoints(connection, window):
        if setpoint.mtu_start < now.window.start:
            told.setdefault(setpoint.device, []).append(setpoint)
    past = Past(microgrid=now.microgrid, start=now.window.start)
    states = {device.id: past.state(device, None, cleared, told.get(device.id, ())) for device in now.devices}
    return {id_: state for id_, state in states.items() if state is not None}


def _overrides(connection: Connection, window: Window, devices: Sequence[Device], microgrid: str) -> dict[str, Decided]:
    """What owners decided themselves of devices that they have, and that reaches into the window."""
    known = {device.id for device in devices}
    return {
        override.device: Decided(mode=override.mode, steps=override.steps)
        for override in overrides.standing(connection, microgrid)
        if override.until > window.start and override.device in known
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """Which orders are wanted.

    Attributes
    ----------
    view : the microgrid as far as planning looks
    window : from whose start on
    begins : when each window begins whose orders may count, by name
    counting : the window of whose orders only those count that were there for its clearing of that number
    """

    view: Microgrid
    window: Window
    begins: Mapping[str, int]
    counting: tuple[str, int]


def _orders(
    connection: Connection, wanted: _Wanted, members: Sequence[Member], devices: Sequence[Device]
) -> tuple[dict[str, Order], dict[str, str], dict[str, tuple[str, ...]]]:
    """Each member's newest order from the window's start on, its digest, and what was done to it."""
    view, window, starts = wanted.view, wanted.window, wanted.begins
    newest = market.newest_orders(connection, list(starts), counting=wanted.counting)
    orders: dict[str, Order] = {}
    digests: dict[str, str] = {}
    amended: dict[str, tuple[str, ...]] = {}
    for member in members:
        if (stored := newest.get(member.id)) is None:
            continue
        order, notes = counted_order(
            stored.payload,
            of=GivenFor(name=stored.window, start=starts[stored.window], own=stored.window == wanted.counting[0]),
            view=view,
            window=window,
            member=member,
            devices=devices,
        )
        orders[member.id], digests[member.id] = order, stored.digest.hex()
        if notes:
            amended[member.id] = notes
    return dict(sorted(orders.items())), dict(sorted(digests.items())), amended


def _uplifts(row: WindowRow | None) -> dict[str, tuple[int, int]]:
    """What the last clearing that had uplifts left to those after it: each member's regret, and what it received."""
    uplifts = from_json(row.uplifts) if row is not None else ()
    return {uplift.member: (uplift.regret_micro, uplift.received_micro) for uplift in uplifts}


def _planned(
    microgrid: Microgrid, window: Window, row: PlanRow | None, devices: Sequence[Device]
) -> dict[str, tuple[int, ...]]:
    """What the last plan foresaw from the window's start on, of devices whose owners count on it."""
    if row is None:
        return {}
    plan = json.loads(row.plan)
    offset = (window.start - plan["start"]) // microgrid.mtu_seconds
    mtus = len(microgrid.mtus(window.start, microgrid.end))
    # Where planning has moved on, it looks at MTUs of which the last plan foresaw nothing.
    beyond = (0,) * max(0, mtus - len(plan["net_w"]) + offset) if microgrid.rolling else ()
    return {
        device.id: (*plan["power_w"][device.id][offset:], *beyond)[: mtus if microgrid.rolling else None]
        for device in devices
        if device.id in plan["power_w"] and isinstance(device.flexibility, COMMITTED)
    }


def states_at(connection: Connection, microgrid: Microgrid, instant: int) -> dict[str, DeviceState]:
    """Each device's state at an instant: its telemetry, and from there on what it was told."""
    moment = Window(name="", start=instant, end=instant)
    devices = registry.devices(connection, microgrid.id)
    earlier = market.outlines(connection, microgrid.id, start=instant - PAST_S, end=instant)
    return _projected(connection, microgrid.seen_from(moment), moment, devices, earlier)


def _projected(
    connection: Connection,
    microgrid: Microgrid,
    window: Window,
    devices: Sequence[Device],
    earlier: Sequence[WindowOutline],
) -> dict[str, DeviceState]:
    """Each device's state at the window's start: its telemetry, and from there on what it was told.

    What telemetry leaves open follows from the states that the windows before began with. Of a device that never said
    anything, all that it was told counts as done.
    """
    telemetry = registry.device_states(connection, microgrid.id)
    frozen = [row for row in earlier if row.frozen]
    snapshots: dict[str, Snapshot] = {}

    def base_of(device: str) -> Snapshot | None:
        """The newest snapshot that is not newer than the device's telemetry."""
        known = telemetry.get(device)
        rows = [row for row in frozen if known is None or row.start <= known.instant]
        if not rows:
            return None
        name = rows[-1].name
        if name not in snapshots:
            snapshots[name] = _frozen(connection, name)
        return snapshots[name]

    bases = {device.id: base_of(device.id) for device in devices}
    oldest = min(
        [state.instant for state in telemetry.values()] + [base.window.start for base in bases.values() if base],
        default=window.start,
    )
    told: dict[str, list[DeviceSetpoint]] = {}
    since = max(oldest, window.start - PAST_S)
    for setpoint in market.setpoints_between(connection, microgrid.id, after=since, before=window.start):
        told.setdefault(setpoint.device, []).append(setpoint)
    for override in overrides.standing(connection, microgrid.id):
        planned = told.get(override.device, ())
        told[override.device] = obeyed(override, planned, start=since, end=window.start, mtu_s=microgrid.mtu_seconds)
    past = Past(microgrid=microgrid, start=window.start)
    states = {
        device.id: past.state(device, telemetry.get(device.id), bases[device.id], told.get(device.id, ()))
        for device in devices
    }
    newest = (snapshots.get(frozen[-1].name) or _frozen(connection, frozen[-1].name)) if frozen else None
    known = {device.id: device for device in devices}
    return {id_: counted(known[id_], state, newest) for id_, state in states.items() if state is not None}


def _frozen(connection: Connection, name: str) -> Snapshot:
    row = market.window(connection, name)
    return Snapshot.from_json((row.snapshot if row is not None else None) or "")
