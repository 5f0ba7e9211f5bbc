"""Messages of the operator and the meter gateways, to values and back."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from controller.microgrid import GRID_ACCOUNT, Member, MeterReading, Microgrid, TariffPeriod
from controller.refusals import invalid, not_found
from controller.wire import fields
from controller.wire.zones import known_zone
from gridpact.v1 import metering_pb2, operator_pb2

MTU_MINUTES = (5, 15, 30, 60)
MAX_MTUS = 192
READINGS_PER_BATCH = 10_000


def read_microgrid(message: operator_pb2.Microgrid) -> Microgrid:
    """A microgrid whose windows and tariff cover its horizon."""
    at = "microgrid"
    mtu = fields.minutes(f"{at}.market_time_unit", message.market_time_unit, choices=MTU_MINUTES)
    window = fields.minutes(f"{at}.window", message.window)
    if window == 0 or window % mtu:
        raise invalid(f"{at}.window", got=f"{window} min", wanted=f"a positive multiple of {mtu} min")
    start, end = fields.interval(f"{at}.horizon", message.horizon)
    if (end - start) % (window * 60) or (end - start) // (mtu * 60) > MAX_MTUS or start % (mtu * 60):
        raise invalid(
            f"{at}.horizon",
            got=f"{(end - start) / 3600:g} h from {start}",
            wanted=f"a whole number of windows, at most {MAX_MTUS} MTUs, on the grid of MTUs",
        )
    currency = message.currency
    if len(currency) != 3 or not (currency.isascii() and currency.isalpha() and currency.isupper()):
        raise invalid(f"{at}.currency", got=currency, wanted="an ISO 4217 code such as EUR")
    return Microgrid(
        id=fields.microgrid_id(f"{at}.name", message.name),
        time_zone=known_zone(f"{at}.time_zone", message.time_zone),
        mtu_minutes=mtu,
        window_minutes=window,
        lead_minutes=fields.minutes(f"{at}.gate_closure_lead", message.gate_closure_lead, lower=1),
        start=start,
        end=end,
        network_charge_micro_per_kwh=fields.number(
            f"{at}.network_charge_micro_per_kwh",
            message.network_charge_micro_per_kwh,
            upper=fields.MAX_PRICE_MICRO_PER_KWH,
        ),
        currency=currency,
        tariff=_read_tariff(message, start, end, mtu * 60),
    )


def _read_tariff(message: operator_pb2.Microgrid, start: int, end: int, mtu: int) -> tuple[TariffPeriod, ...]:
    periods = []
    reached = start
    for k, period in enumerate(message.tariff):
        field = f"microgrid.tariff[{k}]"
        first, last = fields.interval(f"{field}.interval", period.interval)
        if first != reached or (last - first) % mtu:
            raise invalid(f"{field}.interval", got=f"{first} to {last}", wanted=f"whole MTUs from {reached} on")
        price = fields.MAX_PRICE_MICRO_PER_KWH
        imported = fields.number(
            f"{field}.import_price_micro_per_kwh",
            period.import_price_micro_per_kwh,
            lower=-price,
            upper=price,
        )
        exported = fields.number(
            f"{field}.export_price_micro_per_kwh",
            period.export_price_micro_per_kwh,
            lower=-price,
            upper=price,
        )
        if exported > imported:
            raise invalid(
                f"{field}.export_price_micro_per_kwh",
                got=str(exported),
                wanted=f"at most the import price {imported}",
            )
        periods.append(
            TariffPeriod(
                start=first,
                end=last,
                import_price_micro_per_kwh=imported,
                export_price_micro_per_kwh=exported,
            )
        )
        reached = last
    if reached != end:
        raise invalid("microgrid.tariff", got=f"prices until {reached}", wanted=f"until the horizon's end {end}")
    return tuple(periods)


def microgrid_message(microgrid: Microgrid) -> operator_pb2.Microgrid:
    """The message of a microgrid."""
    return operator_pb2.Microgrid(
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


def member_message(microgrid: str, member: Member) -> operator_pb2.Member:
    """The message of a member."""
    return operator_pb2.Member(name=f"microgrids/{microgrid}/members/{member.id}", section=member.section)


def member_id(field: str, name: str, microgrid: str) -> str:
    """The id of a member of this microgrid; the grid's own name is taken."""
    grid, member = fields.resource(field, name, "microgrids", "members")
    if grid != microgrid:
        raise not_found(name)
    if member in {GRID_ACCOUNT, "dso", "community"}:
        raise invalid(field, got=member, wanted="an id that is not an account of the ledger")
    return member


def reading_message(microgrid: str, reading: MeterReading) -> metering_pb2.Reading:
    """The message of a reading."""
    return metering_pb2.Reading(
        member=f"microgrids/{microgrid}/members/{reading.member}",
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
    if message.parent != f"microgrids/{microgrid}":
        raise not_found(message.parent)
    if not 1 <= len(message.readings) <= READINGS_PER_BATCH:
        raise invalid("readings", got=f"{len(message.readings)} readings", wanted=f"1 to {READINGS_PER_BATCH}")
    readings = []
    for k, reading in enumerate(message.readings):
        field = f"readings[{k}]"
        if reading.quality != metering_pb2.READING_QUALITY_MEASURED:
            raise invalid(f"{field}.quality", got=str(reading.quality), wanted="READING_QUALITY_MEASURED")
        readings.append(
            MeterReading(
                member=member_id(f"{field}.member", reading.member, microgrid),
                instant=fields.instant(f"{field}.instant", reading.instant),
                import_wh=fields.number(f"{field}.import_wh", reading.import_wh, upper=fields.MAX_WH),
                export_wh=fields.number(f"{field}.export_wh", reading.export_wh, upper=fields.MAX_WH),
                quality="MEASURED",
            )
        )
    return fields.number("readings.sequence", message.sequence, lower=1, upper=2**62), tuple(readings)
