"""The statements for starts of the service and for acknowledged calls."""

from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from controller.store import schema


def next_epoch(connection: Connection) -> int:
    """Count a start of the service."""
    table = schema.controllers
    found = connection.execute(select(table.c.epoch)).scalar()
    if found is None:
        connection.execute(table.insert().values(id=1, epoch=1))
        return 1
    connection.execute(update(table).values(epoch=found + 1))
    return int(found) + 1


def recall(connection: Connection, identity: str, request_id: str) -> Row[Any] | None:
    """The answer to an earlier call with this id."""
    table = schema.requests
    return connection.execute(
        select(table).where(table.c.identity == identity, table.c.request_id == request_id)
    ).first()


def remember(
    connection: Connection, identity: str, request_id: str, *, method: str, digest: bytes, response: bytes, created: int
) -> None:
    """Keep the answer to a call; ``created`` is in Unix seconds."""
    connection.execute(
        schema.requests.insert().values(
            identity=identity,
            request_id=request_id,
            method=method,
            digest=digest,
            response=response,
            created=created,
        )
    )


def made_before(connection: Connection, identity: str, method: str, *, since: int, others: int) -> int | None:
    """When an identity made the newest call of a method but for so many others; None where that was not ``since``."""
    table = schema.requests
    return connection.execute(
        select(table.c.created)
        .where(table.c.identity == identity, table.c.method == method, table.c.created > since)
        .order_by(table.c.created.desc())
        .offset(others)
        .limit(1)
    ).scalar()


def forget(connection: Connection, before: int) -> int:
    """Remove the answers to calls from before an instant; returns how many. Of undated ones nobody knows their age."""
    table = schema.requests
    return connection.execute(delete(table).where(table.c.created > 0, table.c.created < before)).rowcount
