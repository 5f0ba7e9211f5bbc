"""PV and wind: production that may be curtailed (S2: power envelope based control)."""

from dataclasses import dataclass

from optimization.quantities import DeviceId, Floats, number, series


@dataclass(frozen=True, slots=True, kw_only=True)
class Curtailable:
    """A PV or wind plant that may produce less than is available.

    Attributes
    ----------
    id : device id
    available_kw : (T,) kW of production that sun or wind allow, non-negative
    curtailment_cost : currency per kWh available and not produced, non-negative
    """

    id: DeviceId
    available_kw: Floats
    curtailment_cost: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "available_kw", series(f"{self.id}.available_kw", self.available_kw, lower=0.0))
        number(f"{self.id}.curtailment_cost", self.curtailment_cost)
