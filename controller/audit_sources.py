"""Verifies what others signed and the store keeps, and that its rows are what was signed."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, exists, select

from contracts.report import Check
from controller.refusals import Refusal
from controller.signing import verifies
from controller.store import registry, schema
from controller.wire.community import read_batch

ESTIMATED = "ESTIMATED"
"""The quality of what no meter said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of what is signed.

    Attributes
    ----------
    name : what messages call one
    table : where it is kept
    type_name : of the payload
    purpose : of the key that signs it
    holder : column that says whose key that is
    key : columns that tell one from another
    """

    name: str
    table: str
    type_name: str
    purpose: str
    holder: str
    key: tuple[str, ...]


KINDS = (
    Kind(
        name="order",
        table="orders",
        type_name="gridpact.v1.Order",
        purpose="ORDER",
        holder="member",
        key=("window", "member", "version"),
    ),
    Kind(
        name="batch of readings",
        table="reading_batches",
        type_name="gridpact.v1.ReadingBatch",
        purpose="READING",
        holder="gateway",
        key=("gateway", "sequence"),
    ),
    Kind(
        name="veto",
        table="vetoes",
        type_name="gridpact.v1.Veto",
        purpose="ENVELOPE",
        holder="holder",
        key=("id",),
    ),
    Kind(
        name="group limit",
        table="group_limits",
        type_name="gridpact.v1.GroupLimit",
        purpose="ENVELOPE",
        holder="holder",
        key=("group", "holder", "counter"),
    ),
    Kind(
        name="event of demand response",
        table="demand_events",
        type_name="gridpact.v1.DemandEvent",
        purpose="ENVELOPE",
        holder="holder",
        key=("id",),
    ),
    Kind(
        name="offer of demand response",
        table="demand_offers",
        type_name="gridpact.v1.DemandOffer",
        purpose="OFFER",
        holder="aggregator",
        key=("event", "id"),
    ),
)


def audit_sources(connection: Connection, microgrid: str) -> Iterator[Check]:
    """Whether what was signed verifies still, and the meters' readings are what gateways signed.

    Parameters
    ----------
    microgrid : its id
    """
    keys = {key.key_id: key for key in registry.keys(connection, microgrid)}
    for kind in KINDS:
        rows = connection.execute(_of(kind, microgrid)).all()
        failures = [
            f"{kind.name} {_name(kind, row)}: signature: {why}" for row in rows if (why := _refused(kind, row, keys))
        ]
        yield Check(name=f"signatures of {len(rows):,} rows of {kind.table}", failures=tuple(failures))
    found = [*_readings(connection, microgrid)]
    failures = [why for why in found if why]
    failures += [*_unsigned(connection, microgrid), *_unfounded(connection, microgrid)]
    yield Check(name=f"{len(found):,} readings as gateways signed them", failures=tuple(failures))


def _of(kind: Kind, microgrid: str) -> Select[Any]:
    table = schema.metadata.tables[kind.table]
    if "microgrid" in table.c:
        found = select(table).where(table.c.microgrid == microgrid)
    else:
        windows = schema.windows
        found = select(table).join(windows, windows.c.name == table.c.window).where(windows.c.microgrid == microgrid)
    return found.order_by(*(table.c[name] for name in kind.key))


def _name(kind: Kind, row: Row[Any]) -> str:
    return " ".join(str(row._mapping[name]) for name in kind.key)


def _refused(kind: Kind, row: Row[Any], keys: dict[str, Row[Any]]) -> str:
    """Why a signature does not count; empty where it does."""
    key, holder = keys.get(row.key_id), row._mapping[kind.holder]
    if key is None or (key.purpose, key.holder) != (kind.purpose, holder):
        return f"got key {row.key_id!r}, wanted a registered {kind.purpose} key of {holder}"
    if not verifies(key.public_key, row.signature, kind.type_name, row.payload):
        return f"does not verify with key {row.key_id!r}"
    return ""


def _readings(connection: Connection, microgrid: str) -> Iterator[str]:
    """Of each kept reading of a gateway what is wrong with it; empty where nothing is."""
    table, signed = schema.meter_readings, schema.reading_batches
    payloads = connection.execute(
        select(signed).where(signed.c.microgrid == microgrid).order_by(signed.c.gateway, signed.c.sequence)
    ).all()
    columns = ("member", "instant", "import_wh", "export_wh")
    for batch in payloads:
        place = f"batch of readings {batch.gateway} {batch.sequence}"
        try:
            sequence, readings = read_batch(batch.payload, microgrid=microgrid)
        except Refusal as err:
            yield f"{place}: {err}"
            continue
        if sequence != batch.sequence:
            yield f"{place}: sequence: the row has {batch.sequence}, what was signed {sequence}"
        said = {tuple(asdict(reading)[name] for name in columns) for reading in readings}
        rows = connection.execute(
            select(table)
            .where(table.c.microgrid == microgrid, table.c.gateway == batch.gateway, table.c.sequence == batch.sequence)
            .order_by(table.c.instant, table.c.member)
        )
        for row in rows:
            values = tuple(row._mapping[name] for name in columns)
            named = f"reading of {row.member} at {row.instant}"
            yield "" if values in said else f"{named}: got {values[2:]} Wh, not what {place} says"


def _unsigned(connection: Connection, microgrid: str) -> Iterator[str]:
    """Which readings are kept as a gateway's whose signed batch is not there; those of operators have no sequence."""
    kept, signed = schema.meter_readings, schema.reading_batches
    same = [signed.c[name] == kept.c[name] for name in ("microgrid", "gateway", "sequence")]
    rows = connection.execute(
        select(kept)
        .where(kept.c.microgrid == microgrid, kept.c.sequence > 0, ~exists().where(*same))
        .order_by(kept.c.gateway, kept.c.sequence, kept.c.instant, kept.c.member)
    )
    for row in rows:
        yield f"reading of {row.member} at {row.instant}: batch {row.gateway} {row.sequence} is missing, which says so"


def _unfounded(connection: Connection, microgrid: str) -> Iterator[str]:
    """Which readings were sealed that are not kept so; estimates follow from others."""
    sealed, kept, windows = schema.readings, schema.meter_readings, schema.windows
    same = (
        kept.c.microgrid == microgrid,
        kept.c.member == sealed.c.meter,
        kept.c.instant == sealed.c.instant,
        kept.c.import_wh == sealed.c.import_wh,
        kept.c.export_wh == sealed.c.export_wh,
        kept.c.quality == sealed.c.quality,
    )
    rows = connection.execute(
        select(sealed)
        .join(windows, windows.c.name == sealed.c.window)
        .where(windows.c.microgrid == microgrid, sealed.c.quality != ESTIMATED, ~exists().where(*same))
        .order_by(windows.c.start, sealed.c.ix)
    )
    for row in rows:
        yield f"reading {row.ix} of window {row.window}: no reading of {row.meter} at {row.instant} is kept as it says"
