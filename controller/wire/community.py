"""Messages of the operator and the meter gateways, to values and back."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from controller.ledger import FIRST_WORDS, RESERVED
from controller.microgrid import (
    AHEAD_MINUTES,
    ENDLESS,
    ESTIMATED,
    FAULTY,
    MEASURED,
    SUBSTITUTED,
    Member,
    MeterReading,
    Microgrid,
    SettlementRule,
    SettlementTerms,
    WindowTiming,
    place_of,
    target_of,
)
from controller.refusals import invalid, not_found
from controller.wire import calendar, fields
from controller.wire.zones import known_zone
from gridpact.v1 import metering_pb2, operator_pb2

MTU_MINUTES = (5, 15, 30, 60)
READINGS_PER_BATCH = 10_000
MAX_MONTHLY_FEE_MICRO = 10**12
RULES: dict[operator_pb2.SettlementRule.ValueType, SettlementRule] = {
    operator_pb2.SETTLEMENT_RULE_UNSPECIFIED: SettlementRule.CONTRACT,
    operator_pb2.SETTLEMENT_RULE_CONTRACT: SettlementRule.CONTRACT,
    operator_pb2.SETTLEMENT_RULE_RECEIVED: SettlementRule.RECEIVED,
}
QUALITIES: dict[int, str] = {
    metering_pb2.READING_QUALITY_MEASURED: MEASURED,
    metering_pb2.READING_QUALITY_SUBSTITUTED: SUBSTITUTED,
    metering_pb2.READING_QUALITY_ESTIMATED: ESTIMATED,
    metering_pb2.READING_QUALITY_FAULTY: FAULTY,
}


def read_microgrid(message: operator_pb2.Microgrid) -> Microgrid:
    """A microgrid with its calendar; the tariff covers a horizon that ends, else begins with it."""
    at = "microgrid"
    mtu = fields.minutes(f"{at}.market_time_unit", message.market_time_unit, choices=MTU_MINUTES)
    window, lead, timing = calendar.read_timing(message, at, mtu=mtu)
    if window == 0 or window % mtu:
        raise invalid(f"{at}.window", got=f"{window} min", wanted=f"a positive multiple of {mtu} min")
    rolling = message.HasField("horizon") and not message.horizon.HasField("end_time")
    start, end = (
        (fields.instant(f"{at}.horizon.start_time", message.horizon.start_time), ENDLESS)
        if rolling
        else fields.interval(f"{at}.horizon", message.horizon)
    )
    if start % (mtu * 60):
        raise invalid(f"{at}.horizon", got=f"a start at {start}", wanted=f"one on the grid of MTUs of {mtu} min")
    if not rolling and ((end - start) % (window * 60) or (end - start) // (mtu * 60) > calendar.MAX_MTUS):
        raise invalid(
            f"{at}.horizon",
            got=f"{(end - start) / 3600:g} h from {start}",
            wanted=f"a whole number of windows, at most {calendar.MAX_MTUS} MTUs",
        )
    for name in ("planning_horizon", "order_ahead"):
        if not rolling and message.HasField(name):
            raise invalid(f"{at}.{name}", got="one beside a horizon that ends", wanted="none, or no horizon.end_time")
    tariff = calendar.read_tariff(message.tariff, f"{at}.tariff", start=start, mtu=mtu * 60)
    if not rolling and (reached := tariff[-1].end if tariff else start) != end:
        raise invalid(f"{at}.tariff", got=f"prices until {reached}", wanted=f"until the horizon's end {end}")
    return Microgrid(
        id=fields.microgrid_id(f"{at}.name", message.name),
        time_zone=known_zone(f"{at}.time_zone", message.time_zone),
        mtu_minutes=mtu,
        window_minutes=window,
        lead_minutes=lead,
        start=start,
        end=end,
        network_charge_micro_per_kwh=network_charge(f"{at}.network_charge_micro_per_kwh", message),
        currency=_currency(f"{at}.currency", message.currency),
        tariff=tariff,
        planning_minutes=calendar.read_planning(message, at, mtu=mtu, window=window) if rolling else None,
        ahead_minutes=calendar.read_ahead(message, at, lead=lead, timing=timing) if rolling else AHEAD_MINUTES,
        timing=timing,
        terms=read_terms(f"{at}.terms", message),
    )


def read_terms(field: str, message: operator_pb2.Microgrid) -> SettlementTerms:
    """How windows are settled; in full and without fees and taxes where nothing is said."""
    terms = message.terms
    if terms.rule not in RULES:
        raise invalid(f"{field}.rule", got=str(terms.rule), wanted="a SettlementRule")
    return SettlementTerms(
        rule=RULES[terms.rule],
        fee_micro_per_kwh=fields.number(
            f"{field}.fee_micro_per_kwh", terms.fee_micro_per_kwh, upper=fields.MAX_PRICE_MICRO_PER_KWH
        ),
        fee_micro_per_month=fields.number(
            f"{field}.fee_micro_per_month", terms.fee_micro_per_month, upper=MAX_MONTHLY_FEE_MICRO
        ),
        tax_ppm=fields.number(f"{field}.tax_ppm", terms.tax_ppm, upper=1_000_000),
    )


def _terms_message(terms: SettlementTerms) -> operator_pb2.SettlementTerms:
    rule = next(number for number, rule in RULES.items() if number and rule is terms.rule)
    return operator_pb2.SettlementTerms(
        rule=rule,
        fee_micro_per_kwh=terms.fee_micro_per_kwh,
        fee_micro_per_month=terms.fee_micro_per_month,
        tax_ppm=terms.tax_ppm,
    )


def network_charge(field: str, message: operator_pb2.Microgrid) -> int:
    """What a buyer pays the DSO for a neighbour's energy."""
    return fields.number(field, message.network_charge_micro_per_kwh, upper=fields.MAX_PRICE_MICRO_PER_KWH)


def _currency(field: str, value: str) -> str:
    if len(value) != 3 or not (value.isascii() and value.isalpha() and value.isupper()):
        raise invalid(field, got=value, wanted="an ISO 4217 code such as EUR")
    return value


def microgrid_message(microgrid: Microgrid) -> operator_pb2.Microgrid:
    """The message of a microgrid; what only one without an end has is left out of others."""
    message = operator_pb2.Microgrid(
        name=microgrid.name,
        time_zone=microgrid.time_zone,
        market_time_unit=Duration(seconds=microgrid.mtu_seconds),
        window=Duration(seconds=microgrid.window_minutes * 60),
        gate_closure_lead=Duration(seconds=microgrid.lead_minutes * 60),
        horizon=fields.interval_message(microgrid.start, microgrid.end),
        tariff=[
            operator_pb2.TariffPeriod(
                interval=fields.interval_message(period.start, period.end),
                import_price_micro_per_kwh=period.import_price_micro_per_kwh,
                export_price_micro_per_kwh=period.export_price_micro_per_kwh,
            )
            for period in microgrid.tariff
        ],
        network_charge_micro_per_kwh=microgrid.network_charge_micro_per_kwh,
        currency=microgrid.currency,
    )
    if microgrid.terms != SettlementTerms():
        message.terms.CopyFrom(_terms_message(microgrid.terms))
    if microgrid.timing != WindowTiming():
        message.timing.CopyFrom(calendar.timing_message(microgrid.timing))
    if microgrid.planning_minutes is not None:
        message.horizon.ClearField("end_time")
        message.planning_horizon.seconds = microgrid.planning_minutes * 60
        message.order_ahead.seconds = microgrid.ahead_minutes * 60
    return message


def read_member(message: operator_pb2.Member, microgrid: str) -> Member:
    """A new member with what it is rated for."""
    id_ = member_id("member.name", message.name, microgrid)
    if id_ in FIRST_WORDS:
        raise invalid("member.name", got=id_, wanted="an id that no reference of the ledger begins with")
    return Member(
        id=id_,
        section=fields.identifier("member.section", message.section),
        connection_w=rating("member.connection_w", message, "connection_w"),
        feed_in_w=rating("member.feed_in_w", message, "feed_in_w"),
    )


def rating(field: str, message: operator_pb2.Member, name: str) -> int | None:
    """A rating of a member's connection; None where it is absent."""
    if not message.HasField(name):  # type: ignore[arg-type]  # one of the two that are optional
        return None
    return fields.number(field, getattr(message, name), lower=name == "connection_w", upper=fields.MAX_CONNECTION_W)


def member_message(microgrid: str, member: Member) -> operator_pb2.Member:
    """The message of a member."""
    return operator_pb2.Member(
        name=f"microgrids/{microgrid}/members/{member.id}",
        section=member.section,
        connection_w=member.connection_w,
        feed_in_w=member.feed_in_w,
    )


def member_id(field: str, name: str, microgrid: str) -> str:
    """The id of a member of this microgrid; the grid's own name is taken."""
    grid, member = fields.resource(field, name, "microgrids", "members")
    if grid != microgrid:
        raise not_found(name)
    if member in RESERVED:
        raise invalid(field, got=member, wanted="an id that is not an account of the ledger")
    return member


def meter_place(field: str, name: str, microgrid: str) -> str:
    """Whose meter is meant: a member's id, or a feeder's place."""
    if fields.TARGET.fullmatch(name) and "/members/" not in name:
        if name.split("/")[1] != microgrid:
            raise not_found(name)
        return place_of(name)
    return member_id(field, name, microgrid)


def reading_message(microgrid: str, reading: MeterReading) -> metering_pb2.Reading:
    """The message of a reading."""
    return metering_pb2.Reading(
        member=target_of(f"microgrids/{microgrid}", reading.member),
        instant=fields.timestamp(reading.instant),
        import_wh=reading.import_wh,
        export_wh=reading.export_wh,
        quality=metering_pb2.ReadingQuality.Value(f"READING_QUALITY_{reading.quality}"),
    )


def read_batch(payload: bytes, *, microgrid: str) -> tuple[int, tuple[MeterReading, ...]]:
    """Sequence number and readings of a gateway's batch."""
    try:
        message = metering_pb2.ReadingBatch.FromString(payload)
    except DecodeError as err:
        raise invalid("readings.payload", got=f"{len(payload)} bytes", wanted="a gridpact.v1.ReadingBatch") from err
    if fields.microgrid_id("readings.parent", message.parent) != microgrid:
        raise not_found(message.parent)
    if not 1 <= len(message.readings) <= READINGS_PER_BATCH:
        raise invalid("readings", got=f"{len(message.readings)} readings", wanted=f"1 to {READINGS_PER_BATCH}")
    readings = []
    for k, reading in enumerate(message.readings):
        field = f"readings[{k}]"
        if reading.quality not in QUALITIES:
            wanted = "READING_QUALITY_MEASURED, _SUBSTITUTED, _ESTIMATED or _FAULTY"
            raise invalid(f"{field}.quality", got=str(reading.quality), wanted=wanted)
        readings.append(
            MeterReading(
                member=meter_place(f"{field}.member", reading.member, microgrid),
                instant=fields.instant(f"{field}.instant", reading.instant),
                import_wh=fields.number(f"{field}.import_wh", reading.import_wh, upper=fields.MAX_WH),
                export_wh=fields.number(f"{field}.export_wh", reading.export_wh, upper=fields.MAX_WH),
                quality=QUALITIES[reading.quality],
            )
        )
    return fields.number("readings.sequence", message.sequence, lower=1, upper=2**62), tuple(readings)
