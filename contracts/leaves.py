"""The records of a dispatch window and their leaves in its Merkle trees.

A leaf is the double hash of OpenZeppelin's StandardMerkleTree over the schema's name and all fields. The
salt, 32 random bytes of each record's own, keeps a stranger from guessing the few plausible values behind a
neighbour's leaf.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contracts.columns import Amount, Bytes32, Count, Energy, Identity, Instant, Note, Price
from contracts.hashing import hash_values_twice
from contracts.records import Record

GRID = "grid"
"""The seller or buyer of a trade that is not between neighbours."""


class Leaf(Record):
    """A record that is a leaf of one of its window's trees."""

    __slots__ = ("_hash",)

    _hash: bytes  # no field of what is hashed: declared in __slots__ alone

    kind_name: ClassVar[str]
    """What one is called: ``trade``, ``reading`` or ``posting``."""

    window: Identity
    index: Count

    @property
    def hash(self) -> bytes:
        """Leaf hash, 32 bytes."""
        # Leaves are compared, proven and put into trees: hashing them anew is most of what a verification takes.
        try:
            return self._hash
        except AttributeError:
            object.__setattr__(self, "_hash", hash_values_twice(self.abi_types(), self.abi_values()))
            return self._hash

    @property
    def name(self) -> str:
        """How messages name the record: its kind, index and window."""
        return f"{self.kind_name} {self.index} of window {self.window}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeLeaf(Leaf):
    """One cleared trade.

    Attributes
    ----------
    window : str
        Resource name of the dispatch window.
    index : int
        Place among the window's trades, from zero.
    seller, buyer : str
        Peers, or `GRID` on one side.
    mtu_start : int
        Start of the market time unit, Unix seconds UTC.
    energy_wh : int
        Energy traded, Wh, 0 to 1e12.
    price_micro_per_kwh : int
        Price, micro-currency per kWh, at most 1e9 either way.
    salt : bytes
        32 random bytes.
    """

    schema_name: ClassVar[str] = "gridpact.trade.v1"
    kind_name: ClassVar[str] = "trade"

    window: Identity
    index: Count
    seller: Identity
    buyer: Identity
    mtu_start: Instant
    energy_wh: Energy
    price_micro_per_kwh: Price
    salt: Bytes32

    @property
    def between_neighbours(self) -> bool:
        """Whether neither side is the grid."""
        return GRID not in {self.seller, self.buyer}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingLeaf(Leaf):
    """A meter's register values at an instant.

    Attributes
    ----------
    window : str
        Resource name of the dispatch window that the reading settles.
    index : int
        Place among the window's readings, from zero.
    meter : str
        The meter.
    instant : int
        When it was read, Unix seconds UTC.
    import_wh, export_wh : int
        Registers of energy drawn from and fed to the grid, Wh, 0 to 1e12.
    quality : str
        How the value came about, for instance ``MEASURED``.
    salt : bytes
        32 random bytes.
    """

    schema_name: ClassVar[str] = "gridpact.reading.v1"
    kind_name: ClassVar[str] = "reading"

    window: Identity
    index: Count
    meter: Identity
    instant: Instant
    import_wh: Energy
    export_wh: Energy
    quality: Identity
    salt: Bytes32


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingLeaf(Leaf):
    """One line of the double-entry ledger.

    Attributes
    ----------
    window : str
        Resource name of the dispatch window that the posting settles.
    index : int
        Place among the window's postings, from zero.
    account : str
        Whose account.
    kind : str
        What for, for instance ``TRADE`` or ``NETWORK_CHARGE``.
    reference : str
        What it goes back to, for instance a trade; may be empty.
    amount_micro : int
        Micro-currency, at most 1e18 either way; the postings of a window sum to zero.
    salt : bytes
        32 random bytes.
    """

    schema_name: ClassVar[str] = "gridpact.posting.v1"
    kind_name: ClassVar[str] = "posting"

    window: Identity
    index: Count
    account: Identity
    kind: Identity
    reference: Note
    amount_micro: Amount
    salt: Bytes32
