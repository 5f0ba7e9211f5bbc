"""A clock that moves only when it is told to."""

from datetime import datetime, timedelta

from device_drivers.errors import InvalidValueError


class SimulatedClock:
    """A `Clock` for simulations and tests: zero seconds have passed at its start.

    Parameters
    ----------
    start : datetime
        The time of day then, UTC.

    Raises
    ------
    InvalidValueError
        If the time of day is not UTC.
    """

    def __init__(self, start: datetime) -> None:
        self._now = 0.0
        self.set_utc(start)

    def now(self) -> float:
        """Seconds since the start."""
        return self._now

    def utc(self) -> datetime:
        """The start and what has passed since."""
        return self._zero + timedelta(seconds=self._now)

    def advance(self, seconds: float) -> None:
        """Let a time pass that is not negative."""
        if not seconds >= 0:
            raise InvalidValueError(f"time to pass: got {seconds} s, wanted 0 or more")
        self._now += seconds

    def set_utc(self, instant: datetime) -> None:
        """Set the time of day, as anybody may a real clock's; no time passes."""
        if instant.utcoffset() != timedelta(0):
            raise InvalidValueError(f"time of day: got {instant.isoformat()}, wanted UTC")
        self._zero = instant - timedelta(seconds=self._now)
