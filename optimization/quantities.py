"""Numbers with units, checked once: what the data of every problem is made of.

Floats are kW, kWh, hours, degrees Celsius and currency/kWh. Power and energy are positive when they flow into a device
or a peer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NewType

import numpy as np
import numpy.typing as npt

from optimization.errors import ProblemError

PeerId = NewType("PeerId", str)
DeviceId = NewType("DeviceId", str)
SectionId = NewType("SectionId", str)

Floats = npt.NDArray[np.float64]

MTU_MINUTES = (5, 15, 30, 60)
MAX_MTUS = 192
MAX_MAGNITUDE = 1e6
"""No power (kW), energy (kWh) or price in a community is larger: a bigger number is a unit mixed up."""


def series(name: str, value: Sequence[float] | Floats, *, lower: float = -MAX_MAGNITUDE) -> Floats:
    """A read-only float vector whose entries are finite and within ``[lower, MAX_MAGNITUDE]``."""
    array = np.array(value, dtype=np.float64)
    if array.ndim != 1 or not 1 <= array.size <= MAX_MTUS:
        raise ProblemError(f"{name}: got shape {array.shape}, wanted 1 to {MAX_MTUS} MTUs")
    bad = ~(np.isfinite(array) & (array >= lower) & (array <= MAX_MAGNITUDE))
    if bad.any():
        mtu = int(np.argmax(bad))
        raise ProblemError(f"{name}[{mtu}]: got {array[mtu]}, wanted {lower:g} to {MAX_MAGNITUDE:g}")
    array.flags.writeable = False
    return array


def number(name: str, value: float, *, lower: float = 0.0, upper: float = MAX_MAGNITUDE) -> None:
    """Refuses a number that is not finite or not within ``[lower, upper]``."""
    if not (np.isfinite(value) and lower <= value <= upper):
        raise ProblemError(f"{name}: got {value}, wanted {lower:g} to {upper:g}")


def mtu_window(name: str, first: int, end: int) -> None:
    """Refuses a half-open window of MTUs that is not ordered or not within any horizon."""
    if not 0 <= first <= end <= MAX_MTUS:
        raise ProblemError(f"{name}: got window [{first}, {end}), wanted 0 <= first <= end <= {MAX_MTUS}")


def count(name: str, value: int, *, lower: int = 0, upper: int = MAX_MTUS) -> None:
    """Refuses a whole number that is not within ``[lower, upper]``."""
    if isinstance(value, bool) or value != int(value) or not lower <= value <= upper:
        raise ProblemError(f"{name}: got {value}, wanted a whole number from {lower} to {upper}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizon:
    """The MTUs that planning looks ahead over.

    Attributes
    ----------
    mtus : number of MTUs, 1 to 192
    mtu_minutes : length of one, 5, 15, 30 or 60
    day_starts : the MTUs after the first in which a new day of the microgrid's time zone begins, ascending; limits on
        starts per day count from there anew
    """

    mtus: int
    mtu_minutes: int = 15
    day_starts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.mtus <= MAX_MTUS:
            raise ProblemError(f"horizon.mtus: got {self.mtus}, wanted 1 to {MAX_MTUS}")
        if self.mtu_minutes not in MTU_MINUTES:
            raise ProblemError(f"horizon.mtu_minutes: got {self.mtu_minutes}, wanted one of {MTU_MINUTES}")
        days = (0, *self.day_starts, self.mtus)
        if any(later <= earlier for earlier, later in pairwise(days)):
            raise ProblemError(
                f"horizon.day_starts: got {self.day_starts}, wanted ascending MTUs in 1..{self.mtus - 1}"
            )

    @property
    def hours(self) -> float:
        """Length of one MTU in hours."""
        return self.mtu_minutes / 60

    @property
    def day(self) -> npt.NDArray[np.int64]:
        """(T,) the day of each MTU, counted from 0."""
        day = np.zeros(self.mtus, dtype=np.int64)
        day[list(self.day_starts)] = 1
        return np.cumsum(day)
