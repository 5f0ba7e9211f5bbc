"""Demand response: messages to values and back."""

from collections.abc import Mapping, Sequence

from google.protobuf.message import DecodeError

from controller.demand_response import (
    Delivery,
    DemandEvent,
    DemandOffer,
    Direction,
    EventState,
    baseline_digest,
)
from controller.refusals import invalid, not_found, out_of_range
from controller.wire import fields
from gridpact.v1 import demand_response_pb2 as pb
from gridpact.v1 import types_pb2

LONGEST_S = 86_400
MEMBERS = 1000
REASON = 500
DIRECTIONS = {
    pb.DEMAND_DIRECTION_REDUCE: Direction.REDUCE,
    pb.DEMAND_DIRECTION_INCREASE: Direction.INCREASE,
}


def read_event(signed: types_pb2.Signed, *, microgrid: str, mtu_seconds: int, holder: str, now: float) -> DemandEvent:
    """The event of a signed payload, without a baseline yet.

    Raises
    ------
    Refusal
        If a field is wrong, or its times are over.
    """
    try:
        message = pb.DemandEvent.FromString(signed.payload)
    except DecodeError as err:
        raise invalid("event.payload", got=f"{len(signed.payload)} bytes", wanted="a gridpact.v1.DemandEvent") from err
    grid, id_ = fields.resource("event.name", message.name, "microgrids", "events")
    if grid != microgrid:
        raise not_found(message.name)
    fields.target("event.target", message.target)
    start, end = fields.interval("event.interval", message.interval)
    if start % mtu_seconds or end % mtu_seconds:
        raise invalid("event.interval", got="a part of an MTU", wanted=f"multiples of {mtu_seconds} s")
    if end - start > LONGEST_S:
        raise out_of_range("event.interval", got=f"{end - start} s", wanted=f"at most {LONGEST_S} s")
    deadline = fields.future("event.offer_deadline", message.offer_deadline, now=now)
    if deadline > start:
        raise invalid("event.offer_deadline", got=f"{deadline} s", wanted=f"no later than the event's start, {start} s")
    if message.direction not in DIRECTIONS:
        raise invalid("event.direction", got=str(message.direction), wanted="REDUCE or INCREASE")
    if not 1 <= len(message.reason) <= REASON:
        raise invalid("event.reason", got=f"{len(message.reason)} characters", wanted=f"1 to {REASON}")
    return DemandEvent(
        id=id_,
        target=message.target,
        start=start,
        end=end,
        direction=DIRECTIONS[message.direction],
        power_w=fields.number("event.power_w", message.power_w, lower=1, upper=fields.MAX_W),
        price_cap_micro_per_kwh=fields.number(
            "event.price_cap_micro_per_kwh", message.price_cap_micro_per_kwh, upper=fields.MAX_PRICE_MICRO_PER_KWH
        ),
        offer_deadline=deadline,
        reason=fields.words("event.reason", message.reason),
        holder=holder,
        created=int(now),
        baseline={},
        payload=signed.payload,
        signature=signed.signature,
        key_id=signed.key_id,
    )


def read_offer(
    signed: types_pb2.Signed, event: DemandEvent, *, microgrid: str, aggregator: str, now: float
) -> DemandOffer:
    """The offer of a signed payload for an event.

    Raises
    ------
    Refusal
        If a field is wrong, or asks for more than the event wants.
    """
    try:
        message = pb.DemandOffer.FromString(signed.payload)
    except DecodeError as err:
        raise invalid("offer.payload", got=f"{len(signed.payload)} bytes", wanted="a gridpact.v1.DemandOffer") from err
    grid, parent, id_ = fields.resource("offer.name", message.name, "microgrids", "events", "offers")
    if (grid, parent) != (microgrid, event.id):
        raise not_found(message.name)
    if not 1 <= len(message.members) <= MEMBERS:
        raise invalid("offer.members", got=f"{len(message.members)}", wanted=f"1 to {MEMBERS}")
    members: list[str] = []
    for k, name in enumerate(message.members):
        own, member = fields.resource(f"offer.members[{k}]", name, "microgrids", "members")
        if own != microgrid:
            raise not_found(name)
        if member in members:
            raise invalid(f"offer.members[{k}]", got=f"{name} twice", wanted="each member once")
        members.append(member)
    return DemandOffer(
        event=event.id,
        id=id_,
        aggregator=aggregator,
        members=tuple(members),
        power_w=fields.number("offer.power_w", message.power_w, lower=1, upper=event.power_w),
        price_micro_per_kwh=fields.number(
            "offer.price_micro_per_kwh", message.price_micro_per_kwh, upper=event.price_cap_micro_per_kwh
        ),
        created=int(now),
        payload=signed.payload,
        signature=signed.signature,
        key_id=signed.key_id,
    )


def event_message(event: DemandEvent, state: EventState, *, accepted_w: int, baseline: bool) -> pb.DemandEventRecord:
    """The message of an event as it is held; with its baseline where the reader may have it."""
    return pb.DemandEventRecord(
        event=pb.DemandEvent.FromString(event.payload),
        state=pb.EventState.Value(f"EVENT_STATE_{state.value}"),
        create_time=fields.timestamp(event.created),
        signed_event=types_pb2.Signed(payload=event.payload, signature=event.signature, key_id=event.key_id),
        baseline_wh=event.of(sorted(event.baseline)) if baseline else (),
        planned_wh=event.as_planned() if baseline else (),
        baseline_digest=baseline_digest(event.baseline),
        accepted_w=accepted_w,
    )


def offer_message(
    event: DemandEvent, offer: DemandOffer, found: Sequence[Delivery], *, mtu_seconds: int, metered: bool
) -> pb.DemandOfferRecord:
    """The message of an offer with what it delivered; what its members plan and meter only where that may be seen."""
    return pb.DemandOfferRecord(
        offer=pb.DemandOffer.FromString(offer.payload),
        aggregator=offer.aggregator,
        create_time=fields.timestamp(offer.created),
        accepted_w=offer.accepted_w,
        signed_offer=types_pb2.Signed(payload=offer.payload, signature=offer.signature, key_id=offer.key_id),
        baseline_wh=event.of(offer.members) if metered else (),
        deliveries=[
            pb.DemandDelivery(
                interval=fields.interval_message(one.mtu_start, one.mtu_start + mtu_seconds),
                **_amounts(one, metered=metered),
            )
            for one in found
            if one.offer == offer.id
        ],
    )


def _amounts(one: Delivery, *, metered: bool) -> Mapping[str, int]:
    seen = {"baseline_wh": one.baseline_wh, "metered_wh": one.metered_wh} if metered else {}
    return seen | {
        "delivered_wh": one.delivered_wh,
        "paid_wh": one.paid_wh,
        "amount_micro": one.amount_micro,
    }
