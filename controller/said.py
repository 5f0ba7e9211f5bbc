"""What drivers said, from when it was heard until it is on disk; hearing it waits for no database."""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from math import floor
from typing import Any

from sqlalchemy import Connection

from controller.clock import Clock
from controller.commands import CommandState, TrackedCommand
from controller.errors import StoreError
from controller.fleet import Declared
from controller.microgrid import DeviceState
from controller.store import drivers, market, registry
from controller.store.database import Database

MOST_REPORTS = 200_000
"""Reports that are kept for a store that does not take them; of more the oldest go."""


class Said:
    """Telemetry, reports and declarations that are not on disk yet.

    Parameters
    ----------
    database : where they end up
    clock : when the controller itself decided a command's state
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._states: dict[str, dict[str, DeviceState]] = defaultdict(dict)
        self._declared: dict[str, dict[str, Declared]] = defaultdict(dict)
        self._reports: deque[Mapping[str, Any]] = deque(maxlen=MOST_REPORTS)

    def measured(self, microgrid: str, state: DeviceState) -> None:
        """Note telemetry, in the place of the device's earlier one."""
        self._states[microgrid][state.device] = state

    def declared(self, microgrid: str, device: str, declared: Declared) -> None:
        """Note what a driver declared of its device."""
        self._declared[microgrid][device] = declared

    def reported(
        self,
        device: str,
        tracked: TrackedCommand,
        states: Sequence[CommandState],
        *,
        reason: str = "",
        instant: int | None = None,
    ) -> None:
        """Note states of a command, in their order; at an instant of the driver's, else now."""
        for state in states:
            self._reports.append(
                {
                    "window": tracked.window,
                    "device": device,
                    "command_id": tracked.id,
                    "state": state.value,
                    # What is said is said about where it stands, not about the way there.
                    "reason": reason if state is states[-1] else "",
                    "instant": floor(self._clock.now()) if instant is None else instant,
                }
            )

    def forget(self, microgrid: str, device: str) -> None:
        """Drop a device's telemetry, and what its driver declared."""
        self._states[microgrid].pop(device, None)
        self._declared[microgrid].pop(device, None)

    def lose(self) -> None:
        """Drop telemetry and reports, as the end of the process does."""
        self._states.clear()
        self._reports.clear()

    def waiting(self, microgrid: str) -> Mapping[str, int]:
        """How much of a microgrid is not on disk yet, by what it is."""
        own = f"{microgrid}/"
        return {
            "telemetry": len(self._states.get(microgrid, ())),
            "reports": sum(report["command_id"].startswith(own) for report in self._reports),
        }

    async def flush(self) -> None:
        """Put it on disk, in one transaction.

        Raises
        ------
        StoreError
            If that cannot be now; it is kept for the next time.
        """
        states, self._states = self._states, defaultdict(dict)
        reports, self._reports = self._reports, deque(maxlen=MOST_REPORTS)
        declared, self._declared = self._declared, defaultdict(dict)
        if not states and not reports and not declared:
            return
        try:
            await self._database.run_async(_put, states, reports, declared)
        except StoreError:
            for microgrid, by_device in states.items():
                self._states[microgrid] = {**by_device, **self._states[microgrid]}
            self._reports = deque([*reports, *self._reports], maxlen=MOST_REPORTS)
            for microgrid, of_microgrid in declared.items():
                self._declared[microgrid] = {**of_microgrid, **self._declared[microgrid]}
            raise


def _put(
    connection: Connection,
    states: Mapping[str, Mapping[str, DeviceState]],
    reports: Iterable[Mapping[str, Any]],
    declared: Mapping[str, Mapping[str, Declared]],
) -> None:
    for microgrid, by_device in states.items():
        registry.put_device_states(connection, microgrid, by_device.values())
    market.add_reports(connection, list(reports))
    for microgrid, of_microgrid in declared.items():
        drivers.put_declarations(connection, microgrid, of_microgrid)
