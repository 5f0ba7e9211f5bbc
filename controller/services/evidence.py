"""Everything that a run of a window was decided on and settled with, read back from the store for validators."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, select

from contracts.books import WindowBooks
from controller.closing import inputs_of
from controller.limits import records
from controller.sealed import records_of
from controller.services.proofs import header_message, settled_header
from controller.snapshot import Snapshot
from controller.store import adjustments, clearings, evidence, limits, meters, registry, schema
from controller.store.market import WindowRow
from controller.wire.market import uplift_messages
from gridpact.v1 import operator_pb2, types_pb2
from gridpact.v1 import validator_pb2 as pb


def evidence_of(connection: Connection, row: WindowRow, run: int) -> pb.GetWindowEvidenceResponse:
    """The evidence of a run of a settled window."""
    header = settled_header(connection, row.name, run)
    snapshots = _snapshots(connection, row)
    orders = _orders(connection, {digest for each in snapshots for digest in each.order_digests.values()})
    bounding = _limits(
        connection, row.microgrid, {limit.digest for each in snapshots for limit in each.limits if limit.digest}
    )
    vetoes = _vetoes(connection, row.microgrid, {veto.digest for each in snapshots for veto in each.vetoes})
    readings = _readings(connection, row)
    signed = [*orders, *bounding, *vetoes, *readings]
    return pb.GetWindowEvidenceResponse(
        header=header_message(header),
        runs=[_run(records_of(connection, row.name, each)) for each in range(run + 1)],
        inputs_json=inputs_of(connection, row),
        clearings=[
            pb.ClearingAnswer(adjustment=number, answer=witness)
            for number, witness in clearings.of_window(connection, row.name).items()
        ],
        uplifts=uplift_messages(row.uplifts),
        failure=row.failure,
        orders=orders,
        limits=bounding,
        vetoes=vetoes,
        readings=readings,
        keys=_keys(connection, row.microgrid, {each.key_id for each in signed}),
        settlement_json=evidence.settlement(connection, row.name, run) or "",
    )


def _snapshots(connection: Connection, row: WindowRow) -> list[Snapshot]:
    texts = [row.snapshot, *(each.snapshot for each in adjustments.adjustments(connection, row.name))]
    return [Snapshot.from_json(text) for text in texts if text]


def _run(books: WindowBooks) -> pb.RunRecords:
    return pb.RunRecords(
        trades_json=[json.dumps(leaf.to_json(), sort_keys=True) for leaf in books.trades],
        readings_json=[json.dumps(leaf.to_json(), sort_keys=True) for leaf in books.readings],
        postings_json=[json.dumps(leaf.to_json(), sort_keys=True) for leaf in books.postings],
    )


def _orders(connection: Connection, digests: Iterable[str]) -> list[types_pb2.Signed]:
    table = schema.orders
    wanted = [bytes.fromhex(digest) for digest in sorted(digests)]
    rows = connection.execute(select(table).where(table.c.digest.in_(wanted)).order_by(table.c.window, table.c.member))
    return _distinct(_signed(row) for row in rows)


def _vetoes(connection: Connection, microgrid: str, digests: Iterable[str]) -> list[types_pb2.Signed]:
    table = schema.vetoes
    rows = connection.execute(
        select(table).where(table.c.microgrid == microgrid, table.c.digest.in_(sorted(digests))).order_by(table.c.id)
    )
    return [_signed(row) for row in rows]


def _limits(connection: Connection, microgrid: str, digests: set[str]) -> list[types_pb2.Signed]:
    """Envelopes and defaults of these digests, whether they still hold or not."""
    found: dict[str, types_pb2.Signed] = {}
    for record in limits.journaled(connection) if digests else ():
        stated = record.get("envelope") or record.get("default")
        if stated is None or records.microgrid_of(record) != microgrid:
            continue
        value = records.envelope(stated) if record.get("envelope") else records.default(stated)
        digest = hashlib.sha256(value.signed.payload).hexdigest()
        if digest in digests:
            found[digest] = types_pb2.Signed(
                payload=value.signed.payload, signature=value.signed.signature, key_id=value.signed.key_id
            )
    return list(found.values())


def _readings(connection: Connection, row: WindowRow) -> list[types_pb2.Signed]:
    """The batches of which any reading is at one of the window's instants."""
    return [_signed(each) for each in meters.batches_of(connection, row.microgrid, row.start, row.end)]


def _keys(connection: Connection, microgrid: str, ids: set[str]) -> list[pb.RegisteredKey]:
    return [
        pb.RegisteredKey(
            key_id=key.key_id,
            purpose=operator_pb2.KeyPurpose.Value(f"KEY_PURPOSE_{key.purpose}"),
            holder=key.holder,
            public_key=key.public_key,
        )
        for key in registry.keys(connection, microgrid)
        if key.key_id in ids
    ]


def _signed(row: Row[Any]) -> types_pb2.Signed:
    values = row._mapping
    return types_pb2.Signed(payload=values["payload"], signature=values["signature"], key_id=values["key_id"])


def _distinct(messages: Iterable[types_pb2.Signed]) -> list[types_pb2.Signed]:
    return list({each.SerializeToString(deterministic=True): each for each in messages}.values())
