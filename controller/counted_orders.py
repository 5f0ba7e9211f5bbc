"""What a member's order says of a window: as it was signed, continued and cut to what can be. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from controller.microgrid import Device, Member, Microgrid, Order, Window
from controller.snapshot import continued
from controller.wire.calendar import MAX_MTUS
from controller.wire.market import read_order

DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenFor:
    """The window that an order was given for.

    Attributes
    ----------
    name, start : its own
    own : whether it is the one that is decided, or a part of it is: an order's offers are for its own window
    """

    name: str
    start: int
    own: bool


def counted_order(
    payload: bytes, *, of: GivenFor, view: Microgrid, window: Window, member: Member, devices: Sequence[Device]
) -> tuple[Order, tuple[str, ...]]:
    """A signed order as it counts from a window's start on, and in words what was done to it.

    Parameters
    ----------
    payload : a gridpact.v1.Order
    of : the window that it was given for
    view : the microgrid as far as planning looks
    window : from whose start on
    member : whose it is
    devices : those of the microgrid
    """
    mtus = len(view.mtus(window.start, view.end))
    offset = (window.start - of.start) // view.mtu_seconds
    order = read_order(
        payload,
        mtus=MAX_MTUS if view.rolling else offset + mtus,
        least=1 if view.rolling else None,
        window=of.name,
        member=member.id,
    )
    own = frozenset(device.id for device in devices if device.member == member.id)
    offers = order.offers[offset:] if of.own else ()
    order, filled = continued(_without(order, own), offset=offset, mtus=mtus, day=DAY_S // view.mtu_seconds)
    order = replace(order, offers=offers[: len(view.mtus(window.start, window.end))])
    order, lowered = _within(order, member)
    return order, (*filled, *lowered)


def _within(order: Order, member: Member) -> tuple[Order, tuple[str, ...]]:
    """An order cut to what its member can take, so that nobody's impossible forecast stops the others."""
    most = member.connection_w
    if most is None or max(order.load_w, default=0) <= most:
        return order, ()
    over = sum(load > most for load in order.load_w)
    note = f"load_w: got up to {max(order.load_w)} W in {over} MTUs, cut to the connection's {most} W"
    return replace(order, load_w=tuple(min(load, most) for load in order.load_w)), (note,)


def _without(order: Order, own: frozenset[str]) -> Order:
    """An order without what it says of devices that its member has no more."""
    return replace(
        order,
        production={device: series for device, series in order.production.items() if device in own},
        thermal={device: forecast for device, forecast in order.thermal.items() if device in own},
    )
