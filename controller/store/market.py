"""The statements for windows: their orders, and what was decided about them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, case, exists, func, null, or_, select, true, update

from controller.microgrid import DeviceSetpoint, SetpointKind, Trade
from controller.store import adjustments, events, schema
from controller.store.rows import insert, insert_new, upsert


def add_order(
    connection: Connection,
    window: str,
    member: str,
    *,
    payload: bytes,
    signature: bytes,
    key_id: str,
    digest: bytes,
    adjustment: int = 0,
) -> None:
    """Keep an order as the newest of its member for the window, from one of the window's clearings on."""
    table = schema.orders
    newest = connection.execute(
        select(func.max(table.c.version)).where(table.c.window == window, table.c.member == member)
    ).scalar()
    connection.execute(
        table.insert().values(
            window=window,
            member=member,
            version=(newest or 0) + 1,
            payload=payload,
            signature=signature,
            key_id=key_id,
            digest=digest,
            adjustment=adjustment,
        )
    )


def newest_orders(
    connection: Connection, windows: Sequence[str], *, counting: tuple[str, int] | None = None
) -> dict[str, Row[Any]]:
    """For each member its newest order among these windows, later windows and versions first.

    Of the window that ``counting`` names only those that count for its clearing of that number.
    """
    table = schema.orders
    counts = true() if counting is None else or_(table.c.window != counting[0], table.c.adjustment <= counting[1])
    # Whatever a member sent before its newest order is not read: it may be much.
    newest = {
        member: (window, version)
        for window, member, version in connection.execute(
            select(table.c.window, table.c.member, func.max(table.c.version))
            .where(table.c.window.in_(windows), counts)
            .group_by(table.c.window, table.c.member)
            .order_by(table.c.window)
        )
    }
    found = {}
    for member, (window, version) in newest.items():
        order = table.c.window == window, table.c.member == member, table.c.version == version
        found[member] = connection.execute(select(table).where(*order)).one()
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRow:
    """A window as it is kept; JSON texts stay texts."""

    name: str
    microgrid: str
    start: int
    end: int
    state: str
    source: str
    failure: str
    inputs_digest: bytes | None
    snapshot: str | None
    certificate: str | None
    plan: str | None
    carry: str | None
    uplifts: str | None
    opens: int
    closes: int
    deadline: int
    settles: int
    quality: str | None
    relaxed: str | None


def windows(connection: Connection, microgrid_id: str) -> list[WindowRow]:
    """All windows of a microgrid in order of time."""
    table = schema.windows
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid_id).order_by(table.c.start))
    return [WindowRow(**r._mapping) for r in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOutline:
    """What a window's next step depends on, without its texts: those of a hundred homes are long.

    Attributes
    ----------
    name, start, end, state, source : as in ``WindowRow``
    closes, settles : when its gate closes, and before which it is not settled
    frozen : whether its inputs were kept
    planned : whether it has a plan
    """

    name: str
    start: int
    end: int
    state: str
    source: str
    closes: int
    settles: int
    frozen: bool
    planned: bool


def outlines(
    connection: Connection, microgrid_id: str, *, start: int, end: int, limit: int | None = None
) -> list[WindowOutline]:
    """The windows that start in ``[start, end)``, in order of time, at most so many."""
    table = schema.windows
    within = (table.c.microgrid == microgrid_id, table.c.start >= start, table.c.start < end)
    return _outlined(connection, *within, limit=limit)


def unfinished(connection: Connection, microgrid_id: str) -> list[WindowOutline]:
    """The windows that still have a step to take here, in order of time."""
    table = schema.windows
    return _outlined(connection, table.c.microgrid == microgrid_id, table.c.state.not_in(["SETTLED", "ANCHORED"]))


def first_unfinished(connection: Connection, microgrid_id: str) -> str | None:
    """The name of the first of them; None where all are settled."""
    table = schema.windows
    return connection.execute(
        select(table.c.name)
        .where(table.c.microgrid == microgrid_id, table.c.state.not_in(["SETTLED", "ANCHORED"]))
        .order_by(table.c.start)
        .limit(1)
    ).scalar()


def _outlined(connection: Connection, *where: Any, limit: int | None = None) -> list[WindowOutline]:
    table = schema.windows
    columns = [table.c.name, table.c.start, table.c.end, table.c.state, table.c.source, table.c.closes, table.c.settles]
    rows = connection.execute(
        select(*columns, table.c.snapshot.is_not(None).label("frozen"), table.c.plan.is_not(None).label("planned"))
        .where(*where)
        .order_by(table.c.start)
        .limit(limit)
    )
    return [WindowOutline(**dict(r._mapping) | {"frozen": bool(r.frozen), "planned": bool(r.planned)}) for r in rows]


def newest_with(connection: Connection, microgrid_id: str, column: str, *, before: int) -> WindowRow | None:
    """The last window that starts before an instant and has a text in a column."""
    table = schema.windows
    found = connection.execute(
        select(table)
        .where(table.c.microgrid == microgrid_id, table.c.start < before, table.c[column].is_not(None))
        .order_by(table.c.start.desc())
        .limit(1)
    ).first()
    return None if found is None else WindowRow(**found._mapping)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """The plan of a clearing.

    Attributes
    ----------
    window : whose clearing, or whose adjustment's
    closes : when its gate closed
    plan, snapshot : JSON
    """

    window: str
    closes: int
    plan: str
    snapshot: str


def last_plan(connection: Connection, microgrid_id: str, *, before: int) -> PlanRow | None:
    """The plan that was made last, of the windows and adjustments that begin before an instant."""
    own = newest_with(connection, microgrid_id, "plan", before=before)
    later = adjustments.newest_with(connection, microgrid_id, "plan", before=before)
    if later is not None and (own is None or later.closes >= own.closes):
        return PlanRow(window=later.window, closes=later.closes, plan=later.plan or "", snapshot=later.snapshot or "")
    if own is None:
        return None
    return PlanRow(window=own.name, closes=own.closes, plan=own.plan or "", snapshot=own.snapshot or "")


def last_carry(connection: Connection, microgrid_id: str, *, at: int) -> str | None:
    """The remainders of rounding that the last clearing before an instant left; its adjustment's before a window's."""
    own = _newest_carry(connection, schema.windows, microgrid_id, at)
    adjusted = _newest_carry(connection, schema.adjustments, microgrid_id, at)
    return max(adjusted, own, key=lambda found: found[0])[1]


def _newest_carry(connection: Connection, table: Table, microgrid_id: str, at: int) -> tuple[int, str | None]:
    """When the last one of a table that has remainders and is over by an instant ends, and these."""
    found = connection.execute(
        select(table.c.end, table.c.carry)
        .where(table.c.microgrid == microgrid_id, table.c.start < at, table.c.end <= at, table.c.carry.is_not(None))
        .order_by(table.c.start.desc())
        .limit(1)
    ).first()
    return (0, None) if found is None else (found.end, found.carry)


def window_ending_at(connection: Connection, microgrid_id: str, instant: int) -> WindowRow | None:
    """The window that ends at an instant."""
    table = schema.windows
    found = connection.execute(
        select(table).where(table.c.microgrid == microgrid_id, table.c.end == instant).limit(1)
    ).first()
    return None if found is None else WindowRow(**found._mapping)


def settled_around(connection: Connection, microgrid_id: str, instant: int, *, length_s: int) -> list[str]:
    """The names of the settled windows of a length that an instant lies in, or on the border of."""
    table = schema.windows
    return list(
        connection.execute(
            select(table.c.name)
            .where(
                table.c.microgrid == microgrid_id,
                table.c.start.between(instant - length_s, instant),
                table.c.end >= instant,
                table.c.state.in_(["SETTLED", "ANCHORED"]),
            )
            .order_by(table.c.start)
        ).scalars()
    )


def unfinished_windows(connection: Connection, microgrid_id: str) -> list[str]:
    """The names of the windows that still have a step to take here, in order of time."""
    table = schema.windows
    return list(
        connection.execute(
            select(table.c.name)
            .where(table.c.microgrid == microgrid_id, table.c.state.not_in(["SETTLED", "ANCHORED"]))
            .order_by(table.c.start)
        ).scalars()
    )


def window(connection: Connection, name: str) -> WindowRow | None:
    """The window of that name."""
    found = connection.execute(select(schema.windows).where(schema.windows.c.name == name)).first()
    return None if found is None else WindowRow(**found._mapping)


def set_window(connection: Connection, name: str, *, was: str, **values: Any) -> bool:
    """Change a window that is in the state ``was``; False when it is not, so that a step has one effect.

    Who watches hears of it.
    """
    table = schema.windows
    result = connection.execute(update(table).where(table.c.name == name, table.c.state == was).values(**values))
    if result.rowcount != 1:
        return False
    events.add(connection, name.split("/")[1], events.CLEARING, name)
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFilter:
    """Which of the windows whose gate has closed are asked for.

    Attributes
    ----------
    after : those that start later than this; None for all
    within : those that overlap ``[start, end)``; None for all
    unfinished : only those that are not settled
    cleared : only those with a clearing, of their own or an adjustment's
    relaxed : only those in which limits could not be kept, by the window's clearing or an adjustment
    limit : as many at most; None for all
    whole : with plan and carry, and snapshots that say nothing of vetoes too: of a hundred homes these texts are long
    """

    after: int | None = None
    within: tuple[int, int] | None = None
    unfinished: bool = False
    cleared: bool = False
    relaxed: bool = False
    limit: int | None = None
    whole: bool = True


def decided_windows(connection: Connection, microgrid_id: str, wanted: WindowFilter) -> list[WindowRow]:
    """The windows whose gate has closed, in order of time."""
    table = schema.windows
    left_out = ["OPEN", "SETTLED", "ANCHORED"] if wanted.unfinished else ["OPEN"]
    query = select(*(table.columns if wanted.whole else _in_short()))
    query = query.where(table.c.microgrid == microgrid_id, table.c.state.not_in(left_out))
    if wanted.after is not None:
        query = query.where(table.c.start > wanted.after)
    if wanted.within is not None:
        query = query.where(table.c.start < wanted.within[1], table.c.end > wanted.within[0])
    adjusted = schema.adjustments
    if wanted.cleared:
        later = exists().where(adjusted.c.window == table.c.name, adjusted.c.certificate.is_not(None))
        query = query.where(or_(table.c.certificate.is_not(None), later))
    if wanted.relaxed:
        gave = exists().where(adjusted.c.window == table.c.name, adjusted.c.relaxed.is_not(None))
        query = query.where(or_(table.c.relaxed.is_not(None), gave))
    return [WindowRow(**r._mapping) for r in connection.execute(query.order_by(table.c.start).limit(wanted.limit))]


def _in_short() -> list[ColumnElement[Any]]:
    """The columns of a window, without its long texts but for snapshots that have vetoes."""
    table = schema.windows
    shortened = {
        "plan": null(),
        "carry": null(),
        "snapshot": case((table.c.snapshot.contains('"vetoes":'), table.c.snapshot), else_=None),
    }
    return [shortened.get(column.name, column).label(column.name) for column in table.columns]


def add_trades(
    connection: Connection,
    window_name: str,
    trades: Sequence[Trade],
    salts: Sequence[bytes],
    *,
    first: int = 0,
    adjustment: int = 0,
) -> None:
    """Keep the trades of a clearing; their index is their place, counted from ``first`` on."""
    insert(
        connection,
        schema.trades,
        [
            {"window": window_name, "ix": ix, "salt": salt, "adjustment": adjustment, **asdict(trade)}
            for ix, (trade, salt) in enumerate(zip(trades, salts, strict=True), start=first)
        ],
    )


def trades(connection: Connection, window_name: str) -> list[tuple[Trade, bytes]]:
    """The trades of a window with their salts, by index."""
    table = schema.trades
    rows = connection.execute(select(table).where(table.c.window == window_name).order_by(table.c.ix))
    return [
        (
            Trade(
                seller=r.seller,
                buyer=r.buyer,
                mtu_start=r.mtu_start,
                energy_wh=r.energy_wh,
                price_micro_per_kwh=r.price_micro_per_kwh,
            ),
            r.salt,
        )
        for r in rows
    ]


def trades_of(
    connection: Connection, microgrid_id: str, member: str, start: int, end: int
) -> dict[tuple[str, int], Trade]:
    """A member's trades of windows that begin in ``[start, end)``, by window and index."""
    table, window = schema.trades, schema.windows
    names = "seller", "buyer", "mtu_start", "energy_wh", "price_micro_per_kwh"
    rows = connection.execute(
        select(table)
        .join(window, window.c.name == table.c.window)
        .where(
            window.c.microgrid == microgrid_id,
            window.c.start >= start,
            window.c.start < end,
            (table.c.seller == member) | (table.c.buyer == member),
        )
    )
    return {(r.window, r.ix): Trade(**{name: r._mapping[name] for name in names}) for r in rows}


def trades_between(connection: Connection, microgrid_id: str, start: int, end: int) -> list[Trade]:
    """What was traded so far for MTUs that begin in ``[start, end)``, in order of windows and indices."""
    table, window = schema.trades, schema.windows
    names = "seller", "buyer", "mtu_start", "energy_wh", "price_micro_per_kwh"
    rows = connection.execute(
        select(*(table.c[name] for name in names))
        .join(window, window.c.name == table.c.window)
        .where(
            window.c.microgrid == microgrid_id,
            window.c.start < end,
            window.c.end > start,
            table.c.mtu_start >= start,
            table.c.mtu_start < end,
        )
        .order_by(window.c.start, table.c.ix)
    )
    return [Trade(**r._mapping) for r in rows]


def clearings_of_trades(connection: Connection, window_name: str) -> list[int]:
    """Which clearing of a window made each of its trades, by index: 0 for its own, else the adjustment's number."""
    table = schema.trades
    return list(
        connection.execute(
            select(table.c.adjustment).where(table.c.window == window_name).order_by(table.c.ix)
        ).scalars()
    )


def counts_by_clearing(connection: Connection, window_name: str) -> dict[int, int]:
    """How many trades each clearing of a window made: 0 for its own, else the adjustment's number."""
    table = schema.trades
    rows = connection.execute(
        select(table.c.adjustment, func.count().label("made"))
        .where(table.c.window == window_name)
        .group_by(table.c.adjustment)
    )
    return {r.adjustment: r.made for r in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFilter:
    """Which trades are asked for.

    Attributes
    ----------
    window : of this one only; None for all of the microgrid
    within : of MTUs that begin in ``[start, end)``; None for all
    members : with at least one of these on either side; None for everybody's
    member : with this one on either side; None for all
    """

    window: str | None = None
    within: tuple[int, int] | None = None
    members: Collection[str] | None = None
    member: str | None = None


def history(
    connection: Connection, microgrid_id: str, wanted: TradeFilter, *, after: tuple[int, int] | None, limit: int
) -> list[Row[Any]]:
    """Trades with ``window_start``, in the order of windows and indices, after a window's start and an index."""
    table, window = schema.trades, schema.windows
    query = (
        select(table, window.c.start.label("window_start"))
        .join(window, window.c.name == table.c.window)
        .where(window.c.microgrid == microgrid_id)
    )
    if wanted.window is not None:
        query = query.where(window.c.name == wanted.window)
    if wanted.within is not None:
        start, end = wanted.within
        query = query.where(window.c.end > start, table.c.mtu_start >= start, table.c.mtu_start < end)
    if wanted.members is not None:
        query = query.where(or_(table.c.seller.in_(wanted.members), table.c.buyer.in_(wanted.members)))
    if wanted.member is not None:
        query = query.where(or_(table.c.seller == wanted.member, table.c.buyer == wanted.member))
    if after is not None:
        start, ix = after
        query = query.where(or_(window.c.start > start, and_(window.c.start == start, table.c.ix > ix)))
    return list(connection.execute(query.order_by(window.c.start, table.c.ix).limit(limit)))


def count_trades(connection: Connection, window_name: str) -> int:
    """How many trades a window has."""
    table = schema.trades
    return connection.execute(select(func.count()).where(table.c.window == window_name)).scalar_one()


def add_positions(
    connection: Connection, window_name: str, positions: Mapping[tuple[str, int], int], *, adjustment: int = 0
) -> None:
    """Keep what each member was scheduled to take, by member and MTU, or what an adjustment added to it."""
    insert(
        connection,
        schema.positions,
        [
            {"window": window_name, "member": member, "mtu_start": mtu, "net_wh": net, "adjustment": adjustment}
            for (member, mtu), net in sorted(positions.items())
        ],
    )


def positions(connection: Connection, window_name: str) -> dict[tuple[str, int], int]:
    """What each member was scheduled to take, by member and MTU."""
    table = schema.positions
    return _summed(connection.execute(select(table).where(table.c.window == window_name)))


def positions_between(connection: Connection, microgrid_id: str, start: int, end: int) -> dict[tuple[str, int], int]:
    """What each member was scheduled to take in MTUs that begin in ``[start, end)``, by member and MTU."""
    table, window = schema.positions, schema.windows
    return _summed(
        connection.execute(
            select(table)
            .join(window, window.c.name == table.c.window)
            .where(
                window.c.microgrid == microgrid_id,
                window.c.start < end,
                window.c.end > start,
                table.c.mtu_start >= start,
                table.c.mtu_start < end,
            )
        )
    )


def _summed(rows: Iterable[Row[Any]]) -> dict[tuple[str, int], int]:
    """The positions of the windows' own clearings with what adjustments added to them."""
    positions: dict[tuple[str, int], int] = {}
    for r in rows:
        positions[r.member, r.mtu_start] = positions.get((r.member, r.mtu_start), 0) + r.net_wh
    return positions


def add_setpoints(
    connection: Connection, window_name: str, setpoints: Sequence[DeviceSetpoint], *, adjustment: int = 0
) -> None:
    """Put setpoints into the outbox."""
    insert(
        connection,
        schema.setpoints,
        [
            {
                "window": window_name,
                "device": s.device,
                "mtu_start": s.mtu_start,
                "kind": s.kind.value,
                "value": s.value,
                "adjustment": adjustment,
            }
            for s in setpoints
        ],
    )


def setpoints(connection: Connection, window_name: str) -> list[DeviceSetpoint]:
    """The setpoints of a window that act, by device and time: an adjustment's in the place of those before it."""
    table = schema.setpoints
    rows = connection.execute(
        select(table).where(table.c.window == window_name).order_by(table.c.device, table.c.mtu_start)
    )
    return _acting(connection, rows.all(), [window_name])


def own_setpoints(connection: Connection, window_name: str) -> list[DeviceSetpoint]:
    """What a window's own clearing, or its fallback, told devices, by device and time, whatever was adjusted since."""
    table = schema.setpoints
    rows = connection.execute(
        select(table)
        .where(table.c.window == window_name, table.c.adjustment == 0)
        .order_by(table.c.device, table.c.mtu_start)
    )
    return [_setpoint(r) for r in rows]


def _setpoint(r: Row[Any]) -> DeviceSetpoint:
    return DeviceSetpoint(device=r.device, mtu_start=r.mtu_start, kind=SetpointKind(r.kind), value=r.value)


def _acting(connection: Connection, rows: Sequence[Row[Any]], windows_: Sequence[str]) -> list[DeviceSetpoint]:
    """Of the setpoints of some windows those that act."""
    parts: dict[str, list[tuple[int, int, int]]] = {}
    for name, number, start, end in adjustments.replaced(connection, windows_):
        parts.setdefault(name, []).append((start, end, number))

    def acts(r: Row[Any]) -> bool:
        own = (number for start, end, number in parts.get(r.window, ()) if start <= r.mtu_start < end)
        return r.adjustment == next(own, 0)  # type: ignore[no-any-return]  # a row's column

    return [_setpoint(r) for r in rows if acts(r)]


def setpoints_between(connection: Connection, microgrid_id: str, *, after: int, before: int) -> list[DeviceSetpoint]:
    """What acts of the windows that end after one instant and start before another, each device's by time."""
    table, windows_ = schema.setpoints, schema.windows
    rows = connection.execute(
        select(table)
        .join(windows_, windows_.c.name == table.c.window)
        .where(windows_.c.microgrid == microgrid_id, windows_.c.end > after, windows_.c.start < before)
        .order_by(table.c.device, table.c.mtu_start)
    ).all()
    return _acting(connection, rows, sorted({r.window for r in rows}))


def add_reports(connection: Connection, reports: Sequence[Mapping[str, Any]]) -> None:
    """Keep what drivers said about commands; the same said twice counts once."""
    insert_new(connection, schema.reports, reports)


def reports(connection: Connection, window_name: str) -> list[Row[Any]]:
    """What drivers said about the commands of a window."""
    table = schema.reports
    return list(
        connection.execute(select(table).where(table.c.window == window_name).order_by(table.c.device, table.c.instant))
    )


def add_plan(connection: Connection, microgrid_id: str, name: str, message: bytes, *, owner: str) -> None:
    """Keep a plan that binds nobody; who asked for it and watches hears of it."""
    upsert(connection, schema.plans, {"name": name, "microgrid": microgrid_id, "message": message, "owner": owner})
    events.add(connection, microgrid_id, events.PLAN, name, audience=owner)


def plan(connection: Connection, name: str, *, owner: str) -> bytes | None:
    """The message of a plan that this identity asked for, or that was made before owners were kept."""
    table = schema.plans
    return connection.execute(
        select(table.c.message).where(table.c.name == name, or_(table.c.owner == owner, table.c.owner.is_(None)))
    ).scalar()


def newest_plan(connection: Connection, microgrid_id: str, *, owner: str) -> str | None:
    """The name of the plan that this identity got last, of those that events still tell of."""
    found = events.since(connection, microgrid_id, events.PLAN, 0, audience=owner, limit=None)
    return found[-1].subject if found else None
