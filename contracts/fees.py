"""What transactions pay: from the chain's base fee, never above a cap, and more when they are stuck."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.errors import AnchorError
from contracts.transactions import FeePolicy

GWEI = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeRules:
    """What the sender is willing to pay.

    Attributes
    ----------
    cap : int
        Most wei per gas, base fee and tip together.
    tip : int
        Wei per gas for the block's producer at the first attempt, at most `cap`.
    """

    cap: int = 100 * GWEI
    tip: int = GWEI

    def __post_init__(self) -> None:
        if not 0 < self.tip <= self.cap:
            raise AnchorError(f"fees: got a tip of {self.tip} wei, wanted 1 to the cap, {self.cap}")

    def first(self, base_fee: int) -> FeePolicy | None:
        """Fees of a first attempt; None where the base fee leaves no room for a tip under the cap.

        Twice the base fee lasts for five full blocks in a row: each raises it by an eighth (EIP-1559).
        """
        if base_fee + self.tip > self.cap:
            return None
        return FeePolicy(max_fee_per_gas=min(self.cap, 2 * base_fee + self.tip), max_priority_fee_per_gas=self.tip)

    def replacement(self, before: FeePolicy, base_fee: int) -> FeePolicy | None:
        """Fees with which nodes take a transaction in place of one of the same nonce; None where the cap forbids it.

        Nodes want both fees raised by a tenth or an eighth, whichever client they are: an eighth it is, rounded up.
        """
        tip = max(_raised(before.max_priority_fee_per_gas), self.tip)
        most = max(_raised(before.max_fee_per_gas), min(self.cap, 2 * base_fee + tip))
        if most > self.cap or base_fee + tip > self.cap:
            return None
        return FeePolicy(max_fee_per_gas=most, max_priority_fee_per_gas=tip)


def _raised(fee: int) -> int:
    return -(-fee * 9 // 8)
