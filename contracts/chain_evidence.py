"""What replays the chain: its genesis, the contract, and the signed transactions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Self

from contracts.chain import Genesis
from contracts.columns import Hash
from contracts.errors import EvidenceError
from contracts.hashing import parse_hex, to_hex
from contracts.records import read_object
from contracts.transactions import Address

_HASH = Hash()
_NAME = re.compile(r"[!-~]{1,200}", re.ASCII)


class Purpose(Enum):
    """What a transaction of the evidence is for."""

    DEPLOY = "deploy"
    ANCHOR = "anchor"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainTransaction:
    """A signed transaction that the chain included.

    Attributes
    ----------
    purpose : Purpose
        What it is for.
    window : str or None
        Whose header it anchors; None for the deployment.
    raw : bytes
        The signed bytes.
    """

    purpose: Purpose
    window: str | None
    raw: bytes

    @property
    def name(self) -> str:
        """How messages name it."""
        return self.purpose.value if self.window is None else f"{self.purpose.value} of window {self.window}"

    def to_json(self) -> dict[str, object]:
        """The fields as JSON spells them, the window only where there is one."""
        window = {} if self.window is None else {"window": self.window}
        return {"purpose": self.purpose.value, **window, "raw": to_hex(self.raw)}

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The transaction that `to_json` spells as `value`."""
        purpose = Purpose.DEPLOY
        if isinstance(value, dict) and value.get("purpose") != Purpose.DEPLOY.value:
            purpose = Purpose.ANCHOR
        names = ("purpose", "raw") if purpose is Purpose.DEPLOY else ("purpose", "window", "raw")
        stated = read_object(value, names)
        if stated["purpose"] != purpose.value:
            raise EvidenceError("deploy or anchor", got=stated["purpose"], field="purpose")
        window = stated.get("window")
        if window is not None and (not isinstance(window, str) or not _NAME.fullmatch(window)):
            raise EvidenceError("a window's name", got=window, field="window")
        raw = parse_hex(stated["raw"]) if isinstance(stated["raw"], str) else None
        if raw is None:
            raise EvidenceError("0x and lower-case hexadecimal digits", got=stated["raw"], field="raw")
        return cls(purpose=purpose, window=window, raw=raw)


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
        In the order in which the chain included them: the deployment, then the anchors.
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
