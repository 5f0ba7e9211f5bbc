"""Rated powers too small to tell on from off."""

from collections.abc import Iterator

from optimization.devices import (
    Battery,
    Curtailable,
    Device,
    ElectricVehicle,
    FixedLoad,
    Generator,
    Interruptible,
    Programme,
    Thermostatic,
)
from optimization.errors import ProblemError

LEAST_KW = 0.001
"""A watt, as setpoints count: a hundred times what a certificate lets pass as rounding. With less, whether a device
runs would be lost in it, and a task left undone could cost less than a start."""


def check_rated(device: Device) -> None:
    """Refuses a device whose running nobody could tell from its rest.

    A phase of a programme may draw nothing, as while soaking; the whole of it may not.

    Raises
    ------
    ProblemError
        If the most that a switched device draws or produces is below ``LEAST_KW``, or the least while on is not 0 and
        below it.
    """
    for name, most in _most_kw(device):
        if most < LEAST_KW:
            raise ProblemError(f"{device.id}.{name}: got {most:g} kW, wanted at least {LEAST_KW:g}")
    for name, least in _least_kw(device):
        if 0.0 < least < LEAST_KW:
            raise ProblemError(f"{device.id}.{name}: got {least:g} kW, wanted 0 or at least {LEAST_KW:g}")


def _most_kw(device: Device) -> Iterator[tuple[str, float]]:
    match device:
        case Interruptible():
            yield "power_kw", device.power_kw
        case Thermostatic():
            yield "rated_kw", device.rated_kw
        case Generator():
            yield "max_kw", device.max_kw
        case ElectricVehicle():
            for k, level in enumerate(device.levels):
                yield f"levels[{k}].upper_kw", level.upper_kw
        case Programme():
            yield "phases", max(float(phase.power_kw.max()) for phase in device.phases)
        case FixedLoad() | Curtailable() | Battery():
            pass


def _least_kw(device: Device) -> Iterator[tuple[str, float]]:
    match device:
        case Thermostatic() | Generator():
            yield "min_kw", device.min_kw
        case ElectricVehicle():
            for k, level in enumerate(device.levels):
                yield f"levels[{k}].lower_kw", level.lower_kw
        case FixedLoad() | Curtailable() | Battery() | Programme() | Interruptible():
            pass
