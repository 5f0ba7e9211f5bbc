"""Lets drivers in at a steady pace, and tells each of the others an instant of its own.

Ten thousand drivers that lose their controller in one instant come back in one. Each that cannot be let in now gets
the next free slot and finds it kept when it returns, so that nobody is sent away twice and the last of N is in after
N / rate seconds. What it says follows from the order of arrival alone.
"""

from collections import OrderedDict

KEPT_S = 60.0
"""How long a slot waits for a driver that does not come back."""
GRACE_S = 1.0
"""A slot this near is as good as now."""


class Herd:
    """The slots of drivers.

    Parameters
    ----------
    rate_per_s : how many may come in a second
    """

    def __init__(self, rate_per_s: float) -> None:
        self._step_s = 1.0 / rate_per_s
        self._next = 0.0
        self._slots: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """How many slots are kept for drivers that were sent away."""
        return len(self._slots)

    def admit(self, name: str, now: float) -> float:
        """Seconds after which the driver may come back; 0 where it is let in.

        Parameters
        ----------
        name : of the device; its slot is kept under it
        now : seconds of a clock that nobody sets
        """
        self._forget(now)
        slot = self._slots.get(name)
        if slot is None:
            slot = self._take(now)
            if slot - now >= GRACE_S:
                self._slots[name] = slot
        if slot - now >= GRACE_S:
            return slot - now
        self._slots.pop(name, None)
        return 0.0

    def dismiss(self, names: list[str], now: float) -> dict[str, float]:
        """For drivers that are sent away together: seconds after which each may come back."""
        return {name: self._take(now) - now + GRACE_S for name in names}

    def _take(self, now: float) -> float:
        slot = max(now, self._next)
        self._next = slot + self._step_s
        return slot

    def _forget(self, now: float) -> None:
        """Drop slots that were kept for too long; they ascend."""
        while self._slots:
            name, slot = next(iter(self._slots.items()))
            if slot + KEPT_S > now:
                return
            del self._slots[name]
