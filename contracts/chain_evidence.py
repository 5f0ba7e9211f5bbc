"""What replays the chain: its genesis, the contract, and the signed transactions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Self, assert_never

from contracts.chain import Genesis
from contracts.columns import Hash
from contracts.errors import EvidenceError
from contracts.hashing import parse_hex, to_hex
from contracts.records import read_object
from contracts.transactions import Address

_HASH = Hash()


class Purpose(Enum):
    """What a transaction of the evidence is for."""

    DEPLOY = "deploy"
    """It deploys the registry with its first validators."""
    ANCHOR = "anchor"
    """It anchors a batch."""
    ROTATE = "rotate"
    """It appoints other validators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTransaction:
    """A signed transaction that the chain included.

    Attributes
    ----------
    purpose : Purpose
        What it is for.
    number : int or None
        Of the batch that it anchors, or the epoch of the validators that it appoints; None for the deployment.
    raw : bytes
        The signed bytes.
    """

    purpose: Purpose
    number: int | None
    raw: bytes

    @property
    def name(self) -> str:
        """How messages name it."""
        match self.purpose:
            case Purpose.DEPLOY:
                return "deploy"
            case Purpose.ANCHOR:
                return f"anchor of batch {self.number}"
            case Purpose.ROTATE:
                return f"validators of epoch {self.number}"
            case _:
                assert_never(self.purpose)

    def to_json(self) -> dict[str, object]:
        """The fields as JSON spells them, the number only where there is one."""
        number = {} if self.number is None else {"number": self.number}
        return {"purpose": self.purpose.value, **number, "raw": to_hex(self.raw)}

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The transaction that `to_json` spells as `value`."""
        known = {purpose.value: purpose for purpose in Purpose}
        stated = value.get("purpose") if isinstance(value, dict) else None
        purpose = known.get(stated) if isinstance(stated, str) else None
        if isinstance(value, dict) and "purpose" in value and purpose is None:
            raise EvidenceError(f"one of {', '.join(known)}", got=stated, field="purpose")
        names = ("purpose", "raw") if purpose is Purpose.DEPLOY else ("purpose", "number", "raw")
        fields = read_object(value, names)
        number = read_number(fields["number"], "number") if "number" in names else None
        raw = parse_hex(fields["raw"]) if isinstance(fields["raw"], str) else None
        if raw is None:
            raise EvidenceError("0x and lower-case hexadecimal digits", got=fields["raw"], field="raw")
        return cls(purpose=Purpose(fields["purpose"]), number=number, raw=raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainEvidence:
    """All that replays the chain.

    Attributes
    ----------
    genesis : Genesis
        Where the chain starts from.
    contract : Address
        Where the registry stands.
    code_hash : bytes
        Keccak-256 of the registry's deployed code.
    transactions : tuple of ChainTransaction
        In the order in which the chain included them: the deployment, then anchors and changes of the validators.
    """

    genesis: Genesis
    contract: Address
    code_hash: bytes
    transactions: tuple[ChainTransaction, ...]

    def to_json(self) -> dict[str, object]:
        """The fields as JSON spells them."""
        return {
            "genesis": self.genesis.to_json(),
            "contract": self.contract,
            "code_hash": to_hex(self.code_hash),
            "transactions": [transaction.to_json() for transaction in self.transactions],
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The evidence that `to_json` spells as `value`; an `EvidenceError` names the field that is wrong."""
        stated = read_object(value, ("genesis", "contract", "code_hash", "transactions"))
        if not isinstance(stated["transactions"], list):
            raise EvidenceError("a JSON array", got=stated["transactions"], field="transactions")
        return cls(
            genesis=Genesis.from_json(stated["genesis"]),
            contract=read_address(stated["contract"], "contract"),
            code_hash=read_hash(stated["code_hash"], "code_hash"),
            transactions=tuple(ChainTransaction.from_json(entry) for entry in stated["transactions"]),
        )


def read_number(value: object, field: str) -> int:
    """The unsigned integer of 64 bits that a JSON value is."""
    if type(value) is not int or not 0 <= value < 2**64:
        raise EvidenceError(f"an integer from 0 to {2**64 - 1}", got=value, field=field)
    return value


def read_hash(value: object, field: str) -> bytes:
    """The 32 bytes that a JSON value spells."""
    data = _HASH.from_json(value, field)
    if not isinstance(data, bytes):
        raise EvidenceError("32 bytes", got=data, field=field)
    return data


def read_address(value: object, field: str) -> Address:
    """The address that a JSON value spells."""
    data = parse_hex(value) if isinstance(value, str) else None
    if data is None or len(data) != 20:
        raise EvidenceError("0x and 40 lower-case hexadecimal digits", got=value, field=field)
    return Address(to_hex(data))
