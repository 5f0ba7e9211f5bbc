"""Gathers what counts for a window at a moment: orders, limits, and what devices will have done by its start."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from controller.counting import counted
from controller.flexibility import Generator, Programme, Relay, Vehicle
from controller.microgrid import Device, DeviceSetpoint, DeviceState, Microgrid, Order, Window
from controller.past import Past
from controller.snapshot import Limit, Snapshot, cut
from controller.store import market, registry
from controller.store.market import WindowRow
from controller.uplifts import from_json
from controller.wire.market import read_order

COMMITTED = (Relay, Programme, Vehicle, Generator)
"""Kinds of devices whose owners count on the plan: it changes them only where that is worth a price."""


LimitsFor = Callable[[str, int, int], tuple[Limit, ...]]
"""What limits a microgrid (by id) from an instant to another, as things stand."""


def snapshot_of(connection: Connection, microgrid: Microgrid, window: Window, limits: LimitsFor) -> Snapshot:
    """What counts for a window at this moment."""
    devices = registry.devices(connection, microgrid.id)
    earlier = [row for row in market.windows(connection, microgrid.id) if row.start < window.start]
    mtus = len(microgrid.mtus(window.start, microgrid.end))
    orders, digests = {}, {}
    for member, stored in market.newest_orders(connection, [*(row.name for row in earlier), window.name]).items():
        own = frozenset(d.id for d in devices if d.member == member)
        start = next((row.start for row in earlier if row.name == stored.window), window.start)
        order = read_order(
            stored.payload,
            mtus=len(microgrid.mtus(start, microgrid.end)),
            window=stored.window,
            member=member,
            plants=None,
            thermostats=None,
        )
        orders[member] = cut(_without(order, own), mtus)
        digests[member] = stored.digest.hex()
    last = max((row for row in earlier if row.carry), key=lambda row: row.start, default=None)
    return Snapshot(
        microgrid=microgrid,
        window=window,
        members=tuple(registry.members(connection, microgrid.id)),
        devices=tuple(devices),
        states=_projected(connection, microgrid, window, devices, earlier),
        orders=dict(sorted(orders.items())),
        order_digests=dict(sorted(digests.items())),
        limits=limits(microgrid.id, window.start, microgrid.end),
        carry=json.loads(last.carry) if last is not None and last.carry else {},
        planned_w=_planned(microgrid, window, next((row for row in reversed(earlier) if row.plan), None), devices),
        uplifts=_uplifts(next((row for row in reversed(earlier) if row.uplifts), None)),
    )


def _without(order: Order, own: frozenset[str]) -> Order:
    """An order without what it says of devices that its member has no more."""
    return replace(
        order,
        production={device: series for device, series in order.production.items() if device in own},
        thermal={device: forecast for device, forecast in order.thermal.items() if device in own},
    )


def _uplifts(row: WindowRow | None) -> dict[str, tuple[int, int]]:
    """What the last clearing that had uplifts left to those after it: each member's regret, and what it received."""
    uplifts = from_json(row.uplifts) if row is not None else ()
    return {uplift.member: (uplift.regret_micro, uplift.received_micro) for uplift in uplifts}


def _planned(
    microgrid: Microgrid, window: Window, row: WindowRow | None, devices: Sequence[Device]
) -> dict[str, tuple[int, ...]]:
    """What the last plan foresaw from the window's start on, of devices whose owners count on it."""
    if row is None:
        return {}
    plan = json.loads(row.plan or "")
    offset = (window.start - plan["start"]) // microgrid.mtu_seconds
    return {
        device.id: tuple(plan["power_w"][device.id][offset:])
        for device in devices
        if device.id in plan["power_w"] and isinstance(device.flexibility, COMMITTED)
    }


def _projected(
    connection: Connection,
    microgrid: Microgrid,
    window: Window,
    devices: Sequence[Device],
    earlier: Sequence[WindowRow],
) -> dict[str, DeviceState]:
    """Each device's state at the window's start: its telemetry, and from there on what it was told.

    What telemetry leaves open follows from the states that the windows before began with. Of a device that never said
    anything, all that it was told counts as done.
    """
    telemetry = registry.device_states(connection, microgrid.id)
    frozen = [row for row in earlier if row.snapshot]
    snapshots: dict[str, Snapshot] = {}

    def base_of(device: str) -> Snapshot | None:
        """The newest snapshot that is not newer than the device's telemetry."""
        known = telemetry.get(device)
        rows = [row for row in frozen if known is None or row.start <= known.instant]
        if not rows:
            return None
        name = rows[-1].name
        if name not in snapshots:
            snapshots[name] = Snapshot.from_json(rows[-1].snapshot or "")
        return snapshots[name]

    bases = {device.id: base_of(device.id) for device in devices}
    oldest = min(
        [state.instant for state in telemetry.values()] + [base.window.start for base in bases.values() if base],
        default=window.start,
    )
    told: dict[str, list[DeviceSetpoint]] = {}
    for row in earlier:
        if row.end > oldest:
            for setpoint in market.setpoints(connection, row.name):
                told.setdefault(setpoint.device, []).append(setpoint)
    past = Past(microgrid=microgrid, start=window.start)
    states = {
        device.id: past.state(device, telemetry.get(device.id), bases[device.id], told.get(device.id, ()))
        for device in devices
    }
    newest = Snapshot.from_json(frozen[-1].snapshot or "") if frozen else None
    known = {device.id: device for device in devices}
    return {id_: counted(known[id_], state, newest) for id_, state in states.items() if state is not None}
