"""What a device's lines in the model are given and what they give."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from optimization.community import Floats, Horizon


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a device's lines depend on beside the device.

    Attributes
    ----------
    horizon : of the community
    shortfall_price : currency per kWh that a task falls short
    may_pay_to_waste : (T,) whether to lose energy on purpose, by charging and discharging at once, could lower costs
    ends_before : for a programme that follows another: in which MTU that one's last phase ends (the first MTU after
        it, at most 0 where it has ended), each with the 0 or 1 of the model; None for all others
    """

    horizon: Horizon
    shortfall_price: float
    may_pay_to_waste: npt.NDArray[np.bool_]
    ends_before: Mapping[int, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What the solved model says about a device.

    Attributes
    ----------
    power_kw : (T,) kW, consumption positive
    state_kwh : (T,) kWh stored at the end of each MTU; None for what stores none
    temperature_c : (T,) degrees at the end of each MTU; None for what has none
    shortfall : of its task, in the unit that ``Clearing.shortfall`` states
    above_model : currency by which it costs more than the solved model says
    """

    power_kw: Floats
    state_kwh: Floats | None = None
    temperature_c: Floats | None = None
    shortfall: float = 0.0
    above_model: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A device's lines in the model.

    Attributes
    ----------
    power : T expressions, kW, consumption positive
    cost : expression, currency
    read : the schedule, once the model is solved
    ends : of a programme, as ``Setting.ends_before``
    """

    power: Sequence[Any]
    cost: Any
    read: Callable[[], Schedule]
    ends: Mapping[int, Any] = field(default_factory=dict)
