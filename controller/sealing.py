"""The records of a settled window as salted leaves, and the header that commits to them."""

import hmac
import secrets
from collections.abc import Callable

from contracts.books import WindowBooks
from contracts.hashing import ZERO_HASH
from contracts.header import WindowHeader
from contracts.leaves import PostingLeaf, ReadingLeaf, TradeLeaf
from controller.ledger import Posting
from controller.microgrid import MeterReading, Microgrid, Trade, Window

SaltSource = Callable[[str, str, int], bytes]
"""The 32-byte salt of a record: its window, its kind, its index."""


def random_salts(window: str, kind: str, index: int) -> bytes:
    """A salt from the system's randomness."""
    del window, kind, index
    return secrets.token_bytes(32)


def seeded_salts(seed: bytes) -> SaltSource:
    """Salts that follow from a secret seed, so that a demonstration repeats exactly."""

    def salt(window: str, kind: str, index: int) -> bytes:
        return hmac.digest(seed, f"{window}\0{kind}\0{index}".encode(), "sha256")

    return salt


def trade_leaf(window: str, index: int, trade: Trade, salt: bytes) -> TradeLeaf:
    """The leaf of a trade."""
    return TradeLeaf(
        window=window,
        index=index,
        seller=trade.seller,
        buyer=trade.buyer,
        mtu_start=trade.mtu_start,
        energy_wh=trade.energy_wh,
        price_micro_per_kwh=trade.price_micro_per_kwh,
        salt=salt,
    )


def trade_of(leaf: TradeLeaf) -> Trade:
    """The trade of a leaf."""
    return Trade(
        seller=leaf.seller,
        buyer=leaf.buyer,
        mtu_start=leaf.mtu_start,
        energy_wh=leaf.energy_wh,
        price_micro_per_kwh=leaf.price_micro_per_kwh,
    )


def reading_leaf(window: str, index: int, reading: MeterReading, salt: bytes) -> ReadingLeaf:
    """The leaf of a reading."""
    return ReadingLeaf(
        window=window,
        index=index,
        meter=reading.member,
        instant=reading.instant,
        import_wh=reading.import_wh,
        export_wh=reading.export_wh,
        quality=reading.quality,
        salt=salt,
    )


def posting_leaf(window: str, index: int, posting: Posting, salt: bytes) -> PostingLeaf:
    """The leaf of a posting."""
    return PostingLeaf(
        window=window,
        index=index,
        account=posting.account,
        kind=posting.kind,
        reference=posting.reference,
        amount_micro=posting.amount_micro,
        salt=salt,
    )


def posting_of(leaf: PostingLeaf) -> Posting:
    """The posting of a leaf."""
    return Posting(account=leaf.account, kind=leaf.kind, reference=leaf.reference, amount_micro=leaf.amount_micro)


def seal(
    microgrid: Microgrid,
    window: Window,
    settled: WindowBooks,
    *,
    previous: bytes | None,
    inputs_digest: bytes,
    run: int = 0,
) -> WindowHeader:
    """The header of a run of a settled window.

    Parameters
    ----------
    microgrid, window : what was settled
    settled : everything that the header commits to
    previous : hash of the header before; None at the start of the chain
    inputs_digest : digest of the snapshot that the window was decided on
    run : 0 for its first settlement, then one more for each correction
    """
    return settled.header(
        microgrid=microgrid.name,
        window=window.name,
        window_start=window.start,
        window_end=window.end,
        run=run,
        previous=ZERO_HASH if previous is None else previous,
        inputs_digest=inputs_digest,
    )
