"""EIP-1559 transactions: written, signed, and read back from their signed bytes.

Fees and gas are fixed by a policy rather than asked of a node, so that the same books always give the
same signed bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType, Protocol

from contracts.errors import WrongChainError
from contracts.hashing import keccak, to_hex

Address = NewType("Address", str)
"""Twenty bytes as ``0x`` and 40 lower-case hexadecimal digits."""

EIP1559_TYPE = 2
_GWEI = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class FeePolicy:
    """What a transaction may cost at most.

    Attributes
    ----------
    max_fee_per_gas : int
        Wei per gas, base fee included. The default is twice the base fee of a fresh chain.
    max_priority_fee_per_gas : int
        Wei per gas for the block's producer.
    """

    max_fee_per_gas: int = 2 * _GWEI
    max_priority_fee_per_gas: int = _GWEI


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A transaction that moves no value.

    Attributes
    ----------
    chain_id : int
        The only chain on which it is valid.
    nonce : int
        How many transactions the sender sent before.
    to : Address or None
        The contract called; None creates one.
    data : bytes
        Call data, or creation code with its arguments.
    gas : int
        Most gas that it may use.
    fees : FeePolicy
        What it may cost.
    """

    chain_id: int
    nonce: int
    to: Address | None
    data: bytes
    gas: int
    fees: FeePolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedTransaction:
    """What signed bytes say.

    Attributes
    ----------
    raw : bytes
        The signed bytes.
    transaction : Transaction
        What was signed.
    sender : Address
        Who signed.
    """

    raw: bytes
    transaction: Transaction
    sender: Address

    @property
    def hash(self) -> bytes:
        """The hash under which a chain knows it."""
        return keccak(self.raw)


class Signer(Protocol):
    """Whoever holds the key of an account: a file, a signing service, a hardware module."""

    @property
    def address(self) -> Address:
        """The account."""

    def sign(self, transaction: Transaction) -> bytes:
        """Signed bytes of exactly this transaction."""


class LocalSigner:
    """A key in this process's memory.

    Parameters
    ----------
    private_key : bytes
        32 bytes.
    """

    def __init__(self, private_key: bytes) -> None:
        from eth_account import Account

        self._account = Account.from_key(private_key)

    @property
    def address(self) -> Address:
        """The key's account."""
        return Address(str(self._account.address).lower())

    def sign(self, transaction: Transaction) -> bytes:
        """Signed bytes, deterministic by RFC 6979."""
        from eth_utils.address import to_checksum_address

        fields: dict[str, object] = {
            "type": EIP1559_TYPE,
            "chainId": transaction.chain_id,
            "nonce": transaction.nonce,
            "value": 0,
            "data": transaction.data,
            "gas": transaction.gas,
            "maxFeePerGas": transaction.fees.max_fee_per_gas,
            "maxPriorityFeePerGas": transaction.fees.max_priority_fee_per_gas,
        }
        if transaction.to is not None:
            fields["to"] = to_checksum_address(transaction.to)
        return bytes(self._account.sign_transaction(fields).raw_transaction)


def created_address(sender: Address, nonce: int) -> Address:
    """Where a contract stands that `sender` creates with its transaction number `nonce`."""
    import rlp  # type: ignore[import-untyped]

    return Address(to_hex(keccak(rlp.encode([bytes.fromhex(sender[2:]), nonce]))[12:]))


def decode_signed(raw: bytes) -> SignedTransaction:
    """What signed bytes say, the signer recovered from the signature.

    Raises
    ------
    WrongChainError
        If they are no signed EIP-1559 transaction, or one that moves value, carries an access list or
        spells a number otherwise than its signer did.
    """
    import rlp
    from eth_account import Account
    from eth_keys.exceptions import BadSignature
    from eth_utils.exceptions import ValidationError

    if raw[:1] != bytes([EIP1559_TYPE]):
        raise WrongChainError(f"got transaction {to_hex(raw[:4])}..., wanted an EIP-1559 one (type 2)")
    try:
        chain_id, nonce, priority_fee, fee, gas, to, _, data, _, *signature = rlp.decode(raw[1:])
        transaction = Transaction(
            chain_id=int.from_bytes(chain_id),
            nonce=int.from_bytes(nonce),
            to=Address(to_hex(bytes(to))) if to else None,
            data=bytes(data),
            gas=int.from_bytes(gas),
            fees=FeePolicy(max_fee_per_gas=int.from_bytes(fee), max_priority_fee_per_gas=int.from_bytes(priority_fee)),
        )
        y_parity, r, s = (int.from_bytes(number) for number in signature)
        # The only spelling: no leading zeros, no value, no access list, no other spelling of the parity.
        spelled = rlp.encode([*_payload(transaction), y_parity, r, s])
        if raw[1:] != spelled or y_parity > 1:
            raise WrongChainError("got a transaction with value, access list or odd spelling, wanted none")
        sender = Account.recover_transaction(raw)
    except (rlp.exceptions.RLPException, BadSignature, ValidationError, ValueError, TypeError) as err:
        raise WrongChainError(f"got bytes that are no signed transaction ({err}), wanted one") from err
    return SignedTransaction(raw=raw, transaction=transaction, sender=Address(str(sender).lower()))


def _payload(transaction: Transaction) -> list[object]:
    return [
        transaction.chain_id,
        transaction.nonce,
        transaction.fees.max_priority_fee_per_gas,
        transaction.fees.max_fee_per_gas,
        transaction.gas,
        b"" if transaction.to is None else bytes.fromhex(transaction.to[2:]),
        0,
        transaction.data,
        [],
    ]
