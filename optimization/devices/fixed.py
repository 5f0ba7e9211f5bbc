"""Consumption that nobody controls."""

from dataclasses import dataclass

from optimization.quantities import DeviceId, Floats, series


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedLoad:
    """Consumption that nobody controls.

    Attributes
    ----------
    id : device id, unique in the community
    power_kw : (T,) kW; negative where it gives, as what was bought ahead does to its buyer
    """

    id: DeviceId
    power_kw: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "power_kw", series(f"{self.id}.power_kw", self.power_kw))
