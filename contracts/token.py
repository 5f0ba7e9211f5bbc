"""Calls of an ERC-20 token."""

from __future__ import annotations

from contracts.chain import Chain
from contracts.contract import Contract, call_data
from contracts.transactions import Address, FeePolicy, Transaction

_TRANSFER_GAS = 100_000


class Token(Contract):
    """A token whose code need not be known: money that communities chose."""

    __slots__ = ()

    def balance(self, chain: Chain, account: Address) -> int:
        """What an account has, in the token's smallest unit."""
        return self.ask_number(chain, call_data("balanceOf", ("address",), account))

    def supply(self, chain: Chain) -> int:
        """What all accounts have, in the token's smallest unit."""
        return self.ask_number(chain, call_data("totalSupply", ()))

    def approve_transaction(self, spender: Address, amount: int, *, nonce: int, fees: FeePolicy) -> Transaction:
        """The transaction, not yet signed, that lets somebody take so much of the sender's."""
        data = call_data("approve", ("address", "uint256"), spender, amount)
        return self.call_transaction(data, gas=_TRANSFER_GAS, nonce=nonce, fees=fees)

    def transfer_transaction(self, to: Address, amount: int, *, nonce: int, fees: FeePolicy) -> Transaction:
        """The transaction, not yet signed, that passes on so much of the sender's."""
        data = call_data("transfer", ("address", "uint256"), to, amount)
        return self.call_transaction(data, gas=_TRANSFER_GAS, nonce=nonce, fees=fees)
