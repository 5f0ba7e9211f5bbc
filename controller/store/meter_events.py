"""The statements for what is declared of meters, and for what happened to readings."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, delete, exists, func, select

from controller.estimating import Estimation, EstimationRule
from controller.feeders import FeederSum
from controller.meter_events import OPEN_TO_DECISION, REFUSING, EventKind, KeptEvent, MeterEvent
from controller.registers import Meter, MeterChange, Registers
from controller.store import schema
from controller.store.rows import insert, insert_new, upsert, upsert_all


def add_change(connection: Connection, microgrid: str, member: str, change: MeterChange, *, created: int) -> None:
    """Keep what was declared of a member's meter."""
    row = {
        "microgrid": microgrid,
        "member": member,
        "instant": change.instant,
        "rollover_wh": change.rollover_wh,
        **_columns("final_", change.final),
        **_columns("first_", change.first),
        "created": created,
    }
    insert(connection, schema.meter_changes, [row])


def meters(connection: Connection, microgrid: str) -> dict[str, Meter]:
    """The meters of whom anything was declared."""
    table = schema.meter_changes
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid).order_by(table.c.instant))
    found: dict[str, list[MeterChange]] = {}
    for row in rows:
        change = MeterChange(
            instant=row.instant,
            rollover_wh=row.rollover_wh,
            final=_registers(row.final_import_wh, row.final_export_wh),
            first=_registers(row.first_import_wh, row.first_export_wh),
        )
        found.setdefault(row.member, []).append(change)
    return {member: Meter(tuple(changes)) for member, changes in found.items()}


def put_estimation(connection: Connection, microgrid: str, estimation: Estimation) -> None:
    """Keep how missing readings are estimated."""
    row = {
        "microgrid": microgrid,
        "estimation": estimation.rule.value,
        "after_minutes": estimation.after_minutes,
        "loss_permille": estimation.loss_permille,
    }
    upsert(connection, schema.metering_rules, row)


def estimation(connection: Connection, microgrid: str) -> Estimation:
    """How missing readings are estimated; not at all where nothing was declared."""
    table = schema.metering_rules
    row = connection.execute(select(table).where(table.c.microgrid == microgrid)).first()
    if row is None:
        return Estimation()
    return Estimation(
        rule=EstimationRule(row.estimation), after_minutes=row.after_minutes, loss_permille=row.loss_permille
    )


def put_estimated(connection: Connection, microgrid: str, window: str, members: Iterable[str]) -> None:
    """Note of whose registers a window's newest run has estimates."""
    table = schema.estimated
    connection.execute(delete(table).where(table.c.microgrid == microgrid, table.c.window == window))
    rows = [{"microgrid": microgrid, "member": member, "window": window} for member in sorted(members)]
    insert_new(connection, table, rows)


def estimated(connection: Connection, microgrid: str) -> dict[str, list[str]]:
    """The settled windows that rest on estimates, by member."""
    table = schema.estimated
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid).order_by(table.c.window))
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.member, []).append(row.window)
    return found


def ever_estimated(connection: Connection, microgrid: str) -> frozenset[str]:
    """The members on estimates of whose registers any settled window rests."""
    table = schema.estimated
    return frozenset(
        connection.execute(select(table.c.member).where(table.c.microgrid == microgrid).distinct()).scalars()
    )


def estimated_after(connection: Connection, microgrid: str, member: str, instant: int, *, length_s: int) -> list[str]:
    """The settled windows of a length that rest on estimates of a member's registers, and end after an instant."""
    table, windows = schema.estimated, schema.windows
    own = (table.c.microgrid == microgrid) & (table.c.member == member) & (table.c.window == windows.c.name)
    return list(
        connection.execute(
            select(windows.c.name)
            .where(windows.c.microgrid == microgrid, windows.c.start > instant - length_s, exists().where(own))
            .order_by(windows.c.start)
        ).scalars()
    )


def put_sums(connection: Connection, window: str, sums: Sequence[FeederSum]) -> None:
    """Keep what feeders counted in a window, in the place of what they were known to have counted."""
    upsert_all(connection, schema.feeder_sums, [{"window": window, **asdict(one)} for one in sums])


def sums_after(
    connection: Connection, microgrid: str, after: tuple[int, str], count: int, *, start: int, end: int
) -> list[FeederSum]:
    """The first sums behind an MTU's start and a place, of windows that begin in ``[start, end)``."""
    table, windows = schema.feeder_sums, schema.windows
    names = [column.name for column in table.columns if column.name != "window"]
    query = (
        select(*(table.c[name] for name in names))
        .join(windows, windows.c.name == table.c.window)
        .where(windows.c.microgrid == microgrid, windows.c.start >= start, windows.c.start < end)
        .where((table.c.mtu_start > after[0]) | ((table.c.mtu_start == after[0]) & (table.c.place > after[1])))
        .order_by(table.c.mtu_start, table.c.place)
        .limit(count)
    )
    return [FeederSum(**row._mapping) for row in connection.execute(query)]


def newest_losses(connection: Connection, microgrid: str) -> dict[str, int]:
    """What feeders took beyond their members in the newest window of which there are sums, by place, in Wh."""
    table, windows = schema.feeder_sums, schema.windows
    newest = (
        select(windows.c.name)
        .where(windows.c.microgrid == microgrid, exists().where(table.c.window == windows.c.name))
        .order_by(windows.c.start.desc())
        .limit(1)
    )
    loss = func.sum(table.c.metered_wh - table.c.members_wh)
    rows = connection.execute(
        select(table.c.place, loss).where(table.c.window == newest.scalar_subquery()).group_by(table.c.place)
    )
    return {row[0]: int(row[1]) for row in rows}


def count_open(connection: Connection, microgrid: str) -> int:
    """How many events the operator may decide about, and has not."""
    table = schema.meter_events
    kinds = [kind.value for kind in OPEN_TO_DECISION]
    query = select(func.count()).where(
        table.c.microgrid == microgrid, table.c.kind.in_(kinds), table.c.instant.is_not(None)
    )
    decided = select(func.count()).where(schema.meter_decisions.c.microgrid == microgrid)
    return connection.execute(query).scalar_one() - connection.execute(decided).scalar_one()


def add_events(
    connection: Connection, microgrid: str, events: Sequence[MeterEvent], *, created: int, once: bool = False
) -> list[KeptEvent]:
    """Keep what happened; with ``once`` not what is kept already of the same reporter, reading and kind."""
    table = schema.meter_events
    newest = connection.execute(select(func.max(table.c.number)).where(table.c.microgrid == microgrid)).scalar() or 0
    kept: list[KeptEvent] = []
    for event in events:
        if once and _known(connection, microgrid, event):
            continue
        kept.append(KeptEvent(number=newest + len(kept) + 1, created=created, event=event))
    insert(connection, table, [_row(microgrid, one) for one in kept])
    return kept


def _known(connection: Connection, microgrid: str, event: MeterEvent) -> bool:
    table = schema.meter_events
    stated = event.reported
    found = connection.execute(
        select(table.c.number)
        .where(
            table.c.microgrid == microgrid,
            table.c.member == event.member,
            table.c.kind == event.kind.value,
            table.c.reporter == event.reporter,
            _is(table.c.instant, event.instant),
            _is(table.c.import_wh, None if stated is None else stated.import_wh),
            _is(table.c.export_wh, None if stated is None else stated.export_wh),
            table.c.note == event.note,
        )
        .limit(1)
    )
    return found.first() is not None


def _is(column: Column[Any], value: int | None) -> ColumnElement[bool]:
    # Of equality alone every database looks into its indices.
    return column.is_(None) if value is None else column == value


def count_refused_since(connection: Connection, microgrid: str, reporter: str, since: int) -> int:
    """How many events of a reporter's refused batches were kept since an instant."""
    table = schema.meter_events
    return connection.execute(
        select(func.count()).where(
            table.c.microgrid == microgrid,
            table.c.reporter == reporter,
            table.c.created >= since,
            table.c.kind.in_([kind.value for kind in REFUSING]),
        )
    ).scalar_one()


def event(connection: Connection, microgrid: str, number: int) -> KeptEvent | None:
    """The event of that number."""
    table = schema.meter_events
    found = _decided().where(table.c.microgrid == microgrid, table.c.number == number)
    row = connection.execute(found).first()
    return None if row is None else _kept(row)


def events_after(
    connection: Connection,
    microgrid: str,
    after: int,
    count: int,
    *,
    member: str | None = None,
    reporter: str | None = None,
) -> list[KeptEvent]:
    """The first events of a greater number; only of a member's meter, only of a reporter, where one is named."""
    table = schema.meter_events
    query = _decided().where(table.c.microgrid == microgrid, table.c.number > after)
    if member is not None:
        query = query.where(table.c.member == member)
    if reporter is not None:
        query = query.where(table.c.reporter == reporter)
    return [_kept(row) for row in connection.execute(query.order_by(table.c.number).limit(count))]


def decide(
    connection: Connection, microgrid: str, number: int, decision: str, *, reason: str, by: str, created: int
) -> None:
    """Keep what was decided about an event."""
    row = {
        "microgrid": microgrid,
        "number": number,
        "decision": decision,
        "reason": reason,
        "by": by,
        "created": created,
    }
    insert(connection, schema.meter_decisions, [row])


def _decided() -> Any:
    table, decided = schema.meter_events, schema.meter_decisions
    return select(table, decided.c.decision, decided.c.reason).join(
        decided, (decided.c.microgrid == table.c.microgrid) & (decided.c.number == table.c.number), isouter=True
    )


def _row(microgrid: str, kept: KeptEvent) -> dict[str, Any]:
    event_ = kept.event
    return {
        "microgrid": microgrid,
        "number": kept.number,
        "created": kept.created,
        "kind": event_.kind.value,
        "member": event_.member,
        "instant": event_.instant,
        "reporter": event_.reporter,
        "sequence": event_.sequence,
        **_columns("", event_.reported),
        **_columns("known_", event_.known),
        "known_instant": event_.known_instant,
        "note": event_.note,
    }


def _kept(row: Row[Any]) -> KeptEvent:
    return KeptEvent(
        number=row.number,
        created=row.created,
        event=MeterEvent(
            kind=EventKind(row.kind),
            member=row.member,
            instant=row.instant,
            reporter=row.reporter,
            sequence=row.sequence,
            reported=_registers(row.import_wh, row.export_wh),
            known=_registers(row.known_import_wh, row.known_export_wh),
            known_instant=row.known_instant,
            note=row.note,
        ),
        decision=row.decision or "",
        reason=row.reason or "",
    )


def _columns(prefix: str, registers: Registers | None) -> dict[str, int | None]:
    return {
        f"{prefix}import_wh": None if registers is None else registers.import_wh,
        f"{prefix}export_wh": None if registers is None else registers.export_wh,
    }


def _registers(import_wh: int | None, export_wh: int | None) -> Registers | None:
    return None if import_wh is None or export_wh is None else Registers(import_wh=import_wh, export_wh=export_wh)
