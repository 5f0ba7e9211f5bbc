"""The books of a settled window: its records, their trees and totals, the header that commits to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.header import WindowHeader
from contracts.leaves import Leaf, PostingLeaf, ReadingLeaf, TradeLeaf
from contracts.merkle import MerkleTree


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBooks:
    """All records of one run of one window.

    Attributes
    ----------
    trades : tuple of TradeLeaf
        What was cleared.
    readings : tuple of ReadingLeaf
        What was metered.
    postings : tuple of PostingLeaf
        Who owes whom; they sum to zero.
    """

    trades: tuple[TradeLeaf, ...]
    readings: tuple[ReadingLeaf, ...]
    postings: tuple[PostingLeaf, ...]

    def trades_tree(self) -> MerkleTree:
        """Tree of the trades' leaves."""
        return MerkleTree([trade.hash for trade in self.trades])

    def settlement_tree(self) -> MerkleTree:
        """Tree of the readings' leaves and then the postings'."""
        return MerkleTree([leaf.hash for leaf in (*self.readings, *self.postings)])

    def header(
        self,
        *,
        microgrid: str,
        window: str,
        window_start: int,
        window_end: int,
        run: int,
        previous: bytes,
        inputs_digest: bytes,
    ) -> WindowHeader:
        """The header that commits to these books; the arguments are its fields."""
        return WindowHeader(
            microgrid=microgrid,
            window=window,
            window_start=window_start,
            window_end=window_end,
            run=run,
            previous=previous,
            inputs_digest=inputs_digest,
            trades_root=self.trades_tree().root,
            trades_count=len(self.trades),
            settlement_root=self.settlement_tree().root,
            readings_count=len(self.readings),
            postings_count=len(self.postings),
            traded_energy_wh=traded_energy_wh(self.trades),
            turnover_micro=turnover_micro(self.trades),
        )


def traded_energy_wh(trades: Iterable[TradeLeaf]) -> int:
    """Energy of the trades between neighbours, Wh."""
    return sum(trade.energy_wh for trade in trades if trade.between_neighbours)


def turnover_micro(trades: Iterable[TradeLeaf]) -> int:
    """Money of the trades between neighbours, micro-currency, each trade rounded on its own."""
    return sum(
        round_half_even(trade.energy_wh * trade.price_micro_per_kwh, 1000)
        for trade in trades
        if trade.between_neighbours
    )


def round_half_even(numerator: int, denominator: int) -> int:
    """The integer nearest to a fraction, of two equally near ones the even one; `denominator` is positive."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    return quotient + (twice > denominator or (twice == denominator and quotient % 2 == 1))


def committed_root(header: WindowHeader, kind: type[Leaf]) -> bytes:
    """Root in a header of the tree that holds leaves of a kind."""
    return header.trades_root if kind is TradeLeaf else header.settlement_root


def committed_count(header: WindowHeader, kind: type[Leaf]) -> int:
    """How many records of a kind a header commits to."""
    counts = {
        TradeLeaf: header.trades_count,
        ReadingLeaf: header.readings_count,
        PostingLeaf: header.postings_count,
    }
    return counts[kind]
