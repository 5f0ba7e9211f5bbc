"""Brings journal and database together when a service starts: neither may know less than the other."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from controller.errors import StoreError
from controller.limits import records
from controller.limits.journal import Journal
from controller.limits.values import Envelope, Signature, Source
from controller.microgrid import EnvelopeRecord, EnvelopeState
from controller.store import limits, registry
from controller.store.database import Database

log = logging.getLogger(__name__)


def restore(journal: Journal, database: Database) -> None:
    """Let the journal hold everything that the database knows: after its loss, or an earlier version's envelopes.

    Raises
    ------
    StoreError
        If the two tell different stories.
    """
    known = database.run(limits.journaled)
    own = journal.records()
    other = first_other(own, known)
    if other is not None:
        raise StoreError(f"limits journal: record {other} is not the one that the database knows; they belong apart")
    if len(own) < len(known):
        log.warning(
            "limits journal: it holds %d records, the database knows %d: it was damaged, cut or lost; the missing ones "
            "are written to it again from the database",
            len(own),
            len(known),
        )
    for record in known[len(own) :]:
        journal.append(record)
    for record in database.run(_unjournaled, journal.records()):
        journal.append(record)


def first_other(own: Sequence[Mapping[str, Any]], known: Sequence[Mapping[str, Any]]) -> int | None:
    """The number, from 1 on, of the first record that both have and that differs; None where they tell one story."""
    pairs = enumerate(zip(own, known, strict=False), 1)
    return next((number for number, (ours, theirs) in pairs if ours != theirs), None)


def _unjournaled(connection: Connection, journal: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Envelopes that an earlier version kept in the database alone, as records."""
    seen = {(r["envelope"]["microgrid"], r["envelope"]["id"]) for r in journal if r["kind"] == "envelope"}
    found: list[Mapping[str, Any]] = []
    for microgrid in registry.microgrid_ids(connection):
        rows = [row for row in registry.envelopes(connection, microgrid) if (microgrid, row.id) not in seen]
        for row in sorted(rows, key=lambda row: (row.created, row.id)):
            found.append({"kind": "envelope", "envelope": records.plain(_envelope(connection, microgrid, row))})
            if row.state is EnvelopeState.CANCELLED:
                found.append({"kind": "cancel", "microgrid": microgrid, "id": row.id})
    return found


def _envelope(connection: Connection, microgrid: str, row: EnvelopeRecord) -> Envelope:
    key = registry.key(connection, microgrid, row.key_id)
    return Envelope(
        microgrid=microgrid,
        id=row.id,
        # Earlier versions let all envelopes hold at once: each is a source of its own.
        source=Source(holder=key.holder if key is not None else "dso", name=row.id),
        target=row.target,
        periods=row.periods,
        reason=row.reason,
        created=row.created,
        signed=Signature(payload=row.payload, signature=row.signature, key_id=row.key_id),
    )
