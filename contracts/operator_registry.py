"""The contract that the anchoring of single windows writes to: its committed artefact, its deployment, its calls.

It gives way to `contracts.registry`, in which validators sign whole batches, as soon as the worker anchors those.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from eth_abi.abi import encode

from contracts.chain import Chain
from contracts.errors import AnchorError, WrongChainError
from contracts.hashing import keccak, to_hex
from contracts.transactions import Address, FeePolicy, Signer, Transaction, created_address

DEPLOY_GAS = 300_000
"""Most gas of a deployment; it uses about 177,000."""

ANCHOR_GAS = 60_000
"""Most gas of an anchor; it uses about 46,000."""

_ANCHOR = keccak(b"anchor(bytes32,bytes32)")[:4]
_HEADER_HASH = keccak(b"headerHash(bytes32)")[:4]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """What the compiler made of the contract.

    Attributes
    ----------
    creation_code : bytes
        Code that a deployment runs, before its argument.
    runtime_code : bytes
        Code that stays, with zeros where the operator's address goes.
    immutable_starts : tuple of int
        Where in the runtime code the operator's address goes, each 32 bytes long.
    """

    creation_code: bytes
    runtime_code: bytes
    immutable_starts: tuple[int, ...]

    def code_for(self, operator: Address) -> bytes:
        """Code of the contract that was deployed for `operator`."""
        code = bytearray(self.runtime_code)
        for start in self.immutable_starts:
            code[start : start + 32] = _word(operator)
        return bytes(code)


@cache
def load_artefact() -> Artefact:
    """The committed artefact."""
    text = files("contracts").joinpath("solidity", "OperatorRegistry.json").read_text("utf-8")
    stated: dict[str, Any] = json.loads(text)
    return Artefact(
        creation_code=bytes.fromhex(stated["bytecode"][2:]),
        runtime_code=bytes.fromhex(stated["deployedBytecode"][2:]),
        immutable_starts=tuple(reference["start"] for reference in stated["immutableReferences"]),
    )


def _word(address: Address) -> bytes:
    return bytes.fromhex(address[2:]).rjust(32, b"\0")


def deployment_data(operator: Address) -> bytes:
    """Call data of the transaction that deploys the contract for `operator`."""
    return load_artefact().creation_code + _word(operator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """One deployed contract, and how one knows that it is the right one.

    Attributes
    ----------
    chain_id : int
        The chain on which it stands.
    address : Address
        Where it stands.
    operator : Address
        The only account that may anchor.
    """

    chain_id: int
    address: Address
    operator: Address

    @property
    def code_hash(self) -> bytes:
        """Keccak-256 of the code that the contract must have."""
        return keccak(load_artefact().code_for(self.operator))

    def check(self, chain: Chain) -> None:
        """Refuse a chain that is not the registry's, or that has other code at its address.

        Raises
        ------
        WrongChainError
            If the chain's number or the code differs.
        """
        if (here := chain.chain_id()) != self.chain_id:
            raise WrongChainError(f"got chain {here}, wanted {self.chain_id}")
        if (code_hash := keccak(chain.code(self.address))) != self.code_hash:
            raise WrongChainError(
                f"contract {self.address}: got code hash {to_hex(code_hash)}, wanted {to_hex(self.code_hash)}"
            )

    def stored(self, chain: Chain, key: bytes) -> bytes:
        """Header hash that the contract holds for `key`; 32 zero bytes where it holds none."""
        answer = chain.call(self.address, _HEADER_HASH + encode(("bytes32",), (key,)))
        if len(answer) != 32:
            raise WrongChainError(f"contract {self.address}: got an answer of {len(answer)} bytes, wanted 32")
        return answer

    def anchor_transaction(self, key: bytes, header_hash: bytes, *, nonce: int, fees: FeePolicy) -> Transaction:
        """The transaction, not yet signed, that writes `header_hash` under `key`."""
        return Transaction(
            chain_id=self.chain_id,
            nonce=nonce,
            to=self.address,
            data=anchor_data(key, header_hash),
            gas=ANCHOR_GAS,
            fees=fees,
        )


def anchor_data(key: bytes, header_hash: bytes) -> bytes:
    """Call data that writes `header_hash` under `key`."""
    return _ANCHOR + encode(("bytes32", "bytes32"), (key, header_hash))


def parse_anchor_data(data: bytes) -> tuple[bytes, bytes] | None:
    """Key and header hash that call data writes; None when it does anything else."""
    if len(data) != 68 or data[:4] != _ANCHOR:
        return None
    return data[4:36], data[36:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A contract that was just deployed.

    Attributes
    ----------
    registry : Registry
        The contract.
    raw_transaction : bytes
        The signed transaction that deployed it: part of the evidence.
    gas_used : int
        Gas.
    """

    registry: Registry
    raw_transaction: bytes
    gas_used: int


def sign_deployment(signer: Signer, *, chain_id: int, nonce: int, fees: FeePolicy) -> tuple[bytes, Registry]:
    """The signed transaction that deploys the contract for `signer`, and the registry that comes of it."""
    raw = signer.sign(
        Transaction(
            chain_id=chain_id,
            nonce=nonce,
            to=None,
            data=deployment_data(signer.address),
            gas=DEPLOY_GAS,
            fees=fees,
        )
    )
    address = created_address(signer.address, nonce)
    return raw, Registry(chain_id=chain_id, address=address, operator=signer.address)


def deploy(chain: Chain, signer: Signer, *, fees: FeePolicy | None = None) -> Deployment:
    """The contract, deployed by `signer` as its operator on a chain that includes transactions at once.

    Raises
    ------
    AnchorError
        If the chain does not include the deployment, or reverts it.
    """
    raw, registry = sign_deployment(
        signer,
        chain_id=chain.chain_id(),
        nonce=chain.nonce(signer.address),
        fees=FeePolicy() if fees is None else fees,
    )
    receipt = chain.receipt(chain.send_raw(raw))
    if receipt is None or not receipt.succeeded:
        raise AnchorError(f"deployment: got {receipt}, wanted a transaction that is included and succeeded")
    registry.check(chain)
    return Deployment(registry=registry, raw_transaction=raw, gas_used=receipt.gas_used)


def operator_of_deployment(transaction: Transaction) -> Address | None:
    """Operator for whom a transaction deploys the committed contract; None when it does anything else."""
    creation = load_artefact().creation_code
    argument = transaction.data[len(creation) :]
    if transaction.to is not None or not transaction.data.startswith(creation):
        return None
    if len(argument) != 32 or any(argument[:12]):
        return None
    return Address(to_hex(argument[12:]))
