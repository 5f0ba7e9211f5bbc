"""Small microgrids in any state, drawn at random."""

from typing import Any

from hypothesis import strategies as st

from controller.clamp import Ability, Device, Level, Margin, Planned, Scope, Situation, Span
from controller.microgrid import SetpointKind

WATTS = st.integers(0, 30)
SIGNED = st.integers(-40, 40)


@st.composite
def levels(draw: Any) -> tuple[Level, ...]:
    ends = draw(st.lists(WATTS, max_size=4, unique=True).map(sorted))
    pairs = list(zip(ends[::2], ends[1::2], strict=False))
    if draw(st.booleans()):
        return tuple(Level(min_w=most, max_w=most) for _, most in pairs)
    return tuple(Level(min_w=least, max_w=most) for least, most in pairs)


@st.composite
def plans(draw: Any, ability: Ability) -> Planned | None:
    kind = draw(st.sampled_from([None, *SetpointKind]))
    match kind:
        case None:
            return None
        case SetpointKind.RELAY:
            return Planned(kind=kind, value=draw(st.integers(0, 1)))
        case SetpointKind.POWER:
            ends = -ability.max_production_w, ability.max_consumption_w
            return Planned(kind=kind, value=draw(st.integers(*ends)))
        case SetpointKind.PRODUCTION_LIMIT:
            return Planned(kind=kind, value=draw(WATTS))


@st.composite
def devices(draw: Any, id_: str, scopes: list[str]) -> Device:
    ability = Ability(consumption=draw(levels()), production=draw(levels()))
    controllable = draw(st.integers(0, 3)) > 0
    return Device(
        id=id_,
        scope=draw(st.sampled_from(scopes)),
        ability=ability,
        planned=draw(plans(ability)),
        failsafe_w=draw(st.integers(-5, 5)),
        measured_w=draw(st.none() | SIGNED),
        controllable=controllable,
        ends=None if controllable else draw(st.none() | st.integers(0, 9).map(float)),
        priority=draw(st.integers(0, 2)),
    )


@st.composite
def situations(draw: Any, most_devices: int = 7) -> Situation:
    scopes: list[Scope] = []
    for number in range(draw(st.integers(1, 6))):
        lower, upper = sorted((draw(st.integers(-120, 60)), draw(st.integers(-60, 120))))
        scopes.append(
            Scope(
                name=f"s{number}",
                parent=draw(st.sampled_from([scope.name for scope in scopes])) if scopes else None,
                lower_w=lower if draw(st.booleans()) else None,
                upper_w=upper if draw(st.booleans()) else None,
                measured_w=draw(st.none() | SIGNED),
                uncontrolled=Span(low_w=-draw(WATTS), high_w=draw(WATTS)),
            )
        )
    names = [scope.name for scope in scopes]
    number = draw(st.integers(0, most_devices))
    return Situation(scopes=tuple(scopes), devices=tuple(draw(devices(f"d{n}", names)) for n in range(number)))


MARGINS = st.builds(Margin, fixed_w=st.integers(0, 5), share_ppm=st.sampled_from([0, 1, 50_000, 1_000_000]))
