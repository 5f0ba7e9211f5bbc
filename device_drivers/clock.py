"""The time by which a driver acts."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two times: one to measure how long something lasted, one to know which interval holds."""

    def now(self) -> float:
        """Seconds since some instant, never set back, running on while the machine is suspended."""

    def utc(self) -> datetime:
        """The time of day in UTC, aware; it may be set at any moment."""


class BoottimeClock:
    """The clock of the machine."""

    def now(self) -> float:
        """Seconds since the machine started, suspension included where the system can tell."""
        # Only Linux has CLOCK_BOOTTIME. Elsewhere `monotonic` may stand still during suspension.
        if hasattr(time, "CLOCK_BOOTTIME"):
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        return time.monotonic()

    def utc(self) -> datetime:
        """The machine's time of day."""
        return datetime.now(UTC)
