"""What acts where a window has no clearing: the tail of the last plan, where it keeps the limits of now."""

import json

from sqlalchemy import Connection

from controller import problem
from controller.microgrid import DeviceSetpoint, SetpointKind
from controller.snapshot import Snapshot
from controller.store import market


def fallback(connection: Connection, snapshot: Snapshot) -> tuple[DeviceSetpoint, ...]:
    """The setpoints that the last plan has for this window, when they keep the snapshot's limits; else none."""
    last = market.last_plan(connection, snapshot.microgrid.id, before=snapshot.window.start)
    if last is None:
        return ()
    plan = json.loads(last.plan)
    offset = (snapshot.window.start - plan["start"]) // snapshot.microgrid.mtu_seconds
    mtus = snapshot.window_mtus()
    if offset + len(mtus) > len(plan["net_w"]):
        return ()
    for target, (lower, upper) in problem.bounds_w(snapshot).items():
        net = problem.net_of_tail(snapshot, target, plan["power_w"], offset)
        if any(not lower[k] <= net[k] <= upper[k] for k in range(len(mtus))):
            return ()
    known = {device.id for device in snapshot.devices}
    return tuple(
        DeviceSetpoint(device=device, mtu_start=mtu, kind=SetpointKind(kind), value=values[offset + k])
        for device, (kind, values) in sorted(plan["setpoints"].items())
        if device in known
        for k, mtu in enumerate(mtus)
    )
