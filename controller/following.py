"""Lets memory follow the store: what drivers are told, and who is shut out, as the database has them.

A call that changes what is registered or wanted reads, in the transaction of its change, what stands now. That is
applied on the loop's thread once it is on disk, in the order of the commits, whether anybody still waits for the answer
or not. So memory is always a function of the store: a caller that goes away takes no effect with it, and a repeated
call applies what stands now, not what the first one wanted.
"""

from collections.abc import Callable, Iterable

from sqlalchemy import Connection

from controller.clock import Clock
from controller.denials import Denials
from controller.hub import DriverHub
from controller.override_keeper import OverrideKeeper
from controller.store import denied, drivers, overrides, registry

Apply = Callable[[], None]
"""Lets memory have what was read; never waits, and may be done twice."""


class Follower:
    """Applies what the store has.

    Parameters
    ----------
    hub : tells drivers
    keeper : keeps owners' overrides
    denials : who is shut out
    clock : when that is
    """

    def __init__(self, *, hub: DriverHub, keeper: OverrideKeeper, denials: Denials, clock: Clock) -> None:
        self._hub = hub
        self._keeper = keeper
        self._denials = denials
        self._clock = clock

    def device(self, connection: Connection, microgrid: str, device: str) -> Apply:
        """How a device is registered, and what its owner wants of it; of one that is not it is forgotten."""
        return self.devices(connection, microgrid, (device,))

    def member(self, connection: Connection, microgrid: str, member: str) -> Apply:
        """The same of each device that a member has, or had when it left."""
        return self.devices(connection, microgrid, registry.device_ids(connection, microgrid, member))

    def devices(self, connection: Connection, microgrid: str, devices: Iterable[str]) -> Apply:
        """The same of several devices."""
        found = [
            (
                device,
                drivers.registered_device(connection, microgrid, device),
                overrides.newest(connection, microgrid, device),
            )
            for device in devices
        ]

        def apply() -> None:
            now = self._clock.now()
            for device, registered, override in found:
                if registered is None:
                    self._keeper.drop(microgrid, device)
                    self._hub.forget(microgrid, device)
                    continue
                self._hub.register(microgrid, device, registered)
                self._keeper.keep(microgrid, device, override, now)

        return apply

    def denied(self, connection: Connection) -> Apply:
        """Everybody who is shut out, of all microgrids."""
        found = denied.all_denied(connection)
        return lambda: self._denials.restore(found)
