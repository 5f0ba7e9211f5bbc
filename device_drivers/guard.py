"""What the hardware may do, held by the driver itself, whatever it is told."""

from dataclasses import dataclass
from typing import assert_never

from device_drivers.refusal import Refused
from device_drivers.setpoint import Bounds, Power, ProductionLimit, RelayState, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """A target may go to the device.

    Attributes
    ----------
    target : Target
        As it may go: a production limit beyond the bounds is narrowed to them, which does not contradict it.
    """

    target: Target


def check(target: Target, bounds: Bounds) -> Allowed | Refused:
    """Whether a device with these power bounds may be told a target.

    A relay chooses no power, so that bounds have no say in its state.
    """
    match target:
        case Power(power_w=power_w):
            if bounds.contains(power_w):
                return Allowed(target=target)
            return Refused(reason=f"power: got {power_w} W, wanted within {bounds}")
        case ProductionLimit(limit_w=limit_w):
            if bounds.lower_w is None:
                return Allowed(target=target)
            return Allowed(target=ProductionLimit(limit_w=min(limit_w, max(0, -bounds.lower_w))))
        case RelayState():
            return Allowed(target=target)
        case never:
            assert_never(never)
