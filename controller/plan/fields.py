"""What the fields of a community file hold: one table per kind of device, which reader and schema share."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from types import MappingProxyType
from typing import Literal

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
from optimization.devices.thermostatic import MAX_TEMPERATURE_C
from optimization.quantities import MAX_MAGNITUDE, MAX_MTUS

Form = Literal["number", "count", "truth", "series", "text", "phases", "levels", "progress"]

MOST_ELAPSED = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a device.

    Attributes
    ----------
    form : what it holds
    required : whether it must be given; else the device's own default stands
    none : whether ``null`` may stand for it
    lower, upper : bounds of a number, or of each entry of a series
    """

    form: Form
    required: bool
    none: bool
    lower: float = 0.0
    upper: float = MAX_MAGNITUDE


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of device.

    Attributes
    ----------
    make : its class
    fields : by name, without ``id`` and without the window
    window : names of the first MTU and of the end of its window, and of the same as clock times; empty where it has
        none
    """

    make: type[Device]
    fields: Mapping[str, Field]
    window: tuple[tuple[str, str], ...] = ()


WINDOW = (("first_mtu", "first"), ("end_mtu", "end"))
STAY = (("arrival_mtu", "arrival"), ("departure_mtu", "departure"))

_WINDOWED = {name for pair in (*WINDOW, *STAY) for name in pair}
_FORMS: Mapping[str, Form] = MappingProxyType(
    {
        **dict.fromkeys(("performance", "ambient_c", "draw_kw", "lower_c", "upper_c", "available_kw"), "series"),
        **dict.fromkeys(("modulating", "running"), "truth"),
        **dict.fromkeys(("elapsed_mtus", "starts_today"), "count"),
        **dict.fromkeys(("min_on_mtus", "min_off_mtus", "min_up_mtus", "min_down_mtus", "required_mtus"), "count"),
        **dict.fromkeys(("max_starts", "min_delay_mtus", "max_delay_mtus"), "count"),
        "follows": "text",
        "phases": "phases",
        "levels": "levels",
        "progress": "progress",
    }
)
_BOUNDS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        **dict.fromkeys(("charge_efficiency", "discharge_efficiency"), (0.01, 1.0)),
        **dict.fromkeys(("performance", "draw_kw", "linear_cost"), (-MAX_MAGNITUDE, MAX_MAGNITUDE)),
        **dict.fromkeys(("ambient_c", "lower_c", "upper_c"), (-MAX_TEMPERATURE_C, MAX_TEMPERATURE_C)),
        "initial_c": (-MAX_TEMPERATURE_C, MAX_TEMPERATURE_C),
        "self_discharge": (0.0, 0.999),
        "heat_capacity_kwh_per_k": (1e-6, MAX_MAGNITUDE),
        **dict.fromkeys(("elapsed_mtus", "starts_today"), (0, MOST_ELAPSED)),
        **dict.fromkeys(("min_on_mtus", "min_off_mtus", "min_up_mtus", "min_down_mtus"), (1, MAX_MTUS)),
        **dict.fromkeys(("required_mtus", "max_starts", "min_delay_mtus", "max_delay_mtus"), (0, MAX_MTUS)),
    }
)


def _kind(make: type[Device], window: tuple[tuple[str, str], ...] = (), **forms: Form) -> Kind:
    table = {}
    for each in fields(make):
        if each.name == "id" or each.name in _WINDOWED:
            continue
        lower, upper = _BOUNDS.get(each.name, (0.0, MAX_MAGNITUDE))
        table[each.name] = Field(
            form=forms.get(each.name) or _FORMS.get(each.name, "number"),
            required=each.default is MISSING,
            none=each.default is None,
            lower=lower,
            upper=upper,
        )
    return Kind(make=make, fields=MappingProxyType(table), window=window)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "fixed_load": _kind(FixedLoad, power_kw="series"),
        "curtailable": _kind(Curtailable),
        "generator": _kind(Generator),
        "battery": _kind(Battery),
        "electric_vehicle": _kind(ElectricVehicle, STAY),
        "programme": _kind(Programme, WINDOW),
        "interruptible": _kind(Interruptible, WINDOW),
        "thermostatic": _kind(Thermostatic),
    }
)
"""Every kind of device by the name that a file gives it."""


def kind_of(device: Device) -> str:
    """The name of a device's kind."""
    return next(name for name, kind in KINDS.items() if isinstance(device, kind.make))
