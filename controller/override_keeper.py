"""Keeps the overrides that count in the hub: after each call, as their steps pass, and again after a restart."""

from sqlalchemy import Connection

from controller.composing import Target
from controller.hub import DriverHub
from controller.store import overrides, registry
from controller.store.database import Database
from controller.wishes import Override, OverrideState, Step, step_at


class OverrideKeeper:
    """Lets the hub's drivers do what owners want, step by step. All of it in memory: it never waits for the store.

    Parameters
    ----------
    hub : tells drivers, and puts limits above overrides
    """

    def __init__(self, hub: DriverHub) -> None:
        self._hub = hub
        self._kept: dict[tuple[str, str], tuple[Override, Step | None]] = {}

    def restore(self, database: Database, now: float) -> None:
        """Take up what the store has."""
        for microgrid, override in database.run(_standing):
            self.put(microgrid, override, now)

    def put(self, microgrid: str, override: Override, now: float) -> None:
        """Let an override count from now on, instead of the device's earlier one."""
        if override.state(now) is OverrideState.ACTIVE:
            self._kept[microgrid, override.device] = (override, None)
            self._tell(microgrid, override.device, now)

    def keep(self, microgrid: str, device: str, override: Override | None, now: float) -> None:
        """Let a device's newest override count where it is in force, and otherwise its plan."""
        if override is None or override.state(now) is not OverrideState.ACTIVE:
            self.drop(microgrid, device)
            return
        known = self._kept.get((microgrid, device))
        if known is None or known[0] != override:
            self.put(microgrid, override, now)

    def drop(self, microgrid: str, device: str) -> None:
        """Let the plan count again."""
        if self._kept.pop((microgrid, device), None) is not None:
            self._hub.set_override(microgrid, device, None, 0)

    def tick(self, now: float) -> None:
        """Tell what changes with the time: the next step of each override, and the end of those that are over."""
        for microgrid, device in list(self._kept):
            self._tell(microgrid, device, now)

    def _tell(self, microgrid: str, device: str, now: float) -> None:
        override, told = self._kept[microgrid, device]
        step = step_at(override.steps, now)
        if now >= override.until:
            self.drop(microgrid, device)
        elif step is not None and step != told:
            self._kept[microgrid, device] = (override, step)
            target = Target(kind=step.kind, value=step.value)
            self._hub.set_override(microgrid, device, target, step.end)


def _standing(connection: Connection) -> list[tuple[str, Override]]:
    """Of each registered device the newest override, where it was not taken back."""
    found = []
    for microgrid in registry.microgrid_ids(connection):
        known = {device.id for device in registry.devices(connection, microgrid)}
        found += [(microgrid, one) for one in overrides.standing(connection, microgrid) if one.device in known]
    return found
