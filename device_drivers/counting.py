"""For how long a relay has been closed in all, counted here where the device does not say.

The controller takes from it how much of its task an appliance has done, so that it has to outlive the driver.
"""

import asyncio
import json
import logging
import math
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from device_drivers.clock import Clock
from device_drivers.connection import Capabilities, Connection
from device_drivers.device import Reading
from device_drivers.setpoint import Target

log = logging.getLogger(__name__)

SAVE_S = 30.0
"""s of closed time that a driver that is killed forgets at most."""
GAP_S = 60.0
"""s without a reading after which time counts only if the relay was closed at both ends of them."""


class ClosedTime:
    """The time for which one relay has been closed, over connections and restarts.

    Parameters
    ----------
    folder : Path
        Where it is kept; made where it is missing.
    name : str
        Of the device.
    clock : Clock
        Its `now` counts.
    """

    def __init__(self, folder: Path, name: str, clock: Clock) -> None:
        self._path = folder / f"{quote(name, safe='')}.json"
        self._clock = clock
        self._total_s = self._saved_s = self._load()
        self._closed: bool | None = None
        self._at = 0.0

    async def observe(self, closed: bool) -> int:
        """Whole s so far, at a reading that was just made."""
        now = self._clock.now()
        passed_s = now - self._at
        if self._closed and (closed or passed_s <= GAP_S):
            self._total_s += passed_s
        self._closed, self._at = closed, now
        if self._total_s - self._saved_s >= SAVE_S:
            await self.save()
        return math.floor(self._total_s)

    async def save(self) -> None:
        """Keep it, where there is anything new; a disk that does not take it is logged, and counting goes on."""
        if self._total_s == self._saved_s:
            return
        total_s = self._total_s
        try:
            await asyncio.to_thread(self._write, total_s)
        except OSError as err:
            log.warning("%s: cannot be kept: %s", self._path, err)
        else:
            self._saved_s = total_s

    def _load(self) -> float:
        try:
            total_s = json.loads(self._path.read_text("utf-8"))["closed_s"]
        except FileNotFoundError:
            return 0.0
        except (OSError, ValueError, KeyError, TypeError) as err:
            log.warning("%s: got what cannot be used (%s): counting from 0", self._path, err)
            return 0.0
        if isinstance(total_s, bool) or not isinstance(total_s, int | float) or not 0 <= total_s < math.inf:
            log.warning("%s: got %r, wanted s: counting from 0", self._path, total_s)
            return 0.0
        return float(total_s)

    def _write(self, total_s: float) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps({"closed_s": total_s}), "utf-8")
        beside.replace(self._path)


class CountedConnection:
    """A connection whose readings say for how long the relay has been closed, whether the device does or not.

    Parameters
    ----------
    connection : Connection
        To the device.
    closed_time : ClosedTime
        Counts.
    """

    def __init__(self, connection: Connection, closed_time: ClosedTime) -> None:
        self._connection = connection
        self._closed_time = closed_time

    @property
    def capabilities(self) -> Capabilities:
        """What the device can do."""
        return self._connection.capabilities

    async def apply(self, target: Target, *, revert_after_s: float | None) -> None:
        """As the device's connection does."""
        await self._connection.apply(target, revert_after_s=revert_after_s)

    async def read(self) -> Reading:
        """What the device says, and for how long its relay has been closed."""
        reading = await self._connection.read()
        if reading.closed_s is not None or reading.relay_closed is None:
            return reading
        return replace(reading, closed_s=await self._closed_time.observe(reading.relay_closed))

    async def aclose(self) -> None:
        """Keep what was counted, and let go of the device."""
        try:
            await self._closed_time.save()
        finally:
            await self._connection.aclose()
