"""The statements for the community: microgrids, members, keys, devices, envelopes."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, update

from controller.flexibility import from_plain, to_plain
from controller.microgrid import (
    ENDLESS,
    PAST_S,
    Bounds,
    Device,
    DeviceState,
    EnvelopeRecord,
    EnvelopeState,
    Member,
    Microgrid,
    SettlementRule,
    SettlementTerms,
    TariffPeriod,
    TimingPreset,
    WindowTiming,
)
from controller.store import schema
from controller.store.rows import insert, upsert, upsert_all

TIMING = (
    "preset",
    "bidding_minutes",
    "deadline_minutes",
    "settlement_minutes",
    "adjustment_minutes",
    "adjustment_lead_minutes",
)
"""The columns of a microgrid's timing."""
TERMS = ("fee_micro_per_kwh", "fee_micro_per_month", "tax_ppm")
"""The columns of a microgrid's terms, beside the rule."""


def add_microgrid(connection: Connection, microgrid: Microgrid, *, now: float = 0.0) -> None:
    """Keep a microgrid with its tariff, and open its windows: all, or where it has no end the first ones."""
    connection.execute(schema.microgrids.insert().values(id=microgrid.id, **_columns(microgrid)))
    put_tariff(connection, microgrid.id, microgrid.tariff)
    open_windows(connection, microgrid, now=now)


def put_microgrid(connection: Connection, microgrid: Microgrid) -> None:
    """Keep a microgrid's changed calendar; its tariff and the windows that are open stay as they are."""
    table = schema.microgrids
    connection.execute(update(table).where(table.c.id == microgrid.id).values(**_columns(microgrid)))


def _columns(microgrid: Microgrid) -> dict[str, Any]:
    values: dict[str, Any] = asdict(microgrid)
    timing: dict[str, Any] = values.pop("timing")
    terms: dict[str, Any] = values.pop("terms")
    del values["id"], values["tariff"]
    rule = terms.pop("rule").value
    return values | timing | {"preset": microgrid.timing.preset.value} | terms | {"settlement_rule": rule}


def open_windows(connection: Connection, microgrid: Microgrid, *, now: float) -> int:
    """Open the windows that are due to be and are not; returns how many."""
    table = schema.windows
    newest = connection.execute(
        select(table.c.end).where(table.c.microgrid == microgrid.id).order_by(table.c.start.desc()).limit(1)
    ).scalar()
    ahead = None if not microgrid.rolling else int(now) + microgrid.ahead_minutes * 60 + 1
    rest = microgrid if newest is None else replace(microgrid, start=newest)
    windows = rest.windows(before=ahead)
    insert(
        connection,
        table,
        [
            {
                "name": window.name,
                "microgrid": microgrid.id,
                "start": window.start,
                "end": window.end,
                "state": "OPEN",
                "source": "NONE",
                "failure": "",
                **asdict(microgrid.times(window)),
            }
            for window in windows
        ],
    )
    insert(
        connection,
        schema.adjustments,
        [
            {
                "microgrid": microgrid.id,
                "window": window.name,
                "state": "OPEN",
                "source": "NONE",
                "failure": "",
                **asdict(slot),
            }
            for window in windows
            for slot in microgrid.slots(window)
        ],
    )
    return len(windows)


def microgrid(connection: Connection, id_: str) -> Microgrid | None:
    """The microgrid of that id; of one without an end with the tariff of late and to come."""
    found = connection.execute(select(schema.microgrids).where(schema.microgrids.c.id == id_)).first()
    if found is None:
        return None
    values = dict(found._mapping)
    timing = {name: values.pop(name) for name in TIMING}
    terms = {name: values.pop(name) for name in TERMS}
    rule = SettlementRule(values.pop("settlement_rule"))
    since = 0
    if values["planning_minutes"] is not None:
        windows = schema.windows
        last = connection.execute(select(func.max(windows.c.start)).where(windows.c.microgrid == id_)).scalar()
        since = (values["start"] if last is None else last) - PAST_S
    return Microgrid(
        **values,
        tariff=tuple(tariff(connection, id_, start=since, end=ENDLESS)),
        timing=WindowTiming(**timing | {"preset": TimingPreset(timing["preset"])}),
        terms=SettlementTerms(rule=rule, **terms),
    )


def put_tariff(connection: Connection, microgrid_id: str, periods: Sequence[TariffPeriod]) -> None:
    """Keep periods, in place of what was said before from their start on."""
    if not periods:
        return
    table = schema.tariff
    start = periods[0].start
    connection.execute(table.delete().where(table.c.microgrid == microgrid_id, table.c.start >= start))
    connection.execute(update(table).where(table.c.microgrid == microgrid_id, table.c.end > start).values(end=start))
    insert(connection, table, [{"microgrid": microgrid_id, **asdict(period)} for period in periods])


def tariff_end(connection: Connection, microgrid_id: str) -> int | None:
    """The instant until which there are prices; None where there are none."""
    table = schema.tariff
    return connection.execute(select(func.max(table.c.end)).where(table.c.microgrid == microgrid_id)).scalar()


def tariff(connection: Connection, microgrid_id: str, *, start: int, end: int) -> list[TariffPeriod]:
    """The periods of the tariff that touch ``[start, end)``, in order of time."""
    table = schema.tariff
    periods = connection.execute(
        select(table.c.start, table.c.end, table.c.import_price_micro_per_kwh, table.c.export_price_micro_per_kwh)
        .where(table.c.microgrid == microgrid_id, table.c.end > start, table.c.start < end)
        .order_by(table.c.start)
    )
    return [TariffPeriod(**p._mapping) for p in periods]


def microgrid_ids(connection: Connection) -> list[str]:
    """All microgrids."""
    return list(connection.execute(select(schema.microgrids.c.id).order_by(schema.microgrids.c.id)).scalars())


def add_member(connection: Connection, microgrid_id: str, member: Member) -> None:
    """Keep a member."""
    connection.execute(schema.members.insert().values(microgrid=microgrid_id, **asdict(member)))


def members(connection: Connection, microgrid_id: str) -> list[Member]:
    """All who are members now, in order of their ids."""
    table = schema.members
    rows = connection.execute(
        select(table.c.id, table.c.section, table.c.connection_w, table.c.feed_in_w)
        .where(table.c.microgrid == microgrid_id, table.c.gone.is_(None))
        .order_by(table.c.id)
    )
    return [Member(**r._mapping) for r in rows]


def member_ids(connection: Connection, microgrid_id: str) -> frozenset[str]:
    """The ids of all who are or were members."""
    table = schema.members
    return frozenset(connection.execute(select(table.c.id).where(table.c.microgrid == microgrid_id)).scalars())


def put_member(connection: Connection, microgrid_id: str, member: Member) -> None:
    """Keep what changed about a member."""
    table = schema.members
    values = asdict(member)
    id_ = values.pop("id")
    connection.execute(update(table).where(table.c.microgrid == microgrid_id, table.c.id == id_).values(**values))


def let_go(connection: Connection, microgrid_id: str, id_: str, *, instant: int) -> None:
    """A member leaves: windows that are frozen from now on are without it and its devices."""
    table = schema.members
    connection.execute(update(table).where(table.c.microgrid == microgrid_id, table.c.id == id_).values(gone=instant))


def add_key(
    connection: Connection,
    microgrid_id: str,
    key_id: str,
    *,
    purpose: str,
    holder: str,
    public_key: bytes,
    meters: Sequence[str] = (),
) -> None:
    """Register a key; a gateway's for these meters, resource names, or without any for all."""
    connection.execute(
        schema.keys.insert().values(
            microgrid=microgrid_id,
            key_id=key_id,
            purpose=purpose,
            holder=holder,
            public_key=public_key,
            meters=json.dumps(sorted(meters)) if meters else None,
        )
    )


def gateways(connection: Connection, microgrid_id: str) -> dict[str, frozenset[str] | None]:
    """The meters that each gateway reports, as resource names; None for all. Where any key names some, those alone."""
    table = schema.keys
    rows = connection.execute(
        select(table.c.holder, table.c.meters).where(table.c.microgrid == microgrid_id, table.c.purpose == "READING")
    )
    found: dict[str, frozenset[str] | None] = {}
    for row in rows:
        known = found.setdefault(row.holder, None)
        if row.meters is not None:
            found[row.holder] = (known or frozenset()) | frozenset(json.loads(row.meters))
    return found


def key(connection: Connection, microgrid_id: str, key_id: str) -> Row[Any] | None:
    """A registered key."""
    table = schema.keys
    return connection.execute(select(table).where(table.c.microgrid == microgrid_id, table.c.key_id == key_id)).first()


def keys(connection: Connection, microgrid_id: str) -> list[Row[Any]]:
    """All registered keys of a microgrid."""
    table = schema.keys
    return list(connection.execute(select(table).where(table.c.microgrid == microgrid_id).order_by(table.c.key_id)))


def put_device(connection: Connection, microgrid_id: str, device: Device) -> None:
    """Keep what a device can do, or replace it."""
    upsert(
        connection,
        schema.devices,
        {
            "microgrid": microgrid_id,
            "id": device.id,
            "member": device.member,
            "flexibility": json.dumps(to_plain(device.flexibility), sort_keys=True),
        },
    )


def devices(connection: Connection, microgrid_id: str) -> list[Device]:
    """All devices of those who are members, in order of their ids."""
    table, owners = schema.devices, schema.members
    rows = connection.execute(
        select(table)
        .join(owners, (owners.c.microgrid == table.c.microgrid) & (owners.c.id == table.c.member))
        .where(table.c.microgrid == microgrid_id, owners.c.gone.is_(None))
        .order_by(table.c.id)
    )
    return [Device(id=r.id, member=r.member, flexibility=from_plain(json.loads(r.flexibility))) for r in rows]


def device_ids(connection: Connection, microgrid_id: str, member: str) -> list[str]:
    """The ids of a member's devices, in order; of one that has left those that it had."""
    table = schema.devices
    statement = select(table.c.id).where(table.c.microgrid == microgrid_id, table.c.member == member)
    return list(connection.execute(statement.order_by(table.c.id)).scalars())


def remove_device(connection: Connection, microgrid_id: str, device: str) -> None:
    """Forget a device and what it and its driver said; what was decided about it stays."""
    devices_ = schema.devices
    for said in (schema.device_states, schema.declarations):
        connection.execute(delete(said).where(said.c.microgrid == microgrid_id, said.c.device == device))
    connection.execute(delete(devices_).where(devices_.c.microgrid == microgrid_id, devices_.c.id == device))


def put_device_states(connection: Connection, microgrid_id: str, states: Iterable[DeviceState]) -> None:
    """Keep the newest telemetry."""
    upsert_all(connection, schema.device_states, [_state_row(microgrid_id, s) for s in states], newest="instant")


def _state_row(microgrid_id: str, state: DeviceState) -> dict[str, Any]:
    # Of tasks telemetry knows nothing: snapshots remember them.
    return {
        "microgrid": microgrid_id,
        "device": state.device,
        "instant": state.instant,
        "power_w": state.power_w,
        "closed_s": state.closed_s,
        "stored_wh": state.stored_wh,
        "closed": None if state.closed is None else int(state.closed),
        "held_s": state.held_s,
        "starts_today": state.starts_today,
        "temperature_milli_c": state.temperature_milli_c,
    }


def device_states(connection: Connection, microgrid_id: str) -> dict[str, DeviceState]:
    """The newest telemetry by device."""
    table = schema.device_states
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid_id))
    return {
        r.device: DeviceState(
            device=r.device,
            instant=r.instant,
            power_w=r.power_w,
            closed_s=r.closed_s,
            stored_wh=r.stored_wh,
            closed=None if r.closed is None else bool(r.closed),
            held_s=r.held_s,
            starts_today=r.starts_today,
            temperature_milli_c=r.temperature_milli_c,
        )
        for r in rows
    }


def add_envelope(connection: Connection, microgrid_id: str, record: EnvelopeRecord) -> None:
    """Keep an envelope."""
    connection.execute(
        schema.envelopes.insert().values(
            microgrid=microgrid_id,
            id=record.id,
            target=record.target,
            periods=json.dumps([asdict(period) for period in record.periods], sort_keys=True),
            reason=record.reason,
            state=record.state.value,
            created=record.created,
            payload=record.payload,
            signature=record.signature,
            key_id=record.key_id,
        )
    )


def cancel_envelope(connection: Connection, microgrid_id: str, id_: str) -> None:
    """Let an envelope count no longer."""
    table = schema.envelopes
    connection.execute(
        update(table)
        .where(table.c.microgrid == microgrid_id, table.c.id == id_)
        .values(state=EnvelopeState.CANCELLED.value)
    )


def has_envelope(connection: Connection, microgrid_id: str, id_: str) -> bool:
    """Whether an envelope of this id was ever kept."""
    table = schema.envelopes
    found = select(table.c.id).where(table.c.microgrid == microgrid_id, table.c.id == id_)
    return connection.execute(found).first() is not None


def envelopes(connection: Connection, microgrid_id: str) -> list[EnvelopeRecord]:
    """All envelopes in order of their ids."""
    table = schema.envelopes
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid_id).order_by(table.c.id))
    return [
        EnvelopeRecord(
            id=r.id,
            target=r.target,
            periods=tuple(Bounds(**period) for period in json.loads(r.periods)),
            reason=r.reason,
            state=EnvelopeState(r.state),
            created=r.created,
            payload=r.payload,
            signature=r.signature,
            key_id=r.key_id,
        )
        for r in rows
    ]
