"""When a device was switched, and from when it may be switched again. Without input or output.

All instants are s of a clock that nobody sets (`Clock.now`). The time of day enters once a day, to say how far midnight
is; two days begin at least 23 h apart, whatever anybody sets the clock to meanwhile.
"""

from collections import deque
from dataclasses import dataclass

from device_drivers.guard import GuardRules
from device_drivers.precedence import Hold
from device_drivers.setpoint import Target

HOUR_S = 3600.0
SHORTEST_DAY_S = 23 * HOUR_S
"""s of the day on which clocks are put forward."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What has to outlive the driver.

    Attributes
    ----------
    boot_id : str
        Which start of the machine the instants count from.
    on : bool or None
        Whether the device was on; None where nobody knows.
    since : float
        s at which it was switched so.
    starts : tuple of float
        s of its starts in the last hour.
    day_starts : int
        Starts since the day began.
    day_ends_at : float
        s at which the next day begins.
    """

    boot_id: str
    on: bool | None
    since: float
    starts: tuple[float, ...]
    day_starts: int
    day_ends_at: float


class Switching:
    """Counts how long a device has been on or off, and its starts.

    What is not remembered counts as the worst: just switched, and every start used up. After a restart of the machine
    nobody knows how much time has passed: then what was remembered counts as just done.

    Parameters
    ----------
    rules : GuardRules
        The least times and the starts.
    memory : Memory or None
        Of the last driver; None where there is none.
    boot_id : str
        Of this start of the machine.
    now : float
        s.
    midnight_s : float
        s until midnight, where the device stands.
    """

    def __init__(
        self, rules: GuardRules, memory: Memory | None, *, boot_id: str, now: float, midnight_s: float
    ) -> None:
        self._rules = rules
        self._boot_id = boot_id
        if memory is None:
            self.on: bool | None = None
            self.since = now
            self._starts = deque([now] * (rules.starts_per_hour or 0))
            self._day_starts = rules.starts_per_day or 0
            self._day_ends_at = now + midnight_s
        elif memory.boot_id == boot_id:
            self.on, self.since = memory.on, min(memory.since, now)
            self._starts = deque(min(start, now) for start in memory.starts)
            self._day_starts, self._day_ends_at = memory.day_starts, memory.day_ends_at
        else:
            self.on, self.since = memory.on, now
            self._starts = deque([now] * len(memory.starts))
            self._day_starts, self._day_ends_at = memory.day_starts, now + midnight_s

    def memory(self) -> Memory:
        """What has to outlive the driver."""
        return Memory(
            boot_id=self._boot_id,
            on=self.on,
            since=self.since,
            starts=tuple(self._starts),
            day_starts=self._day_starts,
            day_ends_at=self._day_ends_at,
        )

    def switch(self, on: bool, now: float, *, midnight_s: float) -> bool:
        """Note that the device is about to be switched, or was seen to be; whether that is news.

        Parameters
        ----------
        on : bool
            What it is switched to.
        now, midnight_s : float
            s, and s until midnight.
        """
        if on is self.on:
            return False
        self._pass(now, midnight_s)
        # Where nothing was known nobody saw it start; and its starts count as used up anyway.
        if on and self.on is False:
            self._starts.append(now)
            self._day_starts += 1
        self.on, self.since = on, now
        return True

    def doubt(self, now: float) -> None:
        """Nobody knows any more whether the device is on: it was told, and did not say yes."""
        self.on, self.since = None, now

    def hold(self, now: float, *, midnight_s: float, stays: Target, off: Target) -> Hold | None:
        """Why the device may not be switched now, and until when; None where it may.

        Parameters
        ----------
        now, midnight_s : float
            s, and s until midnight.
        stays, off : Target
            What it does while it stays on, and while it stays off.
        """
        if not self._rules.remembers:
            return None
        self._pass(now, midnight_s)
        if self.on:
            until = self.since + self._rules.min_on_s
            reason = f"minimum on time of {self._rules.min_on_s:g} s"
            return Hold(target=stays, until=until, reason=reason) if now < until else None
        until, reason = max(self._earliest())
        return Hold(target=off, until=until, reason=reason) if now < until else None

    def held_until(self, now: float) -> float | None:
        """s at which it may be switched on, were it off since the guard knows of it; None where it may be at once."""
        until, _ = max(self._earliest())
        return until if now < until else None

    def _earliest(self) -> list[tuple[float, str]]:
        """From when each rule lets the device be switched on."""
        rules = self._rules
        limits = [(self.since + rules.min_off_s, f"minimum off time of {rules.min_off_s:g} s")]
        if rules.starts_per_hour is not None and len(self._starts) >= rules.starts_per_hour:
            oldest = self._starts[len(self._starts) - rules.starts_per_hour]
            limits.append((oldest + HOUR_S, f"{rules.starts_per_hour} starts an hour"))
        if rules.starts_per_day is not None and self._day_starts >= rules.starts_per_day:
            limits.append((self._day_ends_at, f"{rules.starts_per_day} starts a day"))
        return limits

    def _pass(self, now: float, midnight_s: float) -> None:
        while self._starts and self._starts[0] + HOUR_S <= now:
            self._starts.popleft()
        if now >= self._day_ends_at:
            self._day_starts = 0
            self._day_ends_at = max(self._day_ends_at + SHORTEST_DAY_S, now + midnight_s)
