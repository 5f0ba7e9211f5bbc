"""The MTUs of a horizon in the local time of a microgrid.

Where clocks go forward, the times that they skip are no instants: each stands for the one at which the clocks jump, so
that a window which begins or ends among them begins or ends there. Where they go back, a time that comes twice is meant
the first time.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from optimization.quantities import Horizon

CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)([+-]\d)?|24:00([+-]\d)?")
"""A time of day, with the number of days after (or before) the one in which the horizon begins."""

DAYLESS = 5
"""Characters of a time of day without its day."""

MINUTES_A_DAY = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """A horizon that begins at an instant, in a time zone.

    Attributes
    ----------
    start : instant at which the first MTU begins, in UTC
    mtus : number of MTUs
    mtu_minutes : length of one
    zone : of the microgrid
    """

    start: datetime
    mtus: int
    mtu_minutes: int
    zone: ZoneInfo

    def local(self, mtu: int) -> datetime:
        """Local time at which an MTU begins; of the number of MTUs itself, at which the horizon ends."""
        return (self.start + timedelta(minutes=mtu * self.mtu_minutes)).astimezone(self.zone)

    def label(self, mtu: int) -> str:
        """The same for people: time of day, with the date where it is not the first day's."""
        local = self.local(mtu)
        return f"{local:%H:%M}" if local.date() == self.local(0).date() else f"{local:%a %H:%M}"

    def minute_of_day(self) -> list[int]:
        """(T,) the clock at each MTU's begin, in minutes after midnight."""
        return [local.hour * 60 + local.minute for local in map(self.local, range(self.mtus))]

    def horizon(self) -> Horizon:
        """The same in MTUs, with the days of the time zone."""
        days = [self.local(mtu).date() for mtu in range(self.mtus)]
        starts = tuple(mtu for mtu in range(1, self.mtus) if days[mtu] != days[mtu - 1])
        return Horizon(mtus=self.mtus, mtu_minutes=self.mtu_minutes, day_starts=starts)

    def instant(self, clock: str, day: int) -> datetime:
        """The instant of a clock time such as ``07:30`` on a local day, counted from the one the horizon begins in.

        One that the clocks skip is the instant at which they jump; of one that comes twice it is the first.
        """
        hour, minute = int(clock[:2]), int(clock[3:5])
        date = self.local(0).date() + timedelta(days=day + hour // 24)
        shown = datetime.combine(date, time(hour % 24, minute), tzinfo=self.zone)
        # By the offset from before the jump a skipped time is past it, by the one from after it before it.
        before, after = (shown.replace(fold=fold).astimezone(UTC) for fold in (1, 0))
        return after if before >= after else _jump(self.zone, before, after)

    def window(self, first: str, end: str) -> tuple[datetime, datetime]:
        """The instants between which a window such as 22:00 to 07:00 is open.

        A clock time may name its day, as ``07:00+1``. Where none does, the window is the first that ends after the
        horizon's begin; where one does, the other is the nearest time that makes a window of at most a day.
        """
        across = end[:DAYLESS] <= first[:DAYLESS]
        begins = int(first[DAYLESS:]) if len(first) > DAYLESS else None
        ends = int(end[DAYLESS:]) if len(end) > DAYLESS else None
        if begins is None:
            begins = self._first_day(end, across) if ends is None else ends - across
        return self.instant(first, begins), self.instant(end, begins + across if ends is None else ends)

    def time_after_start(self, clock: str) -> datetime:
        """The instant of a clock time alone: on the day that it names, else the first from the horizon's begin on."""
        if len(clock) > DAYLESS:
            return self.instant(clock, int(clock[DAYLESS:]))
        # 24:00 of the day before is the begin of this one.
        return next(found for day in (-1, 0, 1) if (found := self.instant(clock, day)) >= self.start)

    def _first_day(self, end: str, across: bool) -> int:
        """The day on which the first window begins that ends after the horizon's begin."""
        return next((day for day in (-1, 0) if self.instant(end, day + across) > self.start), 1)

    def first_mtu(self, instant: datetime) -> int:
        """The first MTU that begins no earlier than an instant; 0 to the number of MTUs."""
        return min(max(-((self.start - instant) // timedelta(minutes=self.mtu_minutes)), 0), self.mtus)

    def end_mtu(self, instant: datetime) -> int:
        """The MTU before which all end no later than an instant; 0 to the number of MTUs."""
        return min(max((instant - self.start) // timedelta(minutes=self.mtu_minutes), 0), self.mtus)


def _jump(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The instant between two others, in UTC, from which on a zone's clocks go as they do at the later one."""
    offset = after.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after
