"""The header of a settled dispatch window: what is hashed, chained to its predecessor and anchored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from contracts.columns import Bytes32, Count, Identity, Instant, Integer
from contracts.errors import EvidenceError
from contracts.hashing import ZERO_HASH, hash_values
from contracts.records import Record

GENESIS_PREVIOUS = ZERO_HASH
"""`previous` of the first header of a microgrid."""

_SchemaVersion = Annotated[int, Integer(abi="uint64", least=1, most=1)]
_TotalEnergy = Annotated[int, Integer(abi="uint64", least=0, most=10**18)]
_TotalAmount = Annotated[int, Integer(abi="int64", least=-(10**18), most=10**18)]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowHeader(Record):
    """Commitment to everything that was settled in one run of one dispatch window.

    Attributes
    ----------
    schema : int
        Version of this layout, 1.
    microgrid : str
        Resource name of the microgrid.
    window : str
        Resource name of the dispatch window.
    window_start, window_end : int
        The half-open interval, Unix seconds UTC; the end is after the start.
    run : int
        Which settlement of the window: 0, then one more for each correction.
    previous : bytes
        Hash of the microgrid's header before this one; `GENESIS_PREVIOUS` for its first.
    inputs_digest : bytes
        Digest of what was frozen at gate closure.
    trades_root : bytes
        Root of the tree of the trades' leaves.
    trades_count : int
        How many trades.
    settlement_root : bytes
        Root of the one tree of the readings' and the postings' leaves.
    readings_count, postings_count : int
        How many of each.
    traded_energy_wh : int
        Energy of the trades between neighbours, Wh; trades with the grid do not count.
    turnover_micro : int
        Money of the trades between neighbours, micro-currency, each trade rounded half to even.
    """

    schema_name: ClassVar[str] = "gridpact.header.v1"

    schema: _SchemaVersion = 1
    microgrid: Identity
    window: Identity
    window_start: Instant
    window_end: Instant
    run: Count
    previous: Bytes32
    inputs_digest: Bytes32
    trades_root: Bytes32
    trades_count: Count
    settlement_root: Bytes32
    readings_count: Count
    postings_count: Count
    traded_energy_wh: _TotalEnergy
    turnover_micro: _TotalAmount

    def __post_init__(self) -> None:
        Record.__post_init__(self)
        if self.window_end <= self.window_start:
            raise EvidenceError(
                f"an instant after window_start {self.window_start}", got=self.window_end, field="window_end"
            )

    @property
    def hash(self) -> bytes:
        """What the contract holds for this header, 32 bytes."""
        return hash_values(self.abi_types(), self.abi_values())

    @property
    def anchor_key(self) -> bytes:
        """Where the contract holds it, 32 bytes."""
        return anchor_key(self.microgrid, self.window_start, self.run)


def anchor_key(microgrid: str, window_start: int, run: int) -> bytes:
    """Key of one settlement run of one window in the registry, 32 bytes.

    Parameters
    ----------
    microgrid : str
        Resource name of the microgrid.
    window_start : int
        Unix seconds, UTC.
    run : int
        0 for the first settlement, then one more for each correction.
    """
    return hash_values(("string", "string", "uint64", "uint64"), ("gridpact.anchor.v1", microgrid, window_start, run))
