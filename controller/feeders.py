"""What a feeder's meter counts beside its members' together. Pure.

The difference is what the lines lost, or what some meter says wrongly. It is shown, and never posted.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from controller.meter_events import EventKind, MeterEvent
from controller.microgrid import Member

SECTION = "/sections/"
PERMILLE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FeederSum:
    """One MTU of a feeder.

    Attributes
    ----------
    place : of the feeder's meter: ``/``, ``/transformer`` or ``/sections/{section}``
    mtu_start : Unix seconds
    metered_wh : by the feeder's meter, consumption positive
    members_wh : by its members' meters together, consumption positive
    through_wh : what went through: the greater of the feeder's and of what its members took and gave
    """

    place: str
    mtu_start: int
    metered_wh: int
    members_wh: int
    through_wh: int

    @property
    def loss_wh(self) -> int:
        """What the feeder took that no member did."""
        return self.metered_wh - self.members_wh


def members_of(place: str, members: Iterable[Member]) -> frozenset[str]:
    """Who is behind a feeder's meter."""
    return frozenset(m.id for m in members if not place.startswith(SECTION) or place == f"{SECTION}{m.section}")


def feeder_sums(
    feeders: Mapping[tuple[str, int], int | None], members: Collection[Member], metered: Mapping[tuple[str, int], int]
) -> list[FeederSum]:
    """The sums of the MTUs of which a feeder's meter says what it counted, by place and time.

    Parameters
    ----------
    feeders : Wh by place and MTU; None where it is not known
    members : all of the microgrid
    metered : Wh by member and MTU
    """
    found = []
    for (place, mtu), energy in sorted(feeders.items()):
        if energy is None:
            continue
        parts = [metered[member, mtu] for member in members_of(place, members)]
        found.append(
            FeederSum(
                place=place,
                mtu_start=mtu,
                metered_wh=energy,
                members_wh=sum(parts),
                through_wh=max(abs(energy), sum(abs(part) for part in parts)),
            )
        )
    return found


def losses(sums: Sequence[FeederSum], *, permille: int | None) -> list[MeterEvent]:
    """An event for each feeder that lost more in a window than is allowed, either way; ``sums`` are by place."""
    events: list[MeterEvent] = []
    if permille is None:
        return events
    for place, mtus in groupby(sums, key=lambda one: one.place):
        own = [*mtus]
        lost, through = abs(sum(one.loss_wh for one in own)), sum(one.through_wh for one in own)
        if lost * PERMILLE > permille * through:
            note = f"got {lost} Wh between the feeder's meter and its members', wanted at most {permille} of 1000 of "
            events.append(
                MeterEvent(
                    kind=EventKind.LOSS,
                    member=place,
                    instant=own[0].mtu_start,
                    reporter="",
                    sequence=0,
                    note=f"{note}the {through} Wh that went through",
                )
            )
    return events
