"""Demand response: where an event stands, what it bounds, what was delivered, what is paid.

An event's state follows from what was said and the time alone, so that nothing has to happen at its start and end, and
a service that was down meanwhile takes it up where it is.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from controller.ledger import amount_micro
from controller.microgrid import Bounds

SECONDS_PER_HOUR = 3600


class Direction(Enum):
    """What the network needs: less or more net consumption."""

    REDUCE = "REDUCE"
    INCREASE = "INCREASE"


class EventState(Enum):
    """Where an event stands; see the API's EventState."""

    REQUESTED = "REQUESTED"
    OFFERED = "OFFERED"
    ACCEPTED = "ACCEPTED"
    ACTIVE = "ACTIVE"
    ENDED = "ENDED"
    VERIFIED = "VERIFIED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandEvent:
    """A request for flexibility.

    Attributes
    ----------
    id, target : within the microgrid, a resource name
    start, end : Unix seconds, whole MTUs
    direction, power_w, price_cap_micro_per_kwh : what is wanted, and the most that is paid
    offer_deadline : Unix seconds
    reason : for people
    holder : the id of the DSO that asks
    created : Unix seconds
    baseline : Wh of each member under the target in each MTU that deliveries are measured against; see ``baseline``
    planned : the same as it was planned before the request; empty where that is the baseline
    cancelled : whether the DSO took it back
    payload, signature, key_id : as the DSO signed it
    """

    id: str
    target: str
    start: int
    end: int
    direction: Direction
    power_w: int
    price_cap_micro_per_kwh: int
    offer_deadline: int
    reason: str
    holder: str
    created: int
    baseline: Mapping[str, tuple[int, ...]]
    planned: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    cancelled: bool = False
    payload: bytes
    signature: bytes
    key_id: str

    def of(self, members: Sequence[str]) -> tuple[int, ...]:
        """The baseline of some members together."""
        return tuple(sum(column) for column in zip(*(self.baseline[member] for member in members), strict=True))

    def as_planned(self) -> tuple[int, ...]:
        """What the target was to take as planned, all members together."""
        return tuple(sum(column) for column in zip(*(self.planned or self.baseline).values(), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandOffer:
    """An aggregator's offer.

    Attributes
    ----------
    event, id : whose, and within it
    aggregator : the id of its identity
    members : who gives
    power_w, price_micro_per_kwh : how much for what
    created : Unix seconds
    accepted_w : 0 where nothing was
    payload, signature, key_id : as the aggregator signed it
    """

    event: str
    id: str
    aggregator: str
    members: tuple[str, ...]
    power_w: int
    price_micro_per_kwh: int
    created: int
    accepted_w: int = 0
    payload: bytes
    signature: bytes
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of an offer in one MTU; see the API's DemandDelivery."""

    event: str
    offer: str
    mtu_start: int
    baseline_wh: int
    metered_wh: int
    delivered_wh: int
    paid_wh: int
    amount_micro: int


def state(event: DemandEvent, *, offers: int, accepted: int, verified: bool, now: float) -> EventState:
    """Where an event stands at an instant.

    Parameters
    ----------
    event : which
    offers, accepted : how many offers there are, and of how many something was accepted
    verified : whether every MTU is settled
    now : Unix seconds
    """
    if event.cancelled:
        return EventState.CANCELLED
    if accepted:
        if now < event.start:
            return EventState.ACCEPTED
        if now < event.end:
            return EventState.ACTIVE
        return EventState.VERIFIED if verified else EventState.ENDED
    if offers:
        return EventState.OFFERED if now < event.start else EventState.EXPIRED
    return EventState.REQUESTED if now < event.offer_deadline else EventState.EXPIRED


def bounds(event: DemandEvent, accepted_w: int, mtu_seconds: int) -> tuple[Bounds, ...]:
    """What acceptance makes of the target's net power in each MTU: what was planned less, or more, what was accepted.

    Not what is paid against: who did not offer shall not be bound by a figure that is low so that nobody is overpaid.
    """
    periods = []
    for k, energy_wh in enumerate(event.as_planned()):
        power_w = energy_wh * SECONDS_PER_HOUR // mtu_seconds
        start = event.start + k * mtu_seconds
        lower, upper = None, None
        match event.direction:
            case Direction.REDUCE:
                upper = power_w - accepted_w
            case Direction.INCREASE:
                lower = power_w + accepted_w
        periods.append(Bounds(start=start, end=start + mtu_seconds, lower_w=lower, upper_w=upper))
    return tuple(periods)


def delivery(
    event: DemandEvent, offer: DemandOffer, mtu_start: int, metered: Mapping[str, int], mtu_seconds: int
) -> Delivery:
    """What an offer delivered in one MTU, and what that is paid.

    Parameters
    ----------
    event, offer : which
    mtu_start : Unix seconds
    metered : Wh that members took in it; who is not metered any more has delivered nothing
    mtu_seconds : its length
    """
    k = (mtu_start - event.start) // mtu_seconds
    known = [member for member in offer.members if member in metered]
    baseline = sum(event.baseline[member][k] for member in known)
    taken = sum(metered[member] for member in known)
    difference = baseline - taken if event.direction is Direction.REDUCE else taken - baseline
    delivered = max(0, difference)
    paid = min(delivered, offer.accepted_w * mtu_seconds // SECONDS_PER_HOUR)
    return Delivery(
        event=event.id,
        offer=offer.id,
        mtu_start=mtu_start,
        baseline_wh=baseline,
        metered_wh=taken,
        delivered_wh=delivered,
        paid_wh=paid,
        amount_micro=amount_micro(paid, offer.price_micro_per_kwh),
    )


def baseline_json(baseline: Mapping[str, Sequence[int]]) -> str:
    """A baseline as canonical JSON."""
    return json.dumps({member: list(series) for member, series in sorted(baseline.items())}, separators=(",", ":"))


def baseline_digest(baseline: Mapping[str, Sequence[int]]) -> bytes:
    """SHA-256 of a baseline's canonical JSON."""
    return hashlib.sha256(baseline_json(baseline).encode()).digest()
