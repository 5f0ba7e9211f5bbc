"""The contract `NetPayments`: what accounts are owed on balance, claimed in a token by proofs.

The validators sign, from time to time, the root of a tree that says for each account what it was owed in all so far.
An account claims the difference to what it was paid. The sums only grow, so that a new root loses nothing that was not
claimed under the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from contracts.batch import microgrid_key
from contracts.chain import Chain
from contracts.contract import Contract, call_data, deploy_contract, quorum_gas, runtime_code
from contracts.errors import EvidenceError, WrongChainError
from contracts.hashing import hash_values, hash_values_twice, keccak
from contracts.merkle import MerkleTree
from contracts.quorum import Domain
from contracts.registry import Registry
from contracts.transactions import Address, FeePolicy, Signer, Transaction

CONTRACT = "NetPayments"
"""Name of its artefact."""

MAX_OWED = 10**36
"""As much an account may be owed, in the token's smallest unit."""

_STATEMENT_TYPE = b"Statement(bytes32 microgrid,uint64 number,bytes32 root)"


def payment_leaf(microgrid: str, account: Address, cumulative: int) -> bytes:
    """Leaf of what an account is owed in all, in a microgrid's tree of payments, 32 bytes."""
    return hash_values_twice(
        ("string", "bytes32", "address", "uint256"),
        ("gridpact.payment.v1", microgrid_key(microgrid), account, cumulative),
    )


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What each account of a microgrid was owed in all so far.

    Attributes
    ----------
    microgrid : str
        Resource name.
    number : int
        Place among the microgrid's statements, from 1.
    owed : mapping from Address to int
        By account, in the token's smallest unit, 1 to `MAX_OWED`; at least one.

    Raises
    ------
    EvidenceError
        If a value is out of bounds.
    """

    microgrid: str
    number: int
    owed: Mapping[Address, int]

    def __post_init__(self) -> None:
        if not 1 <= self.number < 2**64:
            raise EvidenceError("1 to 18446744073709551615", got=self.number, field="number")
        if not self.owed:
            raise EvidenceError("at least one account", got="none", field="owed")
        for account, cumulative in self.owed.items():
            if not 1 <= cumulative <= MAX_OWED:
                raise EvidenceError(f"1 to {MAX_OWED}", got=cumulative, field=f"owed to {account}")

    @cached_property
    def tree(self) -> MerkleTree:
        """Tree of the accounts' leaves, in the order of `owed`."""
        return MerkleTree([payment_leaf(self.microgrid, account, sum_) for account, sum_ in self.owed.items()])

    @property
    def hash(self) -> bytes:
        """EIP-712 struct hash that validators sign, 32 bytes."""
        return hash_values(
            ("bytes32", "bytes32", "uint64", "bytes32"),
            (keccak(_STATEMENT_TYPE), microgrid_key(self.microgrid), self.number, self.tree.root),
        )

    def proof(self, account: Address) -> tuple[bytes, ...]:
        """Siblings on the way from an account's leaf up to the root.

        Raises
        ------
        EvidenceError
            If the statement does not name the account.
        """
        if account not in self.owed:
            raise EvidenceError(f"one of {len(self.owed)} accounts of the statement", got=account, field="account")
        return self.tree.proof(list(self.owed).index(account))

    def check_follows(self, before: Statement) -> None:
        """Refuse to follow a statement of which this one would take something back.

        Raises
        ------
        EvidenceError
            If it is of another microgrid, not the next, or an account is owed less than before or left out.
        """
        if self.microgrid != before.microgrid:
            raise EvidenceError(before.microgrid, got=self.microgrid, field="microgrid")
        if self.number != before.number + 1:
            raise EvidenceError(str(before.number + 1), got=self.number, field="number")
        for account, cumulative in before.owed.items():
            if (now := self.owed.get(account, 0)) < cumulative:
                raise EvidenceError(f"{cumulative} or more, as before", got=now, field=f"owed to {account}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetPayments(Contract):
    """The deployed contract.

    Attributes
    ----------
    registry : Address
        The registry whose validators count.
    token : Address
        What is paid.
    """

    registry: Address
    token: Address

    @property
    def domain(self) -> Domain:
        """For what validators sign."""
        return Domain(chain_id=self.chain_id, contract=self.address, name="GridpactNetPayments")

    def check(self, chain: Chain) -> None:
        """Refuse a chain that is not the contract's, or that has other code at its address.

        Raises
        ------
        WrongChainError
            If the chain's number or the code differs.
        """
        self.check_code(chain, runtime_code(CONTRACT, self.domain, {"registry": self.registry, "token": self.token}))

    def stated(self, chain: Chain, microgrid: str) -> tuple[int, bytes]:
        """Number and root of a microgrid's present statement; 0 and zeros where there is none."""
        data = call_data("statements", ("bytes32",), microgrid_key(microgrid))
        root, number = self.ask(chain, data, ("bytes32", "uint64"))
        if not (isinstance(number, int) and isinstance(root, bytes)):
            raise WrongChainError(f"contract {self.address}: got {number!r} and {root!r}, wanted number and root")
        return number, root

    def funds(self, chain: Chain, microgrid: str) -> int:
        """What a microgrid can still pay."""
        return self.ask_number(chain, call_data("funds", ("bytes32",), microgrid_key(microgrid)))

    def paid(self, chain: Chain, microgrid: str, account: Address) -> int:
        """What an account was paid in all."""
        return self.ask_number(chain, call_data("paid", ("bytes32", "address"), microgrid_key(microgrid), account))

    def fund_transaction(self, microgrid: str, amount: int, *, nonce: int, fees: FeePolicy) -> Transaction:
        """The transaction, not yet signed, that adds to a microgrid's funds out of the sender's allowance."""
        data = call_data("fund", ("bytes32", "uint256"), microgrid_key(microgrid), amount)
        return self.call_transaction(data, gas=200_000, nonce=nonce, fees=fees)

    def state_transaction(self, statement: Statement, packed: bytes, *, nonce: int, fees: FeePolicy) -> Transaction:
        """The transaction, not yet signed, that replaces the statement, with the validators' packed signatures."""
        data = call_data(
            "state",
            ("bytes32", "uint64", "bytes32", "bytes"),
            microgrid_key(statement.microgrid),
            statement.number,
            statement.tree.root,
            packed,
        )
        return self.call_transaction(data, gas=110_000 + quorum_gas(packed), nonce=nonce, fees=fees)

    def claim_transaction(self, statement: Statement, account: Address, *, nonce: int, fees: FeePolicy) -> Transaction:
        """The transaction, not yet signed, that pays an account what it is owed and was not paid yet."""
        proof = statement.proof(account)
        data = call_data(
            "claim",
            ("bytes32", "address", "uint256", "bytes32[]"),
            microgrid_key(statement.microgrid),
            account,
            statement.owed[account],
            proof,
        )
        return self.call_transaction(data, gas=200_000 + 1_000 * len(proof), nonce=nonce, fees=fees)


def deploy_payments(
    chain: Chain, signer: Signer, registry: Registry, token: Address, *, fees: FeePolicy | None = None
) -> tuple[NetPayments, int]:
    """The contract, deployed by anybody on a chain that includes transactions at once, and the gas that took."""
    address, gas = deploy_contract(
        chain,
        signer,
        CONTRACT,
        (registry.address, token),
        gas=2_000_000,
        fees=FeePolicy() if fees is None else fees,
    )
    made = NetPayments(chain_id=registry.chain_id, address=address, registry=registry.address, token=token)
    made.check(chain)
    return made, gas
