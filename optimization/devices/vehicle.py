r"""An electric vehicle at its charging point (S2: fill rate based control with operation modes).

While it is plugged in, MTUs ``[arrival, departure)``, each MTU is spent in one mode: idle, charging at a power within
one of the ranges of ``levels`` (one per number of phases: a charging point cannot go below its minimum current), or,
where it can, discharging at up to ``max_discharge_kw``. Its energy follows :math:`s_t = s_{t-1} + \Delta(\eta^c p_t^+ -
p_t^-/\eta^d)` from the arrival on and never leaves ``[floor, capacity]``; what is missing at departure to the required
energy counts as shortfall, at the community's shortfall price.
"""

from dataclasses import dataclass

from optimization.devices.battery import reserve_kwh
from optimization.errors import ProblemError
from optimization.quantities import DeviceId, Floats, Horizon, mtu_window, number
from optimization.waiting import WAITING_COST


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerRange:
    """Powers between which a device in some mode is free.

    Attributes
    ----------
    lower_kw, upper_kw : kW, 0 <= lower <= upper
    """

    lower_kw: float
    upper_kw: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectricVehicle:
    """One stay of a vehicle at its charging point.

    Attributes
    ----------
    id : device id
    arrival_mtu, departure_mtu : half-open stay in MTUs of the horizon; a stay across midnight is simply long
    capacity_kwh : of its battery
    initial_kwh : stored on arrival, 0 to capacity
    required_kwh : wanted on departure, 0 to capacity
    levels : at least one range of charging powers, ascending and not overlapping; idle is always allowed
    charge_efficiency, discharge_efficiency : 0.01 to 1
    max_discharge_kw : kW that it can give back (vehicle to grid), 0 for none
    min_kwh : what giving back leaves in it, 0 to capacity; a vehicle that arrives with less gives nothing back
    cycle_cost : currency per kWh given back, non-negative
    waiting_cost : currency per kWh that is missing to a full battery, and hour of its stay; makes ties go to charging
        early
    """

    id: DeviceId
    arrival_mtu: int
    departure_mtu: int
    capacity_kwh: float
    initial_kwh: float
    required_kwh: float
    levels: tuple[PowerRange, ...]
    charge_efficiency: float = 0.92
    discharge_efficiency: float = 0.92
    max_discharge_kw: float = 0.0
    min_kwh: float = 0.0
    cycle_cost: float = 0.02
    waiting_cost: float = WAITING_COST

    def __post_init__(self) -> None:
        mtu_window(str(self.id), self.arrival_mtu, self.departure_mtu)
        for name in ("capacity_kwh", "max_discharge_kw", "cycle_cost", "waiting_cost"):
            number(f"{self.id}.{name}", getattr(self, name))
        for name in ("initial_kwh", "required_kwh", "min_kwh"):
            number(f"{self.id}.{name}", getattr(self, name), upper=self.capacity_kwh)
        for name in ("charge_efficiency", "discharge_efficiency"):
            number(f"{self.id}.{name}", getattr(self, name), lower=0.01, upper=1.0)
        if not self.levels:
            raise ProblemError(f"{self.id}.levels: got none, wanted at least one range of charging powers")
        reached = 0.0
        for k, level in enumerate(self.levels):
            number(f"{self.id}.levels[{k}].upper_kw", level.upper_kw)
            number(f"{self.id}.levels[{k}].lower_kw", level.lower_kw, lower=reached, upper=level.upper_kw)
            reached = level.upper_kw

    @property
    def max_charge_kw(self) -> float:
        """The highest charging power in kW."""
        return self.levels[-1].upper_kw

    def floor_kwh(self, horizon: Horizon) -> Floats:
        """(departure - arrival,) kWh that must be stored at the end of each MTU of the stay."""
        return reserve_kwh(
            self.min_kwh,
            self.initial_kwh,
            keep=1.0,
            inflow=horizon.hours * self.charge_efficiency * self.max_charge_kw,
            mtus=self.departure_mtu - self.arrival_mtu,
        )
