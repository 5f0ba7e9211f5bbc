"""What one member's devices are to do from now on: what is decided, and what the newest plan foresees after it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from sqlalchemy import Connection

from controller.microgrid import PAST_S, DeviceSetpoint, Microgrid, SetpointKind, WindowState
from controller.store import market, registry

NEVER = 2**40
DECIDED = frozenset({WindowState.CLEARED.value, WindowState.DELIVERING.value, WindowState.FAILED.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What a device is to do in one MTU.

    Attributes
    ----------
    setpoint : what it is told
    power_w : what it is expected to take, consumption positive
    decided : whether its window is decided; else the next clearing may change it
    """

    setpoint: DeviceSetpoint
    power_w: int
    decided: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a member's devices are to do.

    Attributes
    ----------
    devices : by device id, in order of time
    positions : Wh that the member was scheduled to take, by the MTU's start, as far as that is decided
    """

    devices: Mapping[str, tuple[Point, ...]]
    positions: Mapping[int, int]


def outlook_of(connection: Connection, microgrid: Microgrid, member: str, now: float) -> Outlook:
    """What a member's devices are to do from the present MTU to the end of the newest plan.

    Of each MTU the newest plan that reaches it counts. A window that failed into the devices' failsafes has no
    setpoints, and so is left out.
    """
    own = [device.id for device in registry.devices(connection, microgrid.id) if device.member == member]
    windows = market.outlines(connection, microgrid.id, start=int(now) - PAST_S, end=NEVER)
    windows = [row for row in windows if row.end > now]
    newest = market.last_plan(connection, microgrid.id, before=int(now) + 1)
    later = [market.window(connection, row.name) for row in windows if row.planned and row.start > now]
    points = _foreseen(
        microgrid, [*([newest.plan] if newest else []), *(row.plan for row in later if row and row.plan)], own
    )
    positions: dict[int, int] = {}
    for row in windows:
        if row.state not in DECIDED:
            continue
        setpoints = {(s.device, s.mtu_start): s for s in market.setpoints(connection, row.name)}
        for device, start in product(own, microgrid.mtus(row.start, row.end)):
            foreseen = points[device].pop(start, None)
            if (setpoint := setpoints.get((device, start))) is not None:
                power = 0 if foreseen is None else foreseen.power_w
                points[device][start] = Point(setpoint=setpoint, power_w=power, decided=True)
        for (holder, start), net in market.positions(connection, row.name).items():
            if holder == member:
                positions[start] = net
    first = now - microgrid.mtu_seconds
    return Outlook(
        devices={
            device: tuple(point for start, point in sorted(by_start.items()) if start > first)
            for device, by_start in points.items()
        },
        positions={start: net for start, net in sorted(positions.items()) if start > first},
    )


def _foreseen(microgrid: Microgrid, plans: Sequence[str], devices: Sequence[str]) -> dict[str, dict[int, Point]]:
    """What the newest plan that reaches an MTU has for it, by device and the MTU's start."""
    points: dict[str, dict[int, Point]] = {device: {} for device in devices}
    for text in plans:
        plan = json.loads(text)
        for device in set(devices) & set(plan["setpoints"]):
            kind, values = plan["setpoints"][device]
            for k, (value, power) in enumerate(zip(values, plan["power_w"][device], strict=True)):
                start = plan["start"] + k * microgrid.mtu_seconds
                told = DeviceSetpoint(device=device, mtu_start=start, kind=SetpointKind(kind), value=value)
                points[device][start] = Point(setpoint=told, power_w=power, decided=False)
    return points
