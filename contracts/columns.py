"""Types of the values in evidence: what is allowed, how it is hashed, how it is spelled in JSON.

A record's field is annotated with one of these, for instance ``energy_wh: Energy``; `contracts.records`
does the rest. Each column knows its Solidity type (`abi`), refuses what is out of bounds (`check`) and
crosses to JSON and back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

from contracts.errors import EvidenceError
from contracts.hashing import parse_hash, to_hex


class Column(Protocol):
    """The type of one value."""

    @property
    def abi(self) -> str:
        """Solidity type under which the value is hashed."""

    def check(self, value: object, field: str) -> None:
        """Refuse a value that is not of this type, or out of bounds, with an `EvidenceError`."""

    def to_json(self, value: object) -> object:
        """The value as JSON spells it."""

    def from_json(self, value: object, field: str) -> object:
        """The checked value that JSON spells as `value`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Integer:
    """A whole number with bounds, both included; a boolean is none."""

    abi: str
    least: int
    most: int

    def check(self, value: object, field: str) -> None:
        """Refuse anything but an integer within the bounds."""
        if type(value) is not int or not self.least <= value <= self.most:
            raise EvidenceError(f"an integer from {self.least} to {self.most}", got=value, field=field)

    def to_json(self, value: object) -> object:
        """The integer itself."""
        return value

    def from_json(self, value: object, field: str) -> object:
        """The integer itself, checked."""
        self.check(value, field)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Printable text of bounded length."""

    abi: str = "string"
    least: int = 1
    most: int = 255

    def check(self, value: object, field: str) -> None:
        """Refuse anything but printable text within the bounds; a lone surrogate is not printable."""
        if type(value) is not str or not self.least <= len(value) <= self.most or not value.isprintable():
            raise EvidenceError(f"{self.least} to {self.most} printable characters", got=value, field=field)

    def to_json(self, value: object) -> object:
        """The text itself."""
        return value

    def from_json(self, value: object, field: str) -> object:
        """The text itself, checked."""
        self.check(value, field)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Hash:
    """Exactly 32 bytes; in JSON 64 lower-case hexadecimal digits after ``0x``."""

    abi: str = "bytes32"

    def check(self, value: object, field: str) -> None:
        """Refuse anything but 32 bytes."""
        if type(value) is not bytes or len(value) != 32:
            raise EvidenceError("exactly 32 bytes", got=value, field=field)

    def to_json(self, value: object) -> object:
        """The bytes in hexadecimal."""
        self.check(value, "hash")
        return to_hex(value) if isinstance(value, bytes) else value

    def from_json(self, value: object, field: str) -> object:
        """The bytes that the hexadecimal digits spell."""
        data = parse_hash(value) if isinstance(value, str) else None
        if data is None:
            raise EvidenceError("0x and 64 lower-case hexadecimal digits", got=value, field=field)
        return data


Identity = Annotated[str, Text()]
"""A resource name, a peer, a meter, an account: 1 to 255 printable characters."""

Note = Annotated[str, Text(least=0)]
"""Free printable text, may be empty."""

Bytes32 = Annotated[bytes, Hash()]
"""A hash or a salt."""

Count = Annotated[int, Integer(abi="uint64", least=0, most=2**32 - 1)]
"""How many, or the place in a row counted from zero."""

Instant = Annotated[int, Integer(abi="uint64", least=0, most=2**40)]
"""Unix seconds, UTC."""

Energy = Annotated[int, Integer(abi="uint64", least=0, most=10**12)]
"""Wh, not negative."""

Price = Annotated[int, Integer(abi="int64", least=-(10**9), most=10**9)]
"""Micro-currency per kWh; negative when the seller pays."""

Amount = Annotated[int, Integer(abi="int64", least=-(10**18), most=10**18)]
"""Micro-currency."""
