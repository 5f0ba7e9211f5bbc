"""From a snapshot to a dispatch problem: integers and resource names become floats and arrays.

The way back is ``planning``; nowhere else do the two worlds meet.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from controller.flexibility import Flexibility, Generator, Plant, Programme, Relay, Storage, Thermostat, Vehicle
from controller.microgrid import Member, Order
from controller.snapshot import Limit, Snapshot
from controller.tasks import devices_of, horizon_of
from optimization.community import (
    Community,
    DeviceId,
    Envelope,
    FixedLoad,
    Floats,
    Link,
    Peer,
    PeerId,
    SectionId,
    Tariff,
)
from optimization.errors import ProblemError
from optimization.rolling import CHANGE_PRICE

SELLERS_PER_BUYER = 4
MICRO = 1_000_000
PPM = 1_000_000
KILO = 1000.0


def build(snapshot: Snapshot) -> Community:
    """The dispatch problem over the rest of the horizon.

    A device whose task no longer fits is asked for what still fits; see ``tasks``.

    Raises
    ------
    ProblemError
        If there is no tariff, or what is limited contradicts itself.
    """
    starts = snapshot.mtus()
    known = snapshot.microgrid.priced_until(snapshot.window.start)
    if known < snapshot.microgrid.end:
        since = datetime.fromtimestamp(known, UTC).isoformat()
        raise ProblemError(f"tariff: got none from {since} on, wanted one until the window's end")
    prices = [snapshot.microgrid.prices(start) for start in starts]
    peers = tuple(
        Peer(id=PeerId(member.id), section=SectionId(member.section), devices=devices_of(snapshot, member.id))
        for member in snapshot.members
    )
    return Community(
        horizon=horizon_of(snapshot),
        tariff=Tariff(
            import_price=np.array([p.import_price_micro_per_kwh for p in prices]) / MICRO,
            export_price=np.array([p.export_price_micro_per_kwh for p in prices]) / MICRO,
        ),
        peers=peers,
        links=_links(snapshot),
        envelopes=_envelopes(snapshot),
        planned_kw=_planned_kw(snapshot, peers),
        change_price=CHANGE_PRICE,
    )


def _planned_kw(snapshot: Snapshot, peers: tuple[Peer, ...]) -> dict[DeviceId, Floats]:
    """What the last plan foresaw of the devices that can still keep to it."""
    mtus = len(snapshot.mtus())
    return {
        device.id: np.array(series) / KILO
        for peer in peers
        for device in peer.devices
        if not isinstance(device, FixedLoad) and len(series := snapshot.planned_w.get(device.id, ())) == mtus
    }


def _links(snapshot: Snapshot) -> tuple[Link, ...]:
    """Links between members who name each other, of each buyer the cheapest few sellers.

    One that is vetoed for some MTUs of the window is closed in those; one that is for all of them is not there, so that
    the plan does not count on it beyond.
    """
    members = {member.id: member for member in snapshot.members}
    window = frozenset(range(len(snapshot.window_mtus())))

    def closed(seller: str, buyer: str) -> frozenset[int]:
        vetoes = [veto for veto in snapshot.vetoes if veto.forbids(members[seller], members[buyer])]
        if not vetoes:
            return frozenset()
        mtu_s = snapshot.microgrid.mtu_seconds
        return frozenset(
            k for k, start in enumerate(snapshot.mtus()) if any(veto.overlaps(start, start + mtu_s) for veto in vetoes)
        )

    green = _green(snapshot)

    def felt(member: str, partner: str) -> int:
        """What trading with a partner is worth less to a member, by name and by what the partner is."""
        order = snapshot.orders[member]
        brown = 0 if partner in green else order.attributes.get("GREEN", 0)
        local = members[member].section == members[partner].section
        missed = PPM - snapshot.reputations.get(partner, PPM)
        unsure = order.attributes.get("REPUTATION", 0) * missed // PPM
        return order.partners[partner] + brown + (0 if local else order.attributes.get("LOCAL", 0)) + unsure

    can_sell = {d.member for d in snapshot.devices if _feeds_in(d.flexibility)}
    can_sell |= _resellers(snapshot)
    charge = snapshot.microgrid.network_charge_micro_per_kwh
    links = []
    for buyer, order in sorted(snapshot.orders.items()):
        offers = [
            (felt(seller, buyer) + felt(buyer, seller), seller)
            for seller in order.partners
            if seller in can_sell
            and (other := snapshot.orders.get(seller))
            and buyer in other.partners
            and not window <= closed(seller, buyer)
            and _offers(other, 0)
            and _offers(order, 1)
        ]
        for _, seller in sorted(offers)[:SELLERS_PER_BUYER]:
            links.append(
                Link(
                    seller=PeerId(seller),
                    buyer=PeerId(buyer),
                    seller_preference=felt(seller, buyer) / MICRO,
                    buyer_preference=felt(buyer, seller) / MICRO,
                    network_charge=charge / MICRO,
                    closed_mtus=closed(seller, buyer),
                )
            )
    return tuple(links)


def _resellers(snapshot: Snapshot) -> frozenset[str]:
    """The members that bought before, and may sell again what they do not need."""
    mtus = len(snapshot.window_mtus())
    return frozenset(member for member, bought in snapshot.bought_wh.items() if max(bought[:mtus], default=0) > 0)


def _green(snapshot: Snapshot) -> frozenset[str]:
    """The members that have a plant and no generator."""
    plants = {device.member for device in snapshot.devices if isinstance(device.flexibility, Plant)}
    return frozenset(plants - {d.member for d in snapshot.devices if isinstance(d.flexibility, Generator)})


def _offers(order: Order, side: int) -> bool:
    """Whether a member sells (0) or buys (1) in the window at all; where it says nothing, it does."""
    return not order.offers or any(offer[side] for offer in order.offers)


def _feeds_in(flexibility: Flexibility) -> bool:
    match flexibility:
        case Plant() | Storage() | Generator():
            return True
        case Vehicle(max_discharge_w=max_discharge_w):
            return max_discharge_w > 0
        case Relay() | Programme() | Thermostat():
            return False


def bounds_w(snapshot: Snapshot) -> dict[str, tuple[Floats, Floats]]:
    """The intersection of all limits by target, as lower and upper W of each MTU to the end of the horizon.

    Rounded inwards to what makes whole Wh in an MTU, so that rounding energies leaves nothing behind for good; a band
    too narrow for that is kept as it is. What nobody can keep is as far relaxed as ``snapshot.relaxed`` says, to the W.
    """
    step = 60 // snapshot.microgrid.mtu_minutes
    starts = np.array(snapshot.mtus())
    bounds = exact_bounds_w(snapshot)
    _round_inwards(bounds, step)
    for target, periods in snapshot.relaxed.items():
        lower, upper = bounds[target]
        place = np.searchsorted(starts, [period.start for period in periods])
        lower[place] = [-np.inf if period.lower_w is None else period.lower_w for period in periods]
        upper[place] = [np.inf if period.upper_w is None else period.upper_w for period in periods]
    supposed: dict[str, tuple[Floats, Floats]] = {}
    _intersect(supposed, snapshot.supposed, starts)
    _round_inwards(supposed, step)
    for target, (lower, upper) in supposed.items():
        low, high = bounds.get(target, (lower, upper))
        bounds[target] = np.maximum(low, lower), np.minimum(high, upper)
    return bounds


def exact_bounds_w(snapshot: Snapshot) -> dict[str, tuple[Floats, Floats]]:
    """What the DSO's limits and the members' connections come to by target, as it was said."""
    starts = np.array(snapshot.mtus())
    bounds: dict[str, tuple[Floats, Floats]] = {}
    _intersect(bounds, snapshot.limits, starts)
    for member in snapshot.members:
        if member.connection_w is not None or member.feed_in_w is not None:
            lower, upper = bounds.setdefault(
                f"{snapshot.microgrid.name}/members/{member.id}",
                (np.full(len(starts), -np.inf), np.full(len(starts), np.inf)),
            )
            most, least = _rated_w(snapshot, member)
            lower[:], upper[:] = np.maximum(lower, least), np.minimum(upper, most)
    return bounds


def _round_inwards(bounds: dict[str, tuple[Floats, Floats]], step: int) -> None:
    for lower, upper in bounds.values():
        low, high = np.ceil(lower / step) * step, np.floor(upper / step) * step
        lower[:], upper[:] = np.where(low <= high, low, lower), np.where(low <= high, high, upper)


def _intersect(
    bounds: dict[str, tuple[Floats, Floats]], limits: Sequence[Limit], starts: npt.NDArray[np.int64]
) -> None:
    """Let the bounds of targets hold these limits too."""
    for limit in limits:
        lower, upper = bounds.setdefault(limit.target, (np.full(len(starts), -np.inf), np.full(len(starts), np.inf)))
        for period in limit.periods:
            inside = (starts >= period.start) & (starts < period.end)
            if period.lower_w is not None:
                lower[inside] = np.maximum(lower[inside], period.lower_w)
            if period.upper_w is not None:
                upper[inside] = np.minimum(upper[inside], period.upper_w)


def _rated_w(snapshot: Snapshot, member: Member) -> tuple[Floats, Floats]:
    """The most and the least net W that a member's connection is rated for in each MTU.

    What is under way and cannot be stopped, a cycle or a generator, widens them: it fails no clearing.
    """
    order = snapshot.orders.get(member.id)
    load = np.array(order.load_w if order else (0,) * len(snapshot.mtus()), dtype=np.float64)
    taken = given = 0
    for device in snapshot.devices:
        state = snapshot.states.get(device.id)
        if device.member != member.id or state is None:
            continue
        if isinstance(device.flexibility, Programme) and (state.task_closed_s > 0 or state.on):
            taken += max(device.flexibility.profile_w)
        if isinstance(device.flexibility, Generator) and state.on:
            given += device.flexibility.min_w
    most = np.full(load.size, np.inf) if member.connection_w is None else np.maximum(load + taken, member.connection_w)
    least = np.full(load.size, -np.inf if member.feed_in_w is None else -max(member.feed_in_w, given))
    return most, least


def _envelopes(snapshot: Snapshot) -> tuple[Envelope, ...]:
    envelopes = []
    for target, (lower, upper) in sorted(bounds_w(snapshot).items()):
        members = members_under(snapshot, target)
        # The problem's powers are what is left beside trades that were made before; limits are on all.
        bought = np.sum([snapshot.bought_w(member) for member in sorted(members)], axis=0)
        envelopes.append(
            Envelope(name=target, peers=members, lower_kw=(lower - bought) / KILO, upper_kw=(upper - bought) / KILO)
        )
    return tuple(envelopes)


def members_under(snapshot: Snapshot, target: str) -> frozenset[PeerId]:
    """The members whose power an envelope on a target sums: the connection point, a section, or one of them."""
    parts = target.split("/")
    match parts[2:]:
        case ["sections", section]:
            return frozenset(PeerId(m.id) for m in snapshot.members if m.section == section)
        case ["members", member]:
            return frozenset({PeerId(member)})
        case _:
            return frozenset(PeerId(m.id) for m in snapshot.members)


def net_of_tail(snapshot: Snapshot, target: str, power_w: Mapping[str, Sequence[int]], offset: int) -> list[int]:
    """Net W in the window's MTUs of the members under a target, were an earlier plan's powers to act.

    Parameters
    ----------
    snapshot : forecasts of now
    target : resource name of an envelope's target
    power_w : the earlier plan's device powers
    offset : MTUs between that plan's start and the window's
    """
    members = members_under(snapshot, target)
    return [
        sum(order.load_w[k] for member, order in snapshot.orders.items() if member in members)
        + sum(
            power_w[device.id][offset + k]
            for device in snapshot.devices
            if device.member in members and device.id in power_w
        )
        for k in range(len(snapshot.window_mtus()))
    ]
