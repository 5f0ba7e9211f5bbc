"""What the compiler made of the contracts: their committed code, their calls, what they say when they refuse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from contracts.hashing import keccak, to_hex
from contracts.quorum import Domain

WORD = 32
"""Bytes of an immutable value and of most else in a contract."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A named error of a contract.

    Attributes
    ----------
    name : str
        Its name.
    types, names : tuple of str
        Types and names of its arguments.
    """

    name: str
    types: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def selector(self) -> bytes:
        """The first four bytes of what a contract answers that refuses so."""
        return selector(f"{self.name}({','.join(self.types)})")

    def explain(self, data: bytes) -> str:
        """The error with its arguments, spelled for people."""
        try:
            values = decode(self.types, data[4:])
        except DecodingError:
            return f"{self.name} with arguments that are none: {to_hex(data[4:])}"
        said = (to_hex(value) if isinstance(value, bytes) else value for value in values)
        told = ", ".join(f"{name} {value}" for name, value in zip(self.names, said, strict=True))
        return f"{self.name}: {told}" if told else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """One compiled contract.

    Attributes
    ----------
    creation_code : bytes
        Code that a deployment runs, before its arguments.
    runtime_code : bytes
        Code that stays, with zeros where immutable values go.
    immutables : mapping from name to tuple of int
        Where in the runtime code each immutable value goes, 32 bytes long.
    refusals : tuple of Refusal
        The errors that it names.
    """

    creation_code: bytes
    runtime_code: bytes
    immutables: Mapping[str, tuple[int, ...]]
    refusals: tuple[Refusal, ...]

    def code_with(self, values: Mapping[str, bytes]) -> bytes:
        """Code of a deployed contract.

        Parameters
        ----------
        values : mapping from name to bytes
            What each immutable value is, 32 bytes each.
        """
        code = bytearray(self.runtime_code)
        for name, starts in self.immutables.items():
            for start in starts:
                code[start : start + WORD] = values[name]
        return bytes(code)


@cache
def load_artefact(contract: str) -> Artefact:
    """The committed artefact of a contract, by its name."""
    text = files("contracts").joinpath("solidity", f"{contract}.json").read_text("utf-8")
    stated: dict[str, Any] = json.loads(text)
    errors = [entry for entry in stated["abi"] if entry["type"] == "error"]
    return Artefact(
        creation_code=bytes.fromhex(stated["bytecode"][2:]),
        runtime_code=bytes.fromhex(stated["deployedBytecode"][2:]),
        immutables={name: tuple(starts) for name, starts in stated["immutableReferences"].items()},
        refusals=tuple(
            Refusal(
                name=entry["name"],
                types=tuple(argument["type"] for argument in entry["inputs"]),
                names=tuple(argument["name"] for argument in entry["inputs"]),
            )
            for entry in errors
        ),
    )


def selector(signature: str) -> bytes:
    """The first four bytes of a call, by name and types of the function."""
    return keccak(signature.encode())[:4]


def explain_refusal(artefact: Artefact, data: bytes) -> str | None:
    """Why a contract refused a call, from what it answered; None where it gave no reason that the artefact names."""
    for refusal in artefact.refusals:
        if data[:4] == refusal.selector:
            return refusal.explain(data)
    return None


def domain_immutables(domain: Domain) -> dict[str, bytes]:
    """The immutable values of OpenZeppelin's EIP712 base in a contract that stands at a domain's address."""
    return {
        "_cachedDomainSeparator": domain.separator,
        "_cachedChainId": domain.chain_id.to_bytes(WORD),
        "_cachedThis": bytes.fromhex(domain.contract[2:]).rjust(WORD, b"\0"),
        "_hashedName": keccak(domain.name.encode()),
        "_hashedVersion": keccak(domain.version.encode()),
        "_name": _short_string(domain.name),
        "_version": _short_string(domain.version),
    }


def _short_string(text: str) -> bytes:
    """A text of at most 31 bytes in one word: its bytes, then zeros, then its length in the last byte."""
    return text.encode().ljust(WORD - 1, b"\0") + bytes([len(text.encode())])
