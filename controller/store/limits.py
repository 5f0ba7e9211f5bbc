"""The statements for limits: a copy of their journal, and the envelopes in it as rows."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from controller.limits import records
from controller.limits.values import Envelope
from controller.microgrid import EnvelopeRecord, EnvelopeState
from controller.store import registry, schema


def count(connection: Connection) -> int:
    """How many of the journal's records are here."""
    return connection.execute(select(func.count()).select_from(schema.limit_records)).scalar_one()


def journaled(connection: Connection) -> list[Mapping[str, Any]]:
    """The journal's records that are here, in order."""
    table = schema.limit_records
    return [json.loads(text) for text in connection.execute(select(table.c.record).order_by(table.c.number)).scalars()]


def catch_up(connection: Connection, journal: Sequence[Mapping[str, Any]]) -> int:
    """Take over what the journal has and this has not; returns how many records that were."""
    known = count(connection)
    for number, record in enumerate(journal[known:], known):
        text = json.dumps(record, sort_keys=True)
        connection.execute(schema.limit_records.insert().values(number=number, kind=record["kind"], record=text))
        _show(connection, record)
    return max(0, len(journal) - known)


def _show(connection: Connection, record: Mapping[str, Any]) -> None:
    match record["kind"]:
        case "envelope":
            envelope = records.envelope(record["envelope"])
            if not registry.has_envelope(connection, envelope.microgrid, envelope.id):
                registry.add_envelope(connection, envelope.microgrid, _row(envelope))
        case "cancel":
            registry.cancel_envelope(connection, record["microgrid"], record["id"])


def _row(envelope: Envelope) -> EnvelopeRecord:
    return EnvelopeRecord(
        id=envelope.id,
        target=envelope.target,
        periods=envelope.periods,
        reason=envelope.reason,
        state=EnvelopeState.ACTIVE,
        created=envelope.created,
        payload=envelope.signed.payload,
        signature=envelope.signed.signature,
        key_id=envelope.signed.key_id,
    )
