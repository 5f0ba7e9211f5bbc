"""Orders, envelopes, trades and certificates: messages to values and back."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from google.protobuf.message import DecodeError

from controller.microgrid import Order, ThermalForecast, Trade
from controller.refusals import invalid, not_found
from controller.uplifts import from_json
from controller.wire import fields
from controller.wire.flexibility import MAX_PERFORMANCE_PPM, MILLI_C
from gridpact.v1 import dispatch_pb2, participant_pb2, types_pb2

PARTNERS = 6
ATTRIBUTES: dict[int, str] = {
    participant_pb2.PARTNER_ATTRIBUTE_GREEN: "GREEN",
    participant_pb2.PARTNER_ATTRIBUTE_LOCAL: "LOCAL",
    participant_pb2.PARTNER_ATTRIBUTE_REPUTATION: "REPUTATION",
}


def read_order(
    payload: bytes,
    *,
    mtus: int,
    window: str,
    member: str,
    plants: frozenset[str] | None = None,
    thermostats: frozenset[str] | None = None,
    least: int | None = None,
) -> Order:
    """The order of a member for a window, with one value for each MTU in each series.

    Parameters
    ----------
    payload : a gridpact.v1.Order
    mtus : as many values are wanted, or with ``least`` at most
    window, member : whose it has to be
    plants, thermostats : devices that forecasts may be of; None for any, as what was registered may have gone since
    least : as many values are wanted at least, each series as long as the load's; None for ``mtus``
    """
    try:
        message = participant_pb2.Order.FromString(payload)
    except DecodeError as err:
        raise invalid("order.payload", got=f"{len(payload)} bytes", wanted="a gridpact.v1.Order") from err
    microgrid, name = fields.window_id("order.window", message.window)
    if name != window:
        raise not_found(name)
    if fields.resource("order.member", message.member, "microgrids", "members") != (microgrid, member):
        raise not_found(message.member)
    if least is not None:
        mtus = _length(len(message.load_w), least, mtus)
    production: dict[str, tuple[int, ...]] = {}
    for k, forecast in enumerate(message.production):
        field = f"order.production[{k}]"
        grid, _, device = fields.device_id(f"{field}.device", forecast.device)
        if plants is not None and (grid != microgrid or device not in plants):
            raise not_found(forecast.device)
        if device in production:
            raise invalid(f"{field}.device", got=f"{forecast.device} twice", wanted="each device once")
        production[device] = fields.watts(f"{field}.available_w", forecast.available_w, count=mtus)
    return Order(
        window=name,
        member=member,
        load_w=fields.watts("order.load_w", message.load_w, count=mtus),
        production=production,
        partners=_read_partners(message.partners, microgrid, member),
        thermal=_read_thermal(message.thermal, mtus, thermostats, microgrid),
        offers=_read_offers(message.offers, mtus),
        attributes=_read_attributes(message.attribute_preferences),
    )


def _read_offers(messages: Sequence[participant_pb2.EnergyOffer], mtus: int) -> tuple[tuple[int, int], ...]:
    if len(messages) > mtus:
        raise invalid("order.offers", got=f"{len(messages)} offers", wanted=f"at most {mtus}, one for each MTU")
    return tuple(
        (
            fields.number(f"order.offers[{k}].sell_wh", offer.sell_wh, upper=fields.MAX_CONNECTION_W),
            fields.number(f"order.offers[{k}].buy_wh", offer.buy_wh, upper=fields.MAX_CONNECTION_W),
        )
        for k, offer in enumerate(messages)
    )


def _read_attributes(messages: Sequence[participant_pb2.AttributePreference]) -> dict[str, int]:
    attributes: dict[str, int] = {}
    for k, message in enumerate(messages):
        at = f"order.attribute_preferences[{k}]"
        name = ATTRIBUTES.get(message.attribute)
        if name is None or name in attributes:
            wanted = f"each of {', '.join(ATTRIBUTES.values())} at most once"
            raise invalid(f"{at}.attribute", got=str(message.attribute), wanted=wanted)
        attributes[name] = fields.number(
            f"{at}.preference_micro_per_kwh",
            message.preference_micro_per_kwh,
            upper=fields.MAX_PRICE_MICRO_PER_KWH,
        )
    return attributes


def _length(got: int, least: int, most: int) -> int:
    if not least <= got <= most:
        raise invalid("order.load_w", got=f"{got} values", wanted=f"{least} to {most}, one for each MTU")
    return got


def _read_thermal(
    messages: Sequence[participant_pb2.ThermalForecast],
    mtus: int,
    thermostats: frozenset[str] | None,
    microgrid: str,
) -> dict[str, ThermalForecast]:
    thermal: dict[str, ThermalForecast] = {}
    for k, message in enumerate(messages):
        at = f"order.thermal[{k}]"
        grid, _, device = fields.device_id(f"{at}.device", message.device)
        if thermostats is not None and (grid != microgrid or device not in thermostats):
            raise not_found(message.device)
        if device in thermal:
            raise invalid(f"{at}.device", got=f"{message.device} twice", wanted="each device once")
        thermal[device] = ThermalForecast(
            ambient_milli_c=_read_series(f"{at}.ambient_milli_c", message.ambient_milli_c, mtus, MILLI_C),
            draw_w=_read_series(f"{at}.draw_w", message.draw_w, mtus, fields.MAX_CONNECTION_W),
            performance_ppm=_read_series(f"{at}.performance_ppm", message.performance_ppm, mtus, MAX_PERFORMANCE_PPM),
        )
    return thermal


def _read_series(field: str, values: Sequence[int], mtus: int, most: int) -> tuple[int, ...]:
    """Nothing, or one value of either sign for each MTU."""
    if len(values) not in {0, mtus}:
        raise invalid(field, got=f"{len(values)} values", wanted=f"none or {mtus}, one for each MTU of the horizon")
    return tuple(fields.number(f"{field}[{k}]", value, lower=-most, upper=most) for k, value in enumerate(values))


def _read_partners(messages: Sequence[participant_pb2.Partner], microgrid: str, member: str) -> dict[str, int]:
    if len(messages) > PARTNERS:
        raise invalid("order.partners", got=f"{len(messages)} partners", wanted=f"at most {PARTNERS}")
    partners: dict[str, int] = {}
    for k, partner in enumerate(messages):
        field = f"order.partners[{k}]"
        grid, other = fields.resource(f"{field}.member", partner.member, "microgrids", "members")
        if grid != microgrid:
            raise not_found(partner.member)
        if other == member or other in partners:
            raise invalid(f"{field}.member", got=partner.member, wanted="another member, each once")
        partners[other] = fields.number(
            f"{field}.preference_micro_per_kwh",
            partner.preference_micro_per_kwh,
            upper=fields.MAX_PRICE_MICRO_PER_KWH,
        )
    return partners


def read_bounds(field: str, bounds: types_pb2.PowerBounds) -> tuple[int | None, int | None]:
    """Lower and upper W, at least one of them."""
    lower = bounds.lower_w if bounds.HasField("lower_w") else None
    upper = bounds.upper_w if bounds.HasField("upper_w") else None
    for name, value in (("lower_w", lower), ("upper_w", upper)):
        if value is not None:
            fields.number(f"{field}.{name}", value, lower=-fields.MAX_W, upper=fields.MAX_W)
    if lower is None and upper is None:
        raise invalid(field, got="no bound", wanted="lower_w, upper_w or both")
    if lower is not None and upper is not None and lower > upper:
        raise invalid(field, got=f"lower {lower} above upper {upper}", wanted="lower <= upper")
    return lower, upper


def trade_message(
    window: str, index: int, trade: Trade, mtu_seconds: int, *, adjustment: int = 0
) -> dispatch_pb2.Trade:
    """The message of a trade, which one of the window's clearings made."""
    return dispatch_pb2.Trade(
        name=f"{window}/trades/{index}",
        seller=trade.seller,
        buyer=trade.buyer,
        interval=fields.interval_message(trade.mtu_start, trade.mtu_start + mtu_seconds),
        energy_wh=trade.energy_wh,
        price_micro_per_kwh=trade.price_micro_per_kwh,
        adjustment=adjustment,
    )


def certificate_message(certificate: str | None) -> dispatch_pb2.Certificate:
    """The message of a stored certificate."""
    return dispatch_pb2.Certificate(**(json.loads(certificate) if certificate else {}))


def uplift_messages(uplifts: str | None) -> list[dispatch_pb2.Uplift]:
    """The messages of a clearing's stored uplifts."""
    return [dispatch_pb2.Uplift(**asdict(uplift)) for uplift in from_json(uplifts)]
