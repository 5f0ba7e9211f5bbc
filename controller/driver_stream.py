"""One driver's stream, seen from the hub: what was heard, what was told, and a mailbox with a single slot.

The mailbox holds no message. It says that there is something to tell; what, the writer asks for at the moment at
which it can write. So a driver that reads slowly gets the newest state when it reads again, and nothing piles up.
"""

import asyncio
from dataclasses import dataclass

from controller.composing import Stretch

FIRST_WAIT_S = 1.0
"""s after which what a driver rejected is said again for the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The command that stands on a stream.

    Attributes
    ----------
    sequence : its
    stretches : what it says
    leased_from : monotonic instant at which the heartbeat that it answers was heard
    """

    sequence: int
    stretches: tuple[Stretch, ...]
    leased_from: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """What the driver rejected last, and when it is told the same again.

    Attributes
    ----------
    stretches : what the command said
    wait_s : how long it is left alone this time
    again_at : monotonic
    """

    stretches: tuple[Stretch, ...]
    wait_s: float
    again_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why a stream ends.

    Attributes
    ----------
    error : what ends the stream: a refusal, or a fault of ours; None where it ends well
    come_back_s : s after which the driver may connect again; None where it is not told
    last_word : whether the driver is told before an error what it shall do from now on
    """

    error: Exception | None = None
    come_back_s: float | None = None
    last_word: bool = False


class DriverStream:
    """One open stream.

    Parameters
    ----------
    microgrid, device : whose
    pushes : whether the driver reads at any time
    opened_at : monotonic

    Attributes
    ----------
    rejected : what stands here no more because the driver rejected it; None once it took something
    inherits : whether a lease may act that no command which stands here gave: an earlier stream's, or one before that
        the driver rejected its replacement
    """

    __slots__ = (
        "_wake",
        "beat_s",
        "counter",
        "device",
        "driver",
        "ending",
        "heard_at",
        "heartbeat_at",
        "inherits",
        "microgrid",
        "owed",
        "pushes",
        "rejected",
        "told",
    )

    def __init__(self, microgrid: str, device: str, *, pushes: bool, opened_at: float) -> None:
        self.microgrid = microgrid
        self.device = device
        self.pushes = pushes
        self.driver: str | None = None
        self.counter = 0
        self.heartbeat_at = opened_at
        self.beat_s = 0.0
        self.heard_at = opened_at
        self.owed = False
        self.inherits = False
        self.told: Told | None = None
        self.rejected: Rejected | None = None
        self.ending: Ending | None = None
        self._wake = asyncio.Event()

    def heartbeat(self, counter: int, now: float) -> None:
        """A heartbeat was heard: it wants an answer, and leases count from it."""
        if self.counter:
            self.beat_s = now - self.heartbeat_at
        self.counter = counter
        self.heartbeat_at = self.heard_at = now
        self.owed = True
        self._wake.set()

    def reject(self, now: float, *, longest_s: float) -> None:
        """Note that the driver rejected what it is told: each time the same is said again after twice as long.

        Nothing is said again until then, unless something else is meant: a guard may rest a device for an hour.
        """
        if self.told is None:
            return
        before = self.rejected
        wait_s = FIRST_WAIT_S if before is None else min(2 * before.wait_s, longest_s)
        self.rejected = Rejected(stretches=self.told.stretches, wait_s=wait_s, again_at=now + wait_s)

    def wake(self) -> None:
        """Something may have changed for the device."""
        if self.counter and (self.pushes or self.owed):
            self._wake.set()

    def end(self, ending: Ending) -> None:
        """Let the stream end once what is owed is said; the first reason counts."""
        if self.ending is None:
            self.ending = ending
        self._wake.set()

    @property
    def heard(self) -> bool:
        """Whether what the driver says still counts: not from when its stream ends in an error."""
        return self.ending is None or self.ending.error is None

    async def woken(self) -> None:
        """Wait until there may be something to tell."""
        await self._wake.wait()
        self._wake.clear()
