"""The statements for windows: their orders, and what was decided about them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from controller.microgrid import DeviceSetpoint, SetpointKind, Trade
from controller.store import schema
from controller.store.rows import insert, upsert


def add_order(
    connection: Connection,
    window: str,
    member: str,
    *,
    payload: bytes,
    signature: bytes,
    key_id: str,
    digest: bytes,
) -> None:
    """Keep an order as the newest of its member for the window."""
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
        )
    )


def newest_orders(connection: Connection, windows: Sequence[str]) -> dict[str, Row[Any]]:
    """For each member its newest order among these windows, later windows and versions first."""
    table = schema.orders
    rows = connection.execute(
        select(table).where(table.c.window.in_(windows)).order_by(table.c.window, table.c.version)
    )
    return {r.member: r for r in rows}


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


def windows(connection: Connection, microgrid_id: str) -> list[WindowRow]:
    """All windows of a microgrid in order of time."""
    table = schema.windows
    rows = connection.execute(select(table).where(table.c.microgrid == microgrid_id).order_by(table.c.start))
    return [WindowRow(**r._mapping) for r in rows]


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
    """Change a window that is in the state ``was``; False when it is not, so that a step has one effect."""
    table = schema.windows
    result = connection.execute(update(table).where(table.c.name == name, table.c.state == was).values(**values))
    return result.rowcount == 1


def add_trades(connection: Connection, window_name: str, trades: Sequence[Trade], salts: Sequence[bytes]) -> None:
    """Keep the trades of a window; their index is their place."""
    insert(
        connection,
        schema.trades,
        [
            {"window": window_name, "ix": ix, "salt": salt, **asdict(trade)}
            for ix, (trade, salt) in enumerate(zip(trades, salts, strict=True))
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


def count_trades(connection: Connection, window_name: str) -> int:
    """How many trades a window has."""
    table = schema.trades
    return connection.execute(select(func.count()).where(table.c.window == window_name)).scalar_one()


def add_positions(connection: Connection, window_name: str, positions: Mapping[tuple[str, int], int]) -> None:
    """Keep what each member was scheduled to take, by member and MTU."""
    insert(
        connection,
        schema.positions,
        [
            {"window": window_name, "member": member, "mtu_start": mtu, "net_wh": net}
            for (member, mtu), net in sorted(positions.items())
        ],
    )


def positions(connection: Connection, window_name: str) -> dict[tuple[str, int], int]:
    """What each member was scheduled to take, by member and MTU."""
    table = schema.positions
    rows = connection.execute(select(table).where(table.c.window == window_name))
    return {(r.member, r.mtu_start): r.net_wh for r in rows}


def add_setpoints(connection: Connection, window_name: str, setpoints: Sequence[DeviceSetpoint]) -> None:
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
            }
            for s in setpoints
        ],
    )


def setpoints(connection: Connection, window_name: str) -> list[DeviceSetpoint]:
    """The setpoints of a window by device and time."""
    table = schema.setpoints
    rows = connection.execute(
        select(table).where(table.c.window == window_name).order_by(table.c.device, table.c.mtu_start)
    )
    return [
        DeviceSetpoint(device=r.device, mtu_start=r.mtu_start, kind=SetpointKind(r.kind), value=r.value) for r in rows
    ]


def add_reports(connection: Connection, reports: Sequence[Mapping[str, Any]]) -> None:
    """Keep what drivers said about commands; the same said twice counts once."""
    for report in reports:
        upsert(connection, schema.reports, report)


def reports(connection: Connection, window_name: str) -> list[Row[Any]]:
    """What drivers said about the commands of a window."""
    table = schema.reports
    return list(
        connection.execute(select(table).where(table.c.window == window_name).order_by(table.c.device, table.c.instant))
    )


def add_plan(connection: Connection, microgrid_id: str, name: str, message: bytes) -> None:
    """Keep a plan that binds nobody."""
    upsert(connection, schema.plans, {"name": name, "microgrid": microgrid_id, "message": message})


def plan(connection: Connection, name: str) -> bytes | None:
    """The message of a plan."""
    return connection.execute(select(schema.plans.c.message).where(schema.plans.c.name == name)).scalar()
