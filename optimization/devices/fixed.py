"""Power that nobody controls."""

from dataclasses import dataclass

from optimization.quantities import DeviceId, Floats, series


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedLoad:
    """Consumption that nobody controls.

    Attributes
    ----------
    id : device id, unique in the community
    power_kw : (T,) kW, non-negative
    """

    id: DeviceId
    power_kw: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "power_kw", series(f"{self.id}.power_kw", self.power_kw, lower=0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedExchange(FixedLoad):
    """Power of either sign that nobody controls: a load beside what was traded before, a storage that its owner drives.

    Attributes
    ----------
    id : device id, unique in the community
    power_kw : (T,) kW, negative where it gives
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "power_kw", series(f"{self.id}.power_kw", self.power_kw))
