"""What members would have taken: frozen when the DSO asks, and nothing that a member only says raises what it is paid.

Where a window is cleared for good, its position counts: who buys energy to be paid for not taking it pays for it
first, and could not know of the request. Beyond, and where it may still be adjusted, of three figures the one that pays
least counts: what was cleared so far or the newest clearing's plan foresaw, what the member took at that time of day
before, and what its connection and devices can do at all. Forecasts bind nobody, so that alone they would be worth what
a member likes.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from contracts.books import round_half_even
from controller.demand_response import Direction
from controller.flexibility import Generator, Plant, Storage, Vehicle
from controller.metering import metered_wh
from controller.microgrid import Device, Member, Microgrid
from controller.snapshot import Snapshot
from controller.store import adjustments, demand, market, meter_events, meters, registry
from controller.store.market import PlanRow

SECONDS_PER_HOUR = 3600
DAY_S = 86_400
DAYS = 10
"""So many comparable days make an average: to raise it by a kWh a member has to take ten more."""
LOOK_BACK_DAYS = 28
WORKING_DAYS = 5

Place = tuple[str, int]
"""A member and the start of an MTU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """Wh of each member in each MTU of an event.

    Attributes
    ----------
    paid : what deliveries are measured against
    planned : what was cleared, or else foreseen: what the limit is made of that acceptance brings
    """

    paid: Mapping[str, tuple[int, ...]]
    planned: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Whose baseline is wanted, when, and in which direction."""

    members: Sequence[Member]
    start: int
    end: int
    direction: Direction


def usual(connection: Connection, microgrid: Microgrid, wanted: Wanted, now: float) -> dict[Place, int]:
    """What members took at the same times of day before, where that may count: weeks of readings, read beside writers.

    Nothing where all is cleared for good.
    """
    ids = [member.id for member in wanted.members]
    mtus = microgrid.mtus(wanted.start, wanted.end)
    cleared, _ = _bound(connection, microgrid, wanted)
    if all((member, mtu) in cleared for member in ids for mtu in mtus):
        return {}
    return _History(connection, microgrid, now).of(ids, mtus, wanted.direction)


def _bound(connection: Connection, microgrid: Microgrid, wanted: Wanted) -> tuple[dict[Place, int], dict[Place, int]]:
    """The positions that are cleared for good, and those that may still be adjusted."""
    positions = market.positions_between(connection, microgrid.id, wanted.start, wanted.end)
    # What may still be adjusted may be given back for what it cost: it binds as little as a forecast.
    parts = adjustments.open_parts(connection, microgrid.id, wanted.start, wanted.end)
    loose = {place for place in positions if any(start <= place[1] < end for start, end in parts)}
    return (
        {place: energy for place, energy in positions.items() if place not in loose},
        {place: energy for place, energy in positions.items() if place in loose},
    )


def baselines(
    connection: Connection, microgrid: Microgrid, wanted: Wanted, past: Mapping[Place, int]
) -> Baselines | int:
    """The baselines of an event as known at this moment; or the first MTU of which nothing is planned.

    ``past`` is what ``usual`` found.
    """
    ids = [member.id for member in wanted.members]
    mtus = microgrid.mtus(wanted.start, wanted.end)
    cleared, loose = _bound(connection, microgrid, wanted)
    newest = market.last_plan(connection, microgrid.id, before=wanted.end)
    foreseen = {} if newest is None else _planned(newest, ids, microgrid.mtu_seconds)
    foreseen |= loose
    known = cleared.keys() | foreseen.keys()
    for mtu in mtus:
        if not any((member, mtu) in known for member in ids):
            return mtu
    reach = _reach_wh(registry.devices(connection, microgrid.id), wanted, microgrid.mtu_seconds)
    paid, planned = {}, {}
    for member in ids:
        both = [_both(cleared, foreseen, past, (member, mtu), reach[member], wanted.direction) for mtu in mtus]
        paid[member], planned[member] = tuple(one for one, _ in both), tuple(other for _, other in both)
    return Baselines(paid=paid, planned=planned)


def _both(
    cleared: Mapping[Place, int],
    foreseen: Mapping[Place, int],
    past: Mapping[Place, int],
    place: Place,
    reach_wh: int | None,
    direction: Direction,
) -> tuple[int, int]:
    """What is paid against and what is planned, of a member in an MTU."""
    if place in cleared:
        return cleared[place], cleared[place]
    # Of whom nothing is known yet, nothing is paid against: neither energy nor feeding in.
    usual = past.get(place, 0)
    planned = foreseen.get(place, usual)
    figures = [planned, usual, *([] if reach_wh is None else [reach_wh])]
    return (min(figures) if direction is Direction.REDUCE else max(figures)), planned


def _reach_wh(devices: Iterable[Device], wanted: Wanted, mtu_seconds: int) -> dict[str, int | None]:
    """By member, the most Wh (of a reduction) or the least that it can take in an MTU; None where nobody knows."""
    given: dict[str, int] = defaultdict(int)
    for device in devices:
        match device.flexibility:
            case Plant(rated_w=power_w) | Generator(max_w=power_w):
                given[device.member] += power_w
            case Storage(max_discharge_w=power_w) | Vehicle(max_discharge_w=power_w):
                given[device.member] += power_w
            case _:
                pass
    found: dict[str, int | None] = {}
    for member in wanted.members:
        most, least = member.connection_w, -given[member.id]
        if member.feed_in_w is not None:
            least = max(least, -member.feed_in_w)
        reached = most if wanted.direction is Direction.REDUCE else least
        found[member.id] = None if reached is None else reached * mtu_seconds // SECONDS_PER_HOUR
    return found


class _History:
    """What members took before: as metered, or where readings are missing as cleared."""

    def __init__(self, connection: Connection, microgrid: Microgrid, now: float) -> None:
        self._connection = connection
        self._microgrid = microgrid
        self._now = int(now)

    def of(self, members: Sequence[str], mtus: Sequence[int], direction: Direction) -> dict[Place, int]:
        """The averages of what members took at the same times of day; nothing of whom nothing is known.

        Of up to ten days of the same kind (working days, or weekends), the newest within four weeks. Without any, of
        other days; without any either, of the last day until now. What they gave in demand response is left out.
        """
        alike: dict[Place, list[int]] = defaultdict(list)
        other: dict[Place, list[int]] = defaultdict(list)
        for days in range(1, LOOK_BACK_DAYS + 1):
            then = {mtu: self._before(mtu, days) for mtu in mtus}
            if max(then.values()) < self._microgrid.start:
                break
            taken = self._taken(members, min(then.values()), max(then.values()) + self._microgrid.mtu_seconds)
            for mtu, instant in then.items():
                pool = alike if self._works(mtu) == self._works(instant) else other
                for member in members:
                    known = taken.get((member, instant))
                    if known is not None and len(pool[member, mtu]) < DAYS:
                        pool[member, mtu].append(known)
        recent = self._recent(members)
        found = {}
        for member in members:
            for mtu in mtus:
                values = alike.get((member, mtu)) or other.get((member, mtu)) or recent.get(member)
                if values:
                    found[member, mtu] = _average(values, direction)
        return found

    def _recent(self, members: Sequence[str]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        mtu_s = self._microgrid.mtu_seconds
        now = self._now - (self._now - self._microgrid.start) % mtu_s
        for (member, _), energy in sorted(self._taken(members, now - DAY_S, now).items()):
            found[member].append(energy)
        return found

    def _before(self, instant: int, days: int) -> int:
        """The same time of day some days before."""
        local = datetime.fromtimestamp(instant, ZoneInfo(self._microgrid.time_zone)) - timedelta(days=days)
        return int(local.timestamp())

    def _works(self, instant: int) -> bool:
        return datetime.fromtimestamp(instant, ZoneInfo(self._microgrid.time_zone)).weekday() < WORKING_DAYS

    def _taken(self, members: Sequence[str], start: int, end: int) -> dict[Place, int]:
        """Wh in the MTUs of ``[start, end)`` as far as they are known, without those in which members gave."""
        instants = range(start, end + 1, self._microgrid.mtu_seconds)
        readings = meters.meter_readings(self._connection, self._microgrid.id, start, end)
        found = market.positions_between(self._connection, self._microgrid.id, start, end)
        changes = meter_events.meters(self._connection, self._microgrid.id)
        metered = metered_wh(readings, members, instants, changes)
        found |= {place: energy for place, energy in metered.items() if energy is not None}
        for event in demand.events_between(self._connection, self._microgrid.id, start, end):
            for offer in demand.offers(self._connection, self._microgrid.id, event.id):
                gave = offer.members if offer.accepted_w else ()
                for member in gave:
                    for mtu in self._microgrid.mtus(event.start, event.end):
                        found.pop((member, mtu), None)
        return found


def _average(values: Sequence[int], direction: Direction) -> int:
    """The mean, rounded to what pays less."""
    total, count = sum(values), len(values)
    return total // count if direction is Direction.REDUCE else -(-total // count)


def _planned(row: PlanRow, members: Sequence[str], mtu_seconds: int) -> dict[Place, int]:
    """Wh of each member and MTU in the plan that a clearing made, by its loads and devices."""
    plan = json.loads(row.plan)
    snapshot = Snapshot.from_json(row.snapshot)
    present = {member.id for member in snapshot.members}
    found = {}
    for member in members:
        if member not in present:
            continue
        order = snapshot.orders.get(member)
        own = [series for device, series in plan["power_w"].items() if device.partition("/")[0] == member]
        for k in range(len(plan["net_w"])):
            power_w = (order.load_w[k] if order else 0) + sum(series[k] for series in own)
            found[member, plan["start"] + k * mtu_seconds] = round_half_even(power_w * mtu_seconds, SECONDS_PER_HOUR)
    return found
