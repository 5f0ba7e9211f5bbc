"""Whether a member can keep what its order says: partners that there are, its connection, what its devices can do."""

from collections.abc import Sequence

from sqlalchemy import Connection

from controller.capability import first_excess
from controller.flexibility import Plant
from controller.freezing import states_at
from controller.means import means_of
from controller.microgrid import Device, Member, Microgrid, Order
from controller.refusals import invalid, not_found, out_of_range
from controller.store import registry
from controller.store.market import WindowRow


def require_kept(
    connection: Connection, microgrid: Microgrid, row: WindowRow, order: Order, own: Sequence[Device]
) -> None:
    """Refuse an order that its member cannot keep.

    Raises
    ------
    Refusal
        NOT_FOUND for a partner that is no member; INVALID_ARGUMENT for offers that are not one for each MTU;
        OUT_OF_RANGE for a load above the connection, a production above its plant's rating, or an offer above what the
        connection or the devices can do, with what would be possible.
    """
    members = {member.id: member for member in registry.members(connection, microgrid.id)}
    for partner in order.partners:
        if partner not in members:
            raise not_found(f"{microgrid.name}/members/{partner}")
    _require_forecasts(order, members[order.member], own)
    if not order.offers:
        return
    starts = microgrid.mtus(row.start, row.end)
    if len(order.offers) != len(starts):
        wanted = f"{len(starts)}, one for each MTU of the window"
        raise invalid("order.offers", got=f"{len(order.offers)} offers", wanted=wanted)
    ratings = members[order.member].feed_in_w, members[order.member].connection_w
    for side, (name, rating) in enumerate(zip(("sell_wh", "buy_wh"), ratings, strict=True)):
        most = None if rating is None else rating * microgrid.mtu_seconds // 3600
        for k, offer in enumerate(order.offers):
            if most is not None and offer[side] > most:
                wanted = f"at most {most}: what the connection's {rating} W carry"
                raise out_of_range(f"order.offers[{k}].{name}", got=str(offer[side]), wanted=wanted)
    states = states_at(connection, microgrid, row.start)
    excess = first_excess(order.offers, means_of(microgrid, starts, order, own, states))
    if excess is not None:
        got = str(order.offers[excess.mtu][0 if excess.side == "sell_wh" else 1])
        wanted = (
            f"at most {excess.possible_wh}: what forecasts, ratings and stored energy allow beside the other offers"
        )
        raise out_of_range(f"order.offers[{excess.mtu}].{excess.side}", got=got, wanted=wanted)


def _require_forecasts(order: Order, member: Member, own: Sequence[Device]) -> None:
    """Refuse forecasts that cannot come true; the field is that of the message, whose plants are in its own order."""
    if member.connection_w is not None:
        for k, load in enumerate(order.load_w):
            if load > member.connection_w:
                wanted = f"at most {member.connection_w}: what the connection is rated for"
                raise out_of_range(f"order.load_w[{k}]", got=str(load), wanted=wanted)
    rated = {device.id: device.flexibility.rated_w for device in own if isinstance(device.flexibility, Plant)}
    for number, (device, series) in enumerate(order.production.items()):
        for k, power in enumerate(series):
            if power > rated[device]:
                wanted = f"at most {rated[device]}: what {device} is rated for"
                raise out_of_range(f"order.production[{number}].available_w[{k}]", got=str(power), wanted=wanted)
