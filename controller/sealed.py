"""The sealed records of a settled window, read back from the store."""

from sqlalchemy import Connection

from contracts.books import WindowBooks
from contracts.leaves import PostingLeaf, ReadingLeaf
from controller.sealing import trade_leaf
from controller.store import evidence, market


def records_of(connection: Connection, window: str, run: int = 0) -> WindowBooks:
    """All sealed records of a run of a settled window; corrections trade nothing.

    Raises
    ------
    EvidenceError
        If a row is none that can have been sealed.
    """
    trades = market.trades(connection, window) if run == 0 else []
    return WindowBooks(
        trades=tuple(trade_leaf(window, ix, trade, salt) for ix, (trade, salt) in enumerate(trades)),
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
            for r in evidence.readings(connection, window, run)
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
            for r in evidence.postings(connection, window, run)
        ),
    )
