"""The answer to a dispatch problem: trades, schedules, prices, and what is known about their quality."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from optimization.community import DeviceId, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """A schedule of all devices with the trades that balance it.

    Attributes
    ----------
    device_kw : (T,) kW of each device, consumption positive
    state_kwh : (T,) kWh stored in each battery at the end of each MTU, and in each vehicle (constant outside its stay)
    temperature_c : (T,) degrees of each thermostatic load at the end of each MTU
    shortfall : what each device could not be given: kWh of a battery's final or a vehicle's required energy, MTUs of an
        appliance, kWh of a programme that is left out, K h outside the comfort band
    trade_kwh : (L, T) kWh sold over each link of the community
    import_kwh, export_kwh : (N, T) kWh that each peer buys from and sells to the grid
    price : (N, T) currency/kWh, each peer's marginal value of energy (the dual of its balance)
    objective : currency, the cost of everything
    lower_bound : currency below which no schedule can cost; proven by the solver
    """

    device_kw: Mapping[DeviceId, Floats]
    state_kwh: Mapping[DeviceId, Floats]
    shortfall: Mapping[DeviceId, float]
    trade_kwh: Floats
    import_kwh: Floats
    export_kwh: Floats
    price: Floats
    objective: float
    lower_bound: float
    temperature_c: Mapping[DeviceId, Floats] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Infeasible:
    """The proof that no schedule keeps to all limits.

    Attributes
    ----------
    reason : what conflicts, for people
    """

    reason: str


Outcome = Clearing | Infeasible
