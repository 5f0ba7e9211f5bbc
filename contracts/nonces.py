"""Which nonce a row's transaction gets: gaps first, so that what waits behind them can go on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Nonces:
    """The nonces of an account from the first that the chain has not used.

    A chain includes an account's transactions in the order of their nonces, without a gap. A gap comes about when a
    reorganisation takes back a transaction that nobody wants any more, or when the store is older than the chain.

    Parameters
    ----------
    first : int
        How many transactions of the account the chain includes.
    live : iterable of int
        Nonces of stored transactions that can still be included: `first` or more.
    """

    def __init__(self, first: int, live: Iterable[int]) -> None:
        taken = set(live)
        self.first = first
        self._fresh = max(taken, default=first - 1) + 1
        self._gaps = [nonce for nonce in range(first, self._fresh) if nonce not in taken]

    def wanted(self, own: Sequence[int]) -> int | None:
        """The nonce for which a row's next transaction has to be signed; None where it needs none.

        A row in front takes a gap even if it has a later nonce, since it could not be included before the gap is
        filled. Whichever of its transactions comes second then has no effect.

        Parameters
        ----------
        own : sequence of int
            The row's live nonces.
        """
        if self._gaps and (not own or min(own) > self._gaps[0]):
            return self._gaps[0]
        return None if own else self._fresh

    def take(self, nonce: int) -> None:
        """Count a nonce that `wanted` gave as used."""
        if self._gaps and nonce == self._gaps[0]:
            self._gaps.pop(0)
        else:
            self._fresh = nonce + 1
