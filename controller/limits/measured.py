"""Live powers of meters: what limits are kept with. In memory alone; what is old counts as unknown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.clock import Monotonic

FRESH_S = 30.0
"""Seconds after its arrival during which a measurement counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A measured net power.

    Attributes
    ----------
    power_w : consumption positive
    instant : when it was measured, Unix seconds
    arrived : when it came, seconds of a steady clock
    """

    power_w: int
    instant: int
    arrived: float


class LivePowers:
    """The newest measurement of each target.

    Parameters
    ----------
    monotonic : tells how old they are
    """

    def __init__(self, monotonic: Monotonic) -> None:
        self._monotonic = monotonic
        self._newest: dict[tuple[str, str], Measured] = {}

    def observe(self, microgrid: str, target: str, power_w: int, instant: int) -> None:
        """Note a measurement; an older one than is known changes nothing, and one of the same instant is no fresher."""
        known = self._newest.get((microgrid, target))
        if known is not None and known.instant > instant:
            return
        again = known is not None and known.instant == instant
        arrived = known.arrived if known is not None and again else self._monotonic.now()
        self._newest[microgrid, target] = Measured(power_w=power_w, instant=instant, arrived=arrived)

    def fresh(self, microgrid: str, target: str) -> Measured | None:
        """A target's measurement; None where there is none or it is old."""
        known = self._newest.get((microgrid, target))
        if known is None or self._monotonic.now() - known.arrived > FRESH_S:
            return None
        return known

    def total(self, microgrid: str, targets: Iterable[str]) -> Measured | None:
        """The sum of several targets' measurements, as old as the oldest; None where one of them has none."""
        found = [self.fresh(microgrid, target) for target in targets]
        known = [measured for measured in found if measured is not None]
        if not known or len(known) < len(found):
            return None
        return Measured(
            power_w=sum(measured.power_w for measured in known),
            instant=min(measured.instant for measured in known),
            arrived=min(measured.arrived for measured in known),
        )

    def all_fresh(self, microgrid: str) -> Mapping[str, Measured]:
        """Every fresh measurement of a microgrid, by target."""
        return {
            target: measured
            for grid, target in sorted(self._newest)
            if grid == microgrid and (measured := self.fresh(grid, target)) is not None
        }
