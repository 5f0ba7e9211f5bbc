"""What is claimed of a device, and what a check of it finds."""

from dataclasses import dataclass

import numpy as np

from optimization.quantities import Floats, Horizon

WRONG = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a clearing says of one device.

    Attributes
    ----------
    power_kw : (T,) kW, finite
    shortfall : in the unit of ``Clearing.shortfall``, finite and non-negative
    state_kwh : (T,) kWh, of batteries and vehicles; else empty
    temperature_c : (T,) degrees, of thermostatic loads; else empty
    """

    power_kw: Floats
    shortfall: float
    state_kwh: Floats
    temperature_c: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What all devices of a community share.

    Attributes
    ----------
    horizon : the MTUs
    shortfall_price : currency per kWh that a task falls short
    tolerance_kw : kW that count as none
    """

    horizon: Horizon
    shortfall_price: float
    tolerance_kw: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a check finds.

    Attributes
    ----------
    residual_kw : the largest violation of a rule, in kW; energies and kelvins are spread over one MTU, a whole number
        that is wrong by one counts with the power that hangs on it
    cost : currency, all that the objective counts of the device but its energy and its changes of plan
    """

    residual_kw: float
    cost: float


def worst(excess: Floats) -> float:
    """The largest positive entry; infinity where anything is NaN."""
    if np.isnan(excess).any():
        return WRONG
    return float(max(0.0, excess.max(initial=0.0)))


def runs(on: np.ndarray) -> tuple[list[int], list[int]]:
    """Where the runs of a (T,) schedule begin, and the first MTU after each."""
    edges = np.diff(np.concatenate([[False], on, [False]]).astype(np.int8))
    return np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist()
