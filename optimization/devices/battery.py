r"""A battery (S2: fill rate based control).

With :math:`p_t` kW at the terminals, consumption positive, of which in each MTU either the charge
:math:`p_t^+ = \max(p_t, 0)` or the discharge :math:`p_t^- = \max(-p_t, 0)` is positive, never both:

.. math::

    s_t = \kappa s_{t-1} + \Delta\,(\eta^c p_t^+ - p_t^- / \eta^d), \qquad
    \underline s_t \le s_t \le \overline s, \qquad \kappa = (1 - \sigma)^\Delta

What is missing to the final energy counts as shortfall, at the community's shortfall price.
"""

from dataclasses import dataclass

import numpy as np

from optimization.quantities import DeviceId, Floats, Horizon, number
from optimization.waiting import WAITING_COST


@dataclass(frozen=True, slots=True, kw_only=True)
class Battery:
    """A store of energy with losses.

    Attributes
    ----------
    id : device id
    max_charge_kw, max_discharge_kw : kW at the terminals, non-negative
    capacity_kwh : usable energy, non-negative
    initial_kwh : stored at the start of the horizon, 0 to capacity
    final_kwh : wanted at its end, 0 to capacity; what is missing counts as shortfall
    min_kwh : kept in reserve, 0 to capacity; see ``floor_kwh`` for a battery that starts below it
    charge_efficiency, discharge_efficiency : 0.01 to 1
    self_discharge : part of the stored energy lost in an hour, 0 to below 1
    final_value : currency per kWh stored at the end of the horizon, non-negative
    cycle_cost : currency per kWh discharged, non-negative
    waiting_cost : currency per kWh that is missing to a full store, and hour; makes ties go to charging early
    """

    id: DeviceId
    max_charge_kw: float
    max_discharge_kw: float
    capacity_kwh: float
    initial_kwh: float
    final_kwh: float
    min_kwh: float = 0.0
    charge_efficiency: float = 0.95
    discharge_efficiency: float = 0.95
    self_discharge: float = 0.0
    final_value: float = 0.0
    cycle_cost: float = 0.001
    waiting_cost: float = WAITING_COST

    def __post_init__(self) -> None:
        for name in ("max_charge_kw", "max_discharge_kw", "capacity_kwh", "cycle_cost", "waiting_cost", "final_value"):
            number(f"{self.id}.{name}", getattr(self, name))
        for name in ("initial_kwh", "final_kwh", "min_kwh"):
            number(f"{self.id}.{name}", getattr(self, name), upper=self.capacity_kwh)
        for name in ("charge_efficiency", "discharge_efficiency"):
            number(f"{self.id}.{name}", getattr(self, name), lower=0.01, upper=1.0)
        number(f"{self.id}.self_discharge", self.self_discharge, upper=0.999)

    def keep(self, horizon: Horizon) -> float:
        """The part of the stored energy that is left after one MTU."""
        return float((1.0 - self.self_discharge) ** horizon.hours)

    def floor_kwh(self, horizon: Horizon) -> Floats:
        """(T,) kWh that must be stored at the end of each MTU.

        The reserve; for a battery that starts below it, what idling would leave of its energy, so that it may not be
        drawn on further; for one whose charger cannot keep the reserve against its losses, what it can.
        """
        return reserve_kwh(
            self.min_kwh,
            self.initial_kwh,
            keep=self.keep(horizon),
            inflow=horizon.hours * self.charge_efficiency * self.max_charge_kw,
            mtus=horizon.mtus,
        )


def reserve_kwh(least: float, initial: float, *, keep: float, inflow: float, mtus: int) -> Floats:
    """(T,) kWh: a reserve as far as idling (from below it) or charging at full power (from above it) can keep it.

    Parameters
    ----------
    least : kWh of the reserve
    initial : kWh stored at first
    keep : part of the stored energy that is left after one MTU
    inflow : kWh that charging at full power adds in one MTU
    mtus : T
    """
    gain = 0.0 if initial < least else inflow
    reached, floor = initial, np.empty(mtus)
    for t in range(mtus):
        reached = keep * reached + gain
        floor[t] = min(least, reached)
        reached = min(reached, max(least, initial))
    return floor
