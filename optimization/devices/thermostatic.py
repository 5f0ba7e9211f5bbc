r"""A thermostatic load: water heater, heat pump, air conditioner, refrigerator.

One temperature, held by a heat capacity C (kWh/K) that loses heat to its surroundings through a conductance G (kW/K).
With the electric power :math:`p_t`, the coefficient of performance :math:`c_t` (negative where it cools), the ambient
temperature :math:`\theta^a_t` and heat drawn off :math:`w_t` (kW), constant over an MTU, the temperature at its end is

.. math::

    \theta_t = \alpha \theta_{t-1} + (1 - \alpha)\Big(\theta^a_t + \frac{c_t p_t - w_t}{G}\Big),
    \qquad \alpha = e^{-\Delta G / C}

and :math:`\theta_t = \theta_{t-1} + \Delta (c_t p_t - w_t) / C` where nothing is lost, G = 0.

Comfort wants it within a band at the end of each MTU. Each kelvin and hour outside costs, so that an impossible comfort
never stops a plan; for a load that is only on or off each MTU outside also costs a fixed sum, lest a whole number be
bought with a hundredth of a kelvin.

References
----------
R. Sonderegger (1978), "Dynamic models of house heating based on equivalent thermal parameters", PhD thesis, Princeton:
the first-order model; its exact discretisation under constant inputs is the formula above.
"""

from dataclasses import dataclass

import numpy as np

from optimization.errors import ProblemError
from optimization.quantities import DeviceId, Floats, Horizon, count, number, series

DISCOMFORT_COST = 100.0
"""Default currency per kelvin and hour outside the band: nobody freezes to save money."""

MAX_TEMPERATURE_C = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thermostatic:
    """A load that holds a temperature.

    Attributes
    ----------
    id : device id
    rated_kw : electric kW while on; the most where it modulates
    modulating : whether any power from ``min_kw`` to ``rated_kw`` can be held, or rest; else on or off
    min_kw : least electric kW while on of a modulating load, 0 to rated
    heat_capacity_kwh_per_k : C, positive
    loss_kw_per_k : G, non-negative
    performance : (T,) thermal kW per electric kW: positive heats, negative cools; one sign in all MTUs, none 0
    ambient_c : (T,) temperature of the surroundings
    draw_kw : (T,) thermal kW taken out, as hot water or through an opened door (negative: brought in)
    lower_c, upper_c : (T,) comfort band at the end of each MTU
    initial_c : temperature when the horizon begins
    min_on_mtus, min_off_mtus : least length of a run and of a rest, at least 1; what reaches beyond the horizon is the
        next plan's to keep
    running : whether it is on when the horizon begins
    elapsed_mtus : how long it has been so; None where that is long enough for any change
    discomfort_cost : currency per K h outside the band, non-negative; of a load that is on or off each MTU outside
        costs a quarter of it as well
    start_cost : currency per start, non-negative
    """

    id: DeviceId
    rated_kw: float
    heat_capacity_kwh_per_k: float
    loss_kw_per_k: float
    performance: Floats
    ambient_c: Floats
    draw_kw: Floats
    lower_c: Floats
    upper_c: Floats
    initial_c: float
    modulating: bool = False
    min_kw: float = 0.0
    min_on_mtus: int = 1
    min_off_mtus: int = 1
    running: bool = False
    elapsed_mtus: int | None = None
    discomfort_cost: float = DISCOMFORT_COST
    start_cost: float = 0.0

    def __post_init__(self) -> None:
        number(f"{self.id}.rated_kw", self.rated_kw)
        number(f"{self.id}.min_kw", self.min_kw, upper=self.rated_kw)
        number(f"{self.id}.heat_capacity_kwh_per_k", self.heat_capacity_kwh_per_k, lower=1e-6)
        number(f"{self.id}.loss_kw_per_k", self.loss_kw_per_k)
        number(f"{self.id}.discomfort_cost", self.discomfort_cost)
        number(f"{self.id}.start_cost", self.start_cost)
        number(f"{self.id}.initial_c", self.initial_c, lower=-MAX_TEMPERATURE_C, upper=MAX_TEMPERATURE_C)
        for name in ("performance", "ambient_c", "draw_kw", "lower_c", "upper_c"):
            object.__setattr__(self, name, series(f"{self.id}.{name}", getattr(self, name)))
            if getattr(self, name).size != self.performance.size:
                raise ProblemError(
                    f"{self.id}.{name}: got {getattr(self, name).size} MTUs, wanted {self.performance.size}"
                )
        if not ((self.performance > 0).all() or (self.performance < 0).all()):
            raise ProblemError(f"{self.id}.performance: got zeros or both signs, wanted all positive or all negative")
        if (self.lower_c > self.upper_c).any():
            mtu = int(np.argmax(self.lower_c > self.upper_c))
            raise ProblemError(
                f"{self.id}[{mtu}]: got lower {self.lower_c[mtu]} above upper {self.upper_c[mtu]} degrees"
            )
        for name in ("min_on_mtus", "min_off_mtus"):
            count(f"{self.id}.{name}", getattr(self, name), lower=1)
        if self.elapsed_mtus is not None:
            count(f"{self.id}.elapsed_mtus", self.elapsed_mtus, upper=10**6)

    @property
    def outside_cost(self) -> float:
        """Currency per MTU outside the band, beside what the kelvins cost; of a load that is on or off."""
        return 0.0 if self.modulating else self.discomfort_cost / 4.0

    def dynamics(self, horizon: Horizon) -> tuple[float, Floats, Floats]:
        """The temperature's recursion ``theta[t] = keep * theta[t-1] + gain[t] * p[t] + drift[t]``.

        Returns
        -------
        keep : alpha, without unit
        gain : (T,) K per electric kW
        drift : (T,) K
        """
        hours = horizon.hours
        if self.loss_kw_per_k == 0.0:
            per_kw = hours / self.heat_capacity_kwh_per_k
            return 1.0, per_kw * self.performance, -per_kw * self.draw_kw
        keep = float(np.exp(-hours * self.loss_kw_per_k / self.heat_capacity_kwh_per_k))
        per_kw = (1.0 - keep) / self.loss_kw_per_k
        return keep, per_kw * self.performance, (1.0 - keep) * self.ambient_c - per_kw * self.draw_kw

    def temperature_c(self, power_kw: Floats, horizon: Horizon) -> Floats:
        """(T,) temperature at the end of each MTU under (T,) electric kW."""
        keep, gain, drift = self.dynamics(horizon)
        inflow = gain * power_kw + drift
        temperature, reached = np.empty(horizon.mtus), self.initial_c
        for t in range(horizon.mtus):
            reached = keep * reached + inflow[t]
            temperature[t] = reached
        return temperature
