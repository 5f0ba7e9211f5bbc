"""What time it is: UTC in Unix seconds, from a clock that is always an argument."""

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time in Unix seconds."""

    def now(self) -> float:
        """Unix seconds, UTC."""


class Monotonic(Protocol):
    """Measures how long something lasts: it runs on while the machine is suspended, and nobody sets it."""

    def now(self) -> float:
        """Seconds since some instant."""


class BoottimeClock:
    """The machine's time since its start, suspension included where the system can tell."""

    def now(self) -> float:
        """Seconds since the machine started."""
        # Only Linux has CLOCK_BOOTTIME. Elsewhere `monotonic` may stand still during suspension.
        return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> float:
        """Unix seconds, UTC."""
        return time.time()


class VirtualClock:
    """A clock that stands still until it is set, for tests and the demonstration day.

    Parameters
    ----------
    start : Unix seconds
    """

    def __init__(self, start: float) -> None:
        self._now = start

    def now(self) -> float:
        """Unix seconds, UTC."""
        return self._now

    def set(self, instant: float) -> None:
        """Let the time be ``instant``; it never goes back."""
        if instant < self._now:
            raise ValueError(f"clock: got {instant}, wanted no earlier than {self._now}")
        self._now = instant
