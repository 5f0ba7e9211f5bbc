"""What a protocol implements: a device that can be told a target and read."""

from dataclasses import dataclass
from typing import Protocol, assert_never

from device_drivers.setpoint import Power, ProductionLimit, RelayState, Target

ROUNDING_W = 1
"""W by which a device's own setpoint may differ from what it was told: both round."""
MISS_SHARE, MISS_W = 0.03, 15
"""Of a power, and at least, by which a device that obeys may miss it: what it regulates, and what it draws itself."""
EXCESS_SHARE, EXCESS_W = 0.1, 50
"""Of a limit, and beside it, what may be taken above it: it is kept as a current, at a voltage that varies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a device says that it does.

    Attributes
    ----------
    power_w : int or None
        W, consumption positive; None where it is not measured.
    relay_closed : bool or None
        None when there is no relay.
    closed_s : int or None
        s for which the relay has been closed in all, rounded down; 0 when there is no relay. None when the device does
        not say: then the driver counts.
    stored_wh : int or None
        Wh stored, rounded down; None when nothing is stored.
    temperature_milli_c : int or None
        Thousandths of a degree; None when no temperature is held.
    held_s : int or None
        s for which it has been on, or off, without a break, rounded down; None when it does not know.
    starts_today : int or None
        How often it was switched on since midnight in the microgrid's time zone; None when it does not know.
    limit_w : int or None
        W that it says it may take at most, of a device whose power is such a limit, as a charging station's is: what
        a car takes of it is the car's. None where a power is held.
    """

    power_w: int | None
    relay_closed: bool | None
    closed_s: int | None
    stored_wh: int | None
    temperature_milli_c: int | None = None
    held_s: int | None = None
    starts_today: int | None = None
    limit_w: int | None = None


class Device(Protocol):
    """One device behind its protocol."""

    def apply(self, target: Target) -> None:
        """Do this from now on.

        Raises
        ------
        DeviceError
            If the device cannot be reached, or says no.
        """

    def read(self) -> Reading:
        """What the device does now.

        Raises
        ------
        DeviceError
            If the device cannot be reached.
        """


def obeys(reading: Reading, target: Target) -> bool | None:
    """Whether a device that reads so does what the target says; None where the reading cannot tell."""
    match target:
        case RelayState(closed=closed):
            return None if reading.relay_closed is None else reading.relay_closed is closed
        case Power(power_w=power_w):
            if reading.limit_w is not None:
                return _keeps(reading, reading.limit_w, power_w)
            return None if reading.power_w is None else abs(reading.power_w - power_w) <= _miss_w(power_w)
        case ProductionLimit(limit_w=limit_w):
            return None if reading.power_w is None else reading.power_w >= -limit_w - _miss_w(limit_w)
        case never:
            assert_never(never)


def _miss_w(power_w: int) -> float:
    return max(MISS_W, MISS_SHARE * abs(power_w))


def _keeps(reading: Reading, limit_w: int, power_w: int) -> bool:
    if abs(limit_w - power_w) > ROUNDING_W:
        return False
    return reading.power_w is None or reading.power_w <= power_w + EXCESS_SHARE * abs(power_w) + EXCESS_W
