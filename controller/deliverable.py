"""Whether members can give what is offered of them for demand response: by what they have, forecast and hold.

An offer that can be kept is never refused: stores may do what is best for it until then, appliances may be off or on
all the time, and several members' stores are taken as one. What is offered beyond that nobody can deliver.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from controller.capability import Means, first_above, first_below
from controller.demand_response import SECONDS_PER_HOUR, DemandEvent, Direction
from controller.flexibility import Plant
from controller.freezing import states_at
from controller.means import means_of
from controller.microgrid import PAST_S, Device, Microgrid, Order
from controller.store import demand, market, registry
from controller.wire.market import read_order
from optimization.quantities import MAX_MTUS


def most_deliverable_w(
    connection: Connection, microgrid: Microgrid, event: DemandEvent, members: Sequence[str], power_w: int, now: float
) -> tuple[int, int] | None:
    """An MTU, by its start, in which members cannot give so much, and the W that they can; None where they can.

    Parameters
    ----------
    connection : of the transaction
    microgrid : whose
    event : the request
    members : who gives, all of them under the event's target
    power_w : how much less, or more, than planned
    now : Unix seconds
    """
    mtu = microgrid.mtu_seconds
    starts = microgrid.mtus(int(now) - int(now) % mtu, event.end)
    planned = _planned(event, members)
    bounds: dict[int, int] = {}
    for other, accepted_w in _taken(connection, microgrid.id, event, members, starts):
        bounds |= _bounds(other, _planned(other, members), accepted_w, mtu)
    bounds |= _bounds(event, planned, power_w, mtu)
    series = [bounds.get(start) for start in starts]
    means = _means(connection, microgrid, members, starts, event.start)
    found = (first_above if event.direction is Direction.REDUCE else first_below)(series, means)
    if found is None or starts[found[0]] not in planned:
        return None
    start = starts[found[0]]
    difference = planned[start] - found[1] if event.direction is Direction.REDUCE else found[1] - planned[start]
    return start, max(0, int(difference * SECONDS_PER_HOUR // mtu))


def _planned(event: DemandEvent, members: Sequence[str]) -> dict[int, int]:
    """Wh that members were to take together, by the MTU's start."""
    known = event.planned or event.baseline
    columns = zip(*(known[member] for member in members), strict=True)
    length = (event.end - event.start) // len(known[members[0]])
    return {event.start + k * length: sum(column) for k, column in enumerate(columns)}


def _bounds(event: DemandEvent, planned: Mapping[int, int], power_w: int, mtu: int) -> dict[int, int]:
    """What giving makes of the members' net Wh, by the MTU's start."""
    energy = power_w * mtu // SECONDS_PER_HOUR
    sign = -1 if event.direction is Direction.REDUCE else 1
    return {start: known + sign * energy for start, known in planned.items()}


def _taken(
    connection: Connection, microgrid: str, event: DemandEvent, members: Sequence[str], starts: Sequence[int]
) -> list[tuple[DemandEvent, int]]:
    """What the same members give for others until then, in the same direction: a store is emptied once."""
    found = []
    for other in demand.events_between(connection, microgrid, starts[0], event.end):
        for offer in demand.offers(connection, microgrid, other.id):
            same = set(offer.members) == set(members) and other.direction is event.direction
            if other.id != event.id and offer.accepted_w and same:
                found.append((other, offer.accepted_w))
    return found


def _means(
    connection: Connection, microgrid: Microgrid, members: Sequence[str], starts: Sequence[int], until: int
) -> Means:
    """What members have together from now on."""
    devices = registry.devices(connection, microgrid.id)
    states = states_at(connection, microgrid, starts[0])
    windows = market.outlines(connection, microgrid.id, start=starts[0] - PAST_S, end=until + 1)
    begins = {window.name: window.start for window in windows}
    newest = market.newest_orders(connection, list(begins))
    each = []
    for member in members:
        own = [device for device in devices if device.member == member]
        stored = newest.get(member)
        order = Order(window="", member=member, load_w=(), production={}, partners={})
        offset = 0
        if stored is not None:
            order = read_order(stored.payload, mtus=MAX_MTUS, least=1, window=stored.window, member=member)
            offset = (starts[0] - begins[stored.window]) // microgrid.mtu_seconds
        each.append(means_of(microgrid, starts, _aligned(order, own, offset, len(starts)), own, states))
    return Means(
        mtu_s=microgrid.mtu_seconds,
        load_w=_sum([means.load_w for means in each]),
        produced_w=_sum([means.produced_w for means in each]),
        flexible_w=_sum([means.flexible_w for means in each]),
        stores=[store for means in each for store in means.stores],
    )


def _aligned(order: Order, own: Sequence[Device], offset: int, count: int) -> Order:
    """An order's forecasts for ``count`` MTUs from the ``offset``-th on: beyond what it says the last counts on.

    A plant of which nothing is said may produce what it is rated for.
    """

    def series(values: Sequence[int], otherwise: int) -> tuple[int, ...]:
        if not values:
            return (otherwise,) * count
        return tuple(values[min(max(offset + k, 0), len(values) - 1)] for k in range(count))

    production = {
        device.id: series(order.production.get(device.id, ()), device.flexibility.rated_w)
        for device in own
        if isinstance(device.flexibility, Plant)
    }
    return Order(
        window=order.window, member=order.member, load_w=series(order.load_w, 0), production=production, partners={}
    )


def _sum(series: Sequence[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*series, strict=True)]
