"""The statements for demand response."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from controller.demand_response import Delivery, DemandEvent, DemandOffer, Direction, baseline_json
from controller.store import schema
from controller.store.rows import insert


def add_event(connection: Connection, microgrid: str, event: DemandEvent) -> None:
    """Keep an event with its baseline."""
    values = asdict(event) | {
        "direction": event.direction.value,
        "baseline": baseline_json(event.baseline),
        "planned": baseline_json(event.planned) if event.planned else "",
        "cancelled": int(event.cancelled),
    }
    connection.execute(schema.demand_events.insert().values(microgrid=microgrid, **values))


def cancel_event(connection: Connection, microgrid: str, id_: str) -> None:
    """Note that the DSO took an event back."""
    table = schema.demand_events
    connection.execute(update(table).where(table.c.microgrid == microgrid, table.c.id == id_).values(cancelled=1))


def event(connection: Connection, microgrid: str, id_: str) -> DemandEvent | None:
    """The event of that id."""
    table = schema.demand_events
    row = connection.execute(select(table).where(table.c.microgrid == microgrid, table.c.id == id_)).first()
    return None if row is None else _event(row)


def events_after(connection: Connection, microgrid: str, id_: str, limit: int) -> list[DemandEvent]:
    """Events whose id is greater, in order of their ids."""
    table = schema.demand_events
    query = select(table).where(table.c.microgrid == microgrid, table.c.id > id_).order_by(table.c.id).limit(limit)
    return [_event(row) for row in connection.execute(query)]


def events_between(connection: Connection, microgrid: str, start: int, end: int) -> list[DemandEvent]:
    """Events that were not taken back and overlap ``[start, end)``, in order of their ids."""
    table = schema.demand_events
    rows = connection.execute(
        select(table)
        .where(table.c.microgrid == microgrid, table.c.cancelled == 0, table.c.start < end, table.c.end > start)
        .order_by(table.c.id)
    )
    return [_event(row) for row in rows]


def unfinished(connection: Connection, now: float) -> list[tuple[str, DemandEvent]]:
    """All events that are not over, with their microgrids; those that were taken back too."""
    table = schema.demand_events
    rows = connection.execute(select(table).where(table.c.end > int(now)).order_by(table.c.microgrid, table.c.id))
    return [(row.microgrid, _event(row)) for row in rows]


def add_offer(connection: Connection, microgrid: str, offer: DemandOffer) -> None:
    """Keep an offer."""
    values = asdict(offer) | {"members": json.dumps(offer.members)}
    connection.execute(schema.demand_offers.insert().values(microgrid=microgrid, **values))


def accept_offer(connection: Connection, microgrid: str, event_id: str, id_: str, accepted_w: int) -> None:
    """Note how much of an offer was accepted."""
    table = schema.demand_offers
    connection.execute(
        update(table)
        .where(table.c.microgrid == microgrid, table.c.event == event_id, table.c.id == id_)
        .values(accepted_w=accepted_w)
    )


def offers(connection: Connection, microgrid: str, event_id: str) -> list[DemandOffer]:
    """All offers for an event in order of their ids."""
    table = schema.demand_offers
    rows = connection.execute(
        select(table).where(table.c.microgrid == microgrid, table.c.event == event_id).order_by(table.c.id)
    )
    return [_offer(row) for row in rows]


def add_deliveries(connection: Connection, microgrid: str, found: Sequence[Delivery], *, run: int = 0) -> None:
    """Keep what was delivered as a run of its window has it, once."""
    rows = [{"microgrid": microgrid, "run": run, **asdict(one)} for one in found]
    insert(connection, schema.demand_deliveries, rows)


def deliveries(connection: Connection, microgrid: str, event_id: str) -> list[Delivery]:
    """What an event's offers delivered, by offer and time, as it was corrected last."""
    table = schema.demand_deliveries
    rows = connection.execute(
        select(table)
        .where(table.c.microgrid == microgrid, table.c.event == event_id)
        .order_by(table.c.offer, table.c.mtu_start, table.c.run)
    )
    names = Delivery.__slots__
    newest = {(row.offer, row.mtu_start): row for row in rows}
    return [Delivery(**{name: row._mapping[name] for name in names}) for row in newest.values()]


def settled_until(connection: Connection, microgrid: str, event_id: str) -> int | None:
    """The start of the last MTU of an event that was settled."""
    table = schema.demand_deliveries
    return connection.execute(
        select(func.max(table.c.mtu_start)).where(table.c.microgrid == microgrid, table.c.event == event_id)
    ).scalar()


def _event(row: Row[Any]) -> DemandEvent:
    values = dict(row._mapping)
    del values["microgrid"]
    values["direction"] = Direction(values["direction"])
    for name in ("baseline", "planned"):
        values[name] = {member: tuple(series) for member, series in json.loads(values[name] or "{}").items()}
    values["cancelled"] = bool(values["cancelled"])
    return DemandEvent(**values)


def _offer(row: Row[Any]) -> DemandOffer:
    values = dict(row._mapping)
    del values["microgrid"]
    values["members"] = tuple(json.loads(values["members"]))
    return DemandOffer(**values)
