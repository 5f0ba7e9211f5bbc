"""The statements for the sets of validators that shall follow the registry's, and for who signed them."""

import json

from sqlalchemy import Connection, select

from contracts.outbox import AnchorState
from contracts.quorum import Quorum
from contracts.transactions import Address
from controller.store import schema

QUORUM = "QUORUM"
"""A set's rows in the outbox; they belong to no microgrid."""
NO_MICROGRID = ""


def propose(connection: Connection, quorum: Quorum, *, proposed_by: str, now: int) -> None:
    """Keep a set of validators, and let it wait for signatures."""
    connection.execute(
        schema.quorums.insert().values(
            epoch=quorum.epoch,
            threshold=quorum.threshold,
            validators=json.dumps(quorum.validators),
            proposed_by=proposed_by,
            created=now,
        )
    )
    connection.execute(
        schema.outbox.insert().values(
            kind=QUORUM, microgrid=NO_MICROGRID, number=quorum.epoch, state=AnchorState.PENDING.name
        )
    )


def quorum(connection: Connection, epoch: int) -> Quorum | None:
    """The set that was proposed for an epoch; None where none was."""
    table = schema.quorums
    row = connection.execute(select(table).where(table.c.epoch == epoch)).first()
    if row is None:
        return None
    validators = tuple(Address(address) for address in json.loads(row.validators))
    return Quorum(epoch=row.epoch, threshold=row.threshold, validators=validators)


def proposed(connection: Connection) -> list[tuple[Quorum, AnchorState]]:
    """All sets that were proposed, in the order of their epochs, each with how far it has come."""
    table = schema.outbox
    rows = connection.execute(
        select(table.c.number, table.c.state).where(table.c.kind == QUORUM).order_by(table.c.number)
    )
    found = [(quorum(connection, row.number), AnchorState[row.state]) for row in rows]
    return [(known, state) for known, state in found if known is not None]


def in_force(connection: Connection) -> Quorum | None:
    """The set that the registry was changed to last; None where it has the one that it was deployed with."""
    held = [known for known, state in proposed(connection) if state in {AnchorState.INCLUDED, AnchorState.FINAL}]
    return held[-1] if held else None


def sign(
    connection: Connection, epoch: int, validator: Address, signature: bytes, *, submitted_by: str, now: int
) -> None:
    """Keep a validator's signature under a set; one that is there already stays."""
    if validator not in signatures(connection, epoch):
        connection.execute(
            schema.quorum_signatures.insert().values(
                epoch=epoch, validator=validator, signature=signature, submitted_by=submitted_by, created=now
            )
        )


def signatures(connection: Connection, epoch: int) -> dict[Address, bytes]:
    """What validators signed under a set, by their addresses."""
    table = schema.quorum_signatures
    rows = connection.execute(select(table).where(table.c.epoch == epoch).order_by(table.c.validator))
    return {Address(row.validator): bytes(row.signature) for row in rows}
