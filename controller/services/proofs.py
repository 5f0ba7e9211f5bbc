"""Headers, records and their proofs as messages, read back from the store."""

import json

from sqlalchemy import Connection

from contracts.books import WindowBooks
from contracts.header import WindowHeader
from contracts.leaves import PostingLeaf, ReadingLeaf, TradeLeaf
from controller.refusals import not_found, not_now
from controller.sealing import trade_leaf
from controller.store import evidence, market
from gridpact.v1 import audit_pb2 as pb


def records_of(connection: Connection, window: str) -> WindowBooks:
    """All sealed records of a settled window."""
    return WindowBooks(
        trades=tuple(
            trade_leaf(window, ix, trade, salt) for ix, (trade, salt) in enumerate(market.trades(connection, window))
        ),
        readings=tuple(
            ReadingLeaf(
                window=window,
                index=r.ix,
                meter=r.meter,
                instant=r.instant,
                import_wh=r.import_wh,
                export_wh=r.export_wh,
                quality=r.quality,
                salt=r.salt,
            )
            for r in evidence.readings(connection, window)
        ),
        postings=tuple(
            PostingLeaf(
                window=window,
                index=r.ix,
                account=r.account,
                kind=r.kind,
                reference=r.reference,
                amount_micro=r.amount_micro,
                salt=r.salt,
            )
            for r in evidence.postings(connection, window)
        ),
    )


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


def settled_header(connection: Connection, window: str) -> WindowHeader:
    """The header of a window, or the refusal that it is not settled yet."""
    header = evidence.header(connection, window)
    if header is None:
        raise not_now("NOT_SETTLED", f"{window}: not settled yet")
    return header


def trade_proof(connection: Connection, window: str, index: int, name: str) -> pb.Proof:
    """The proof of a trade."""
    return proof(connection, window, "trades", index, name)


def proof(connection: Connection, window: str, collection: str, index: int, name: str) -> pb.Proof:
    """The proof of a record: ``collection`` is trades, readings or postings."""
    header = settled_header(connection, window)
    records = records_of(connection, window)
    leaves: tuple[TradeLeaf, ...] | tuple[ReadingLeaf, ...] | tuple[PostingLeaf, ...]
    match collection:
        case "trades":
            leaves, tree, place = records.trades, records.trades_tree(), index
        case "readings":
            leaves, tree, place = records.readings, records.settlement_tree(), index
        case _:
            leaves, tree, place = records.postings, records.settlement_tree(), len(records.readings) + index
    if index >= len(leaves):
        raise not_found(name)
    return pb.Proof(
        kind=collection.removesuffix("s"),
        record_json=json.dumps(leaves[index].to_json(), sort_keys=True),
        path=list(tree.proof(place)),
        header=header_message(header),
    )
