"""Headers, records and their proofs as messages, read back from the store."""

import json

from sqlalchemy import Connection

from contracts.evidence import StatedHeader, StatedRecord
from contracts.header import WindowHeader
from contracts.leaves import PostingLeaf, ReadingLeaf, TradeLeaf
from contracts.proof_file import BatchPlace, SingleProof
from contracts.registry import Registry
from contracts.strict_json import render
from controller.refusals import not_found, not_now, out_of_range
from controller.registry_identity import RegistryIdentity
from controller.sealed import records_of
from controller.store import batches, evidence
from gridpact.v1 import audit_pb2 as pb


def header_message(header: WindowHeader) -> pb.Header:
    """The message of a header."""
    return pb.Header(
        schema=header.schema,
        microgrid=header.microgrid,
        window=header.window,
        window_start=header.window_start,
        window_end=header.window_end,
        run=header.run,
        previous=header.previous,
        inputs_digest=header.inputs_digest,
        trades_root=header.trades_root,
        trades_count=header.trades_count,
        settlement_root=header.settlement_root,
        readings_count=header.readings_count,
        postings_count=header.postings_count,
        traded_energy_wh=header.traded_energy_wh,
        turnover_micro=header.turnover_micro,
        hash=header.hash,
    )


def settled_header(connection: Connection, window: str, run: int = 0) -> WindowHeader:
    """The header of a run of a window, or the refusal that it is not settled yet, or not so often."""
    header = evidence.header(connection, window, run)
    if header is None:
        known = evidence.runs(connection, [window]).get(window, 0)
        if known == 0:
            raise not_now("NOT_SETTLED", f"{window}: not settled yet")
        raise out_of_range("run", got=str(run), wanted=f"0 to {known - 1}: the window was corrected {known - 1} times")
    return header


def trade_proof(
    connection: Connection, window: str, index: int, name: str, *, registry: RegistryIdentity | None
) -> pb.Proof:
    """The proof of a trade."""
    return proof(connection, window, "trades", index, name, registry=registry)


def proof(
    connection: Connection, window: str, collection: str, index: int, name: str, *, registry: RegistryIdentity | None
) -> pb.Proof:
    """The proof of a record: ``collection`` is trades, readings or postings; ``registry`` holds its batch."""
    run = evidence.run_of(connection, window, collection, index)
    header = settled_header(connection, window, 0 if run is None else run)
    if run is None:
        raise not_found(name)
    records = records_of(connection, window, run)
    leaves: tuple[TradeLeaf, ...] | tuple[ReadingLeaf, ...] | tuple[PostingLeaf, ...]
    match collection:
        case "trades":
            leaves, tree, before = records.trades, records.trades_tree(), 0
        case "readings":
            leaves, tree, before = records.readings, records.settlement_tree(), 0
        case _:
            leaves, tree, before = records.postings, records.settlement_tree(), len(records.readings)
    # The indices of a correction go on from those of the runs before it.
    place = index - leaves[0].index
    leaf, path = leaves[place], tuple(tree.proof(before + place))
    return pb.Proof(
        kind=collection.removesuffix("s"),
        record_json=json.dumps(leaf.to_json(), sort_keys=True),
        path=path,
        header=header_message(header),
        file_json="" if registry is None else _file(connection, leaf, path, header, registry),
    )


def _file(
    connection: Connection,
    leaf: TradeLeaf | ReadingLeaf | PostingLeaf,
    path: tuple[bytes, ...],
    header: WindowHeader,
    registry: RegistryIdentity,
) -> str:
    """What proves a record with nothing of the service; empty until its header is in a batch."""
    microgrid = header.microgrid.removeprefix("microgrids/")
    position = evidence.position(connection, header.window, header.run)
    number = None if position is None else batches.place_of(connection, microgrid, position)
    kept = None if number is None else batches.batch(connection, microgrid, number)
    if position is None or kept is None:
        return ""
    place = BatchPlace(
        number=kept.batch.number,
        previous=kept.batch.previous,
        windows_root=kept.batch.windows_root,
        position=position,
        path=kept.batch.proof(position),
        signatures=kept.signatures,
        transaction=batches.transaction_of(connection, microgrid, kept.batch.number),
    )
    found = SingleProof(
        stated=StatedRecord(record=leaf, leaf=leaf.hash, proof=path, place="record"),
        headers=(StatedHeader(header=header, hash=header.hash, place="header 1"),),
        batch=place,
        registry=Registry(chain_id=registry.domain.chain_id, address=registry.domain.contract),
    )
    return render(found.to_json())
