"""Setting a device's own timer so that it never ends after the lease, however long the setting takes."""

from collections.abc import Awaitable, Callable

from device_drivers.clock import BoottimeClock
from device_drivers.connection import Timer
from device_drivers.errors import DeviceError

_FIRST_GUESS_S = 0.02
_ATTEMPTS = 4

_JITTER_S = 0.002
"""s by which a steady device's time to answer varies."""


class Arming:
    """Remembers how long a device takes, to leave that much of a lease when its timer is set.

    A timer runs from somewhere between the sending of its setting and the answer: only one that would end in time
    though it ran from the answer on is known to be right. One that is not is set again, shorter.

    Parameters
    ----------
    timer : Timer
        What the device's timer can be set to.
    now : callable, optional
        Seconds of a clock that is never set back and runs through suspension; the machine's where it is left out.
    """

    def __init__(self, timer: Timer, now: Callable[[], float] | None = None) -> None:
        self._timer = timer
        self._now = BoottimeClock().now if now is None else now
        self._usual_s = _FIRST_GUESS_S

    async def arm(self, revert_after_s: float, set_timer: Callable[[float], Awaitable[None]]) -> None:
        """Have the timer end within so many s from now.

        Parameters
        ----------
        revert_after_s : float
            s from now.
        set_timer : callable
            Sets the timer to so many s, returning once the device said yes; the timer runs by then.

        Raises
        ------
        DeviceError
            If less is left than the timer can do, or than the device takes; what `set_timer` raises.
        """
        deadline = self._now() + revert_after_s
        for _ in range(_ATTEMPTS):
            started = self._now()
            armed_s = self._timer.armed_s(deadline - started - self._usual_s - _JITTER_S)
            if armed_s is None:
                shortest_s = max(self._timer.shortest_s, self._timer.resolution_s)
                raise DeviceError(
                    f"timer: got {deadline - started:.3f} s to be set in {self._usual_s:.3f} s, "
                    f"wanted at least {shortest_s:g} s more"
                )
            await set_timer(armed_s)
            answered = self._now()
            # Half-way to what was seen, upwards at once: a device that was slow once is so again.
            self._usual_s = max(answered - started, (self._usual_s + answered - started) / 2)
            if answered + armed_s <= deadline:
                return
        raise DeviceError(f"timer: the device takes {self._usual_s:.3f} s to set it, too unsteady for a lease")
