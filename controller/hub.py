"""What drivers are told and what they said: setpoints out under leases, telemetry and reports in."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from controller.errors import StoreError
from controller.microgrid import DeviceSetpoint, DeviceState, PlanSource, Window, WindowState
from controller.store import market, registry
from controller.store.database import Database

AHEAD_S = 7200
"""How far ahead a command's setpoints reach; they act within its lease only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedCommand:
    """Setpoints under a lease.

    Attributes
    ----------
    id : unique
    window : the window that decided the first of them
    epoch, sequence : fencing; see the API's Lease
    ttl_s : from the sending of the heartbeat that this answers
    setpoints : in order of time
    """

    id: str
    window: str
    epoch: int
    sequence: int
    ttl_s: int
    setpoints: tuple[DeviceSetpoint, ...]


class DriverHub:
    """The controller's side of all drivers' streams.

    Parameters
    ----------
    database : where telemetry and reports end up
    epoch : how often the service has started
    lease_s : how long a setpoint may act without being renewed
    """

    def __init__(self, *, database: Database, epoch: int, lease_s: int) -> None:
        self.epoch = epoch
        self._database = database
        self._lease_s = lease_s
        self._schedule: dict[tuple[str, str], dict[int, tuple[str, DeviceSetpoint]]] = defaultdict(dict)
        self._sequence: dict[tuple[str, str], int] = defaultdict(int)
        self._states: dict[str, dict[str, DeviceState]] = defaultdict(dict)
        self._reports: list[Mapping[str, Any]] = []
        self._told: dict[tuple[str, str], tuple[str, str]] = {}
        self._forgotten: set[tuple[str, str]] = set()

    def restore(self) -> None:
        """Take up the setpoints that the store still has for running and coming windows."""
        self._database.run(self._restore)

    def _restore(self, connection: Connection) -> None:
        acting = {WindowState.CLEARED.value, WindowState.DELIVERING.value, WindowState.FAILED.value}
        for microgrid in registry.microgrid_ids(connection):
            known = {device.id for device in registry.devices(connection, microgrid)}
            for row in market.windows(connection, microgrid):
                if row.state in acting and row.source != PlanSource.FAILSAFE.value:
                    window = Window(name=row.name, start=row.start, end=row.end)
                    told = market.setpoints(connection, row.name)
                    self.offer(microgrid, window, tuple(s for s in told if s.device in known))

    def offer(self, microgrid: str, window: Window, setpoints: tuple[DeviceSetpoint, ...]) -> None:
        """Let drivers have these from their next heartbeat on."""
        for setpoint in setpoints:
            if (microgrid, setpoint.device) in self._forgotten:
                continue  # a window that was frozen before the device was forgotten
            self._schedule[microgrid, setpoint.device][setpoint.mtu_start] = (window.name, setpoint)

    def forget(self, microgrid: str, device: str) -> None:
        """Tell a device nothing more: its lease runs out, and it goes to its failsafe."""
        self._forgotten.add((microgrid, device))
        self._schedule.pop((microgrid, device), None)
        self._states[microgrid].pop(device, None)

    def register(self, microgrid: str, device: str) -> None:
        """Tell a device what is decided from now on: it is registered, or is so again."""
        self._forgotten.discard((microgrid, device))

    def command(self, microgrid: str, device: str, *, now: float, mtu_seconds: int) -> LeasedCommand | None:
        """What to answer a heartbeat with; None where nothing is meant for now."""
        schedule = self._schedule[microgrid, device]
        for past in [start for start in schedule if start + mtu_seconds <= now]:
            del schedule[past]
        coming = sorted(start for start in schedule if start < now + AHEAD_S)
        if not coming or coming[0] > now:
            return None
        self._sequence[microgrid, device] += 1
        sequence = self._sequence[microgrid, device]
        command_id = f"{microgrid}/{device}/{self.epoch}/{sequence}"
        window = schedule[coming[0]][0]
        self._told[microgrid, device] = command_id, window
        return LeasedCommand(
            id=command_id,
            window=window,
            epoch=self.epoch,
            sequence=sequence,
            ttl_s=self._lease_s,
            setpoints=tuple(schedule[start][1] for start in coming),
        )

    def observe(self, microgrid: str, state: DeviceState) -> None:
        """Note telemetry; of each device the newest counts."""
        known = self._states[microgrid].get(state.device)
        if known is None or known.instant <= state.instant:
            self._states[microgrid][state.device] = state

    def report(self, microgrid: str, device: str, report: Mapping[str, Any]) -> None:
        """Note what a driver said about its newest command; of older or unknown ones nothing is kept."""
        told = self._told.get((microgrid, device))
        if told is not None and told[0] == report["command_id"]:
            self._reports.append({**report, "device": device, "window": told[1]})

    async def flush(self) -> None:
        """Put what was noted on disk, in one transaction; what could not be is kept for the next time."""
        states, self._states = self._states, defaultdict(dict)
        reports, self._reports = self._reports, []
        if not states and not reports:
            return
        try:
            await self._database.run_async(_keep, states, reports)
        except StoreError:
            for microgrid, by_device in states.items():
                for state in by_device.values():
                    self.observe(microgrid, state)
            self._reports = [*reports, *self._reports]
            raise


def _keep(
    connection: Connection, states: Mapping[str, Mapping[str, DeviceState]], reports: list[Mapping[str, Any]]
) -> None:
    for microgrid, by_device in states.items():
        registry.put_device_states(connection, microgrid, by_device.values())
    market.add_reports(connection, reports)
