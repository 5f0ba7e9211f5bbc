"""What a device is told under a cap: the most of its plan that the cap leaves."""

from dataclasses import dataclass
from typing import assert_never

from controller.clamp.ability import Ability, Level, reach
from controller.clamp.situation import Planned
from controller.microgrid import SetpointKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """What a device may do at most; it never has to do anything.

    Attributes
    ----------
    max_consumption_w, max_production_w : W, not negative; None does not bind
    binding : names of the scopes whose limits are the reason, the innermost first
    """

    max_consumption_w: int | None
    max_production_w: int | None
    binding: tuple[str, ...] = ()


def capped(planned: Planned, cap: Cap, ability: Ability) -> Planned:
    """What the device is told: its plan where that fits under the cap, else the nearest smaller thing that it can do.

    A relay closes only where all that it switches fits under the cap. The cap may be any number, as while it rises
    again; the answer is a power that the device can run at.
    """
    match planned.kind:
        case SetpointKind.RELAY:
            fits = _fits(ability.max_consumption_w, cap.max_consumption_w) and _fits(
                ability.max_production_w, cap.max_production_w
            )
            return planned if fits else Planned(kind=SetpointKind.RELAY, value=0)
        case SetpointKind.POWER if planned.value >= 0:
            value = _largest(ability.consumption, planned.value, cap.max_consumption_w)
            return Planned(kind=SetpointKind.POWER, value=value)
        case SetpointKind.POWER:
            value = -_largest(ability.production, -planned.value, cap.max_production_w)
            return Planned(kind=SetpointKind.POWER, value=value)
        case SetpointKind.PRODUCTION_LIMIT:
            value = _largest(ability.production, planned.value, cap.max_production_w)
            return Planned(kind=SetpointKind.PRODUCTION_LIMIT, value=value)
        case never:
            assert_never(never)


def _fits(power_w: int, most_w: int | None) -> bool:
    return most_w is None or power_w <= most_w


def _largest(levels: tuple[Level, ...], planned_w: int, most_w: int | None) -> int:
    if most_w is None or planned_w <= most_w:
        return planned_w
    return max((min(upper, most_w) for lower, upper in reach(levels, planned_w) if lower <= most_w), default=0)
