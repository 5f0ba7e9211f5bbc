"""The statements for what is proven: sealed readings, the ledger, headers, attestations."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, select

from contracts.header import WindowHeader
from controller.ledger import Posting
from controller.microgrid import MeterReading
from controller.store import market, schema
from controller.store.rows import insert, insert_new


def add_readings(
    connection: Connection,
    window: str,
    readings: Sequence[MeterReading],
    salts: Sequence[bytes],
    *,
    run: int = 0,
    first: int = 0,
) -> None:
    """Seal the readings that a run of a window is settled with; indices count from ``first`` on."""
    rows = [
        {
            "window": window,
            "ix": ix,
            "meter": reading.member,
            "instant": reading.instant,
            "import_wh": reading.import_wh,
            "export_wh": reading.export_wh,
            "quality": reading.quality,
            "salt": salt,
            "run": run,
        }
        for ix, (reading, salt) in enumerate(zip(readings, salts, strict=True), start=first)
    ]
    insert(connection, schema.readings, rows)


def readings(connection: Connection, window: str, run: int | None = None) -> list[Row[Any]]:
    """The sealed readings of a window by index; of one run or, where it is None, of all."""
    return _of_run(connection, schema.readings, window, run)


def sealed_registers(
    connection: Connection, microgrid: str, windows: Sequence[str]
) -> dict[tuple[str, int], tuple[int, int, str]]:
    """What the headers up to now say of registers: import, export and quality by meter and instant, the newest said."""
    table, header = schema.readings, schema.headers
    rows = connection.execute(
        select(table)
        .join(header, (header.c.window == table.c.window) & (header.c.run == table.c.run))
        .where(header.c.microgrid == microgrid, table.c.window.in_(windows))
        .order_by(header.c.number, table.c.ix)
    )
    return {(r.meter, r.instant): (r.import_wh, r.export_wh, r.quality) for r in rows}


def add_postings(
    connection: Connection,
    window: str,
    postings: Sequence[Posting],
    salts: Sequence[bytes],
    *,
    run: int = 0,
    first: int = 0,
) -> None:
    """Enter the postings of a run of a window into the ledger; indices count from ``first`` on."""
    rows = [
        {
            "window": window,
            "ix": ix,
            "account": posting.account,
            "kind": posting.kind,
            "reference": posting.reference,
            "amount_micro": posting.amount_micro,
            "salt": salt,
            "run": run,
        }
        for ix, (posting, salt) in enumerate(zip(postings, salts, strict=True), start=first)
    ]
    insert(connection, schema.postings, rows)


def postings(connection: Connection, window: str, run: int | None = None) -> list[Row[Any]]:
    """The ledger of a window by index; of one run or, where it is None, of all."""
    return _of_run(connection, schema.postings, window, run)


def _of_run(connection: Connection, table: Any, window: str, run: int | None) -> list[Row[Any]]:
    statement = select(table).where(table.c.window == window)
    if run is not None:
        statement = statement.where(table.c.run == run)
    return list(connection.execute(statement.order_by(table.c.ix)))


def run_of(connection: Connection, window: str, collection: str, index: int) -> int | None:
    """Which run of a window has a record of that index: ``collection`` is trades, readings or postings."""
    if collection == "trades":
        return 0 if index < market.count_trades(connection, window) else None
    table = schema.readings if collection == "readings" else schema.postings
    return connection.execute(select(table.c.run).where(table.c.window == window, table.c.ix == index)).scalar()


def runs(connection: Connection, windows: Sequence[str]) -> dict[str, int]:
    """How often each of these windows was settled, corrections counted; windows that were not are left out."""
    table = schema.headers
    rows = connection.execute(
        select(table.c.window, func.count().label("runs")).where(table.c.window.in_(windows)).group_by(table.c.window)
    )
    return {r.window: r.runs for r in rows}


def postings_page(
    connection: Connection, microgrid: str, account: str, *, start: int, end: int, after: tuple[int, int], count: int
) -> list[Row[Any]]:
    """The first lines of an account, of windows that begin in ``[start, end)``, behind a window's start and an index.

    Each with its window's ``start`` and ``end``.
    """
    table, windows = schema.postings, schema.windows
    return list(
        connection.execute(
            _postings_of(select(table, windows.c.start, windows.c.end), microgrid, account, start, end)
            .where(
                (windows.c.start > after[0]) | ((windows.c.start == after[0]) & (table.c.ix > after[1])),
            )
            .order_by(windows.c.start, table.c.ix)
            .limit(count)
        )
    )


def postings_between(connection: Connection, microgrid: str, account: str, *, start: int, end: int) -> list[Row[Any]]:
    """The lines of an account, of windows that begin in ``[start, end)``, with their windows' ``start`` and ``end``."""
    table, windows = schema.postings, schema.windows
    statement = _postings_of(select(table, windows.c.start, windows.c.end), microgrid, account, start, end)
    return list(connection.execute(statement.order_by(windows.c.start, table.c.ix)))


def unsettled(connection: Connection, microgrid: str, *, start: int, end: int) -> int:
    """How many windows that begin in ``[start, end)`` have no header."""
    windows, headers = schema.windows, schema.headers
    where = (windows.c.microgrid == microgrid) & (windows.c.start >= start) & (windows.c.start < end)
    statement = select(func.count()).select_from(windows).where(where, windows.c.name.not_in(select(headers.c.window)))
    return connection.execute(statement).scalar_one()


def postings_total(connection: Connection, microgrid: str, account: str, *, start: int, end: int) -> int:
    """What the lines of an account come to, of windows that begin in ``[start, end)``."""
    amount = func.sum(schema.postings.c.amount_micro)
    return int(connection.execute(_postings_of(select(amount), microgrid, account, start, end)).scalar() or 0)


def _postings_of(statement: Select[Any], microgrid: str, account: str, start: int, end: int) -> Select[Any]:
    table, windows = schema.postings, schema.windows
    return statement.join_from(table, windows, table.c.window == windows.c.name).where(
        windows.c.microgrid == microgrid,
        windows.c.start >= start,
        windows.c.start < end,
        table.c.account == account,
    )


def ask_for_corrections(connection: Connection, microgrid: str, windows: Sequence[str]) -> None:
    """Let settled windows be looked at again."""
    rows = [{"microgrid": microgrid, "window": window} for window in windows]
    insert_new(connection, schema.corrections_due, rows)


def corrections_due(connection: Connection, microgrid: str) -> list[str]:
    """The windows that are to be looked at again, in order of time."""
    table = schema.corrections_due
    found = select(table.c.window).where(table.c.microgrid == microgrid).order_by(table.c.window)
    return list(connection.execute(found).scalars())


def corrected(connection: Connection, microgrid: str, window: str) -> None:
    """Note that a window was looked at."""
    table = schema.corrections_due
    connection.execute(delete(table).where(table.c.microgrid == microgrid, table.c.window == window))


def add_header(connection: Connection, microgrid: str, header: WindowHeader) -> None:
    """Append a header to the microgrid's chain; it is anchored with the next batch."""
    table = schema.headers
    newest = connection.execute(select(func.max(table.c.number)).where(table.c.microgrid == microgrid)).scalar()
    connection.execute(
        table.insert().values(
            number=0 if newest is None else newest + 1,
            microgrid=microgrid,
            window=header.window,
            run=header.run,
            hash=header.hash,
            header=json.dumps(header.to_json(), sort_keys=True),
        )
    )


def headers(connection: Connection, microgrid: str) -> list[WindowHeader]:
    """The microgrid's headers in the order of their chain."""
    table = schema.headers
    rows = connection.execute(
        select(table.c.header).where(table.c.microgrid == microgrid).order_by(table.c.number)
    ).scalars()
    return [WindowHeader.from_json(json.loads(text)) for text in rows]


def headers_after(connection: Connection, microgrid: str, after: int, count: int) -> list[tuple[int, WindowHeader]]:
    """The first headers behind a place in the microgrid's chain, each with its own."""
    table = schema.headers
    rows = connection.execute(
        select(table.c.number, table.c.header)
        .where(table.c.microgrid == microgrid, table.c.number > after)
        .order_by(table.c.number)
        .limit(count)
    )
    return [(row.number, WindowHeader.from_json(json.loads(row.header))) for row in rows]


def newest_header_hash(connection: Connection, microgrid: str) -> bytes | None:
    """The hash at the end of the microgrid's chain; None where the chain has not begun."""
    table = schema.headers
    found = connection.execute(
        select(table.c.hash).where(table.c.microgrid == microgrid).order_by(table.c.number.desc()).limit(1)
    ).scalar()
    return None if found is None else bytes(found)


def header(connection: Connection, window: str, run: int = 0) -> WindowHeader | None:
    """The header of a run of a window: its first settlement, or a correction."""
    table = schema.headers
    text = connection.execute(select(table.c.header).where(table.c.window == window, table.c.run == run)).scalar()
    return None if text is None else WindowHeader.from_json(json.loads(text))


def position(connection: Connection, window: str, run: int) -> int | None:
    """The place of a run's header in the microgrid's chain; None where there is none."""
    table = schema.headers
    found = connection.execute(select(table.c.number).where(table.c.window == window, table.c.run == run)).scalar()
    return None if found is None else int(found)


def add_settlement(connection: Connection, window: str, run: int, facts: str) -> None:
    """Keep what a run rested on beside what its header commits to."""
    connection.execute(schema.settlements.insert().values(window=window, run=run, facts=facts))


def settlement(connection: Connection, window: str, run: int) -> str | None:
    """What a run rested on; None of one that an earlier version settled."""
    table = schema.settlements
    found = connection.execute(select(table.c.facts).where(table.c.window == window, table.c.run == run)).scalar()
    return None if found is None else str(found)


def attest(
    connection: Connection, window: str, run: int, validator: str, *, key_id: str, payload: bytes, signature: bytes
) -> int:
    """Keep a validator's attestation, once; returns how many there are."""
    table = schema.attestations
    known = connection.execute(select(table.c.validator).where(table.c.window == window, table.c.run == run)).scalars()
    validators = set(known)
    if validator not in validators:
        connection.execute(
            table.insert().values(
                window=window, run=run, validator=validator, key_id=key_id, payload=payload, signature=signature
            )
        )
    return len(validators | {validator})


def attestations(connection: Connection, window: str) -> list[Row[Any]]:
    """What validators signed under a window's headers, by validator."""
    table = schema.attestations
    return list(
        connection.execute(select(table).where(table.c.window == window).order_by(table.c.run, table.c.validator))
    )
