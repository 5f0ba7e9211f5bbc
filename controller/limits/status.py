"""What holds on each target now, and how it is kept."""

from dataclasses import dataclass

from controller.limits.directory import Registered
from controller.limits.measured import LivePowers, Measured
from controller.limits.values import Band


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How a target is kept.

    Attributes
    ----------
    curtailed_w : what the clamp holds back
    excess_w : what it could not bring under the bounds
    failsafe_excess_w : what all failsafes together would exceed the target's default by
    """

    curtailed_w: int = 0
    excess_w: int = 0
    failsafe_excess_w: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatus:
    """A target's bounds and what is measured there; see the API's message of that name."""

    target: str
    band: Band
    measured: Measured | None
    kept: Kept

    @property
    def compliant(self) -> bool | None:
        """Whether the measured power keeps the bounds; None where it is not measured."""
        return None if self.measured is None else self.band.contains(self.measured.power_w)


def members_under(known: Registered, target: str) -> tuple[str, ...]:
    """The ids of the members whose power a target sums, in order."""
    parts = target.split("/")
    match parts[2:]:
        case ["sections", section]:
            return tuple(member.id for member in known.members if member.section == section)
        case ["members", member_id]:
            return tuple(member.id for member in known.members if member.id == member_id)
        case _:
            return tuple(member.id for member in known.members)


def measured_at(known: Registered, live: LivePowers, target: str) -> Measured | None:
    """A target's own measurement, else the sum of its members', else None."""
    microgrid = known.microgrid.id
    own = live.fresh(microgrid, target)
    if own is not None:
        return own
    name = known.microgrid.name
    return live.total(microgrid, [f"{name}/members/{member}" for member in members_under(known, target)])
