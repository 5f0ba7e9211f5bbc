"""The contract `GridpactRegistry`: where it stands, what it holds, the transactions that change it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from contracts.artefact import load_artefact, selector
from contracts.batch import Batch, microgrid_key
from contracts.chain import Chain, ChainState, Log
from contracts.contract import Contract, runtime_code
from contracts.errors import AnchorError, ContractsError, WrongChainError
from contracts.hashing import keccak
from contracts.quorum import SIGNATURE_BYTES, Domain, Quorum
from contracts.transactions import Address, FeePolicy, Signer, Transaction, created_address

CONTRACT = "GridpactRegistry"
"""Name of its artefact."""

ANCHORED = keccak(b"Anchored(bytes32,uint64,bytes32)")
"""Topic of what the contract says when it begins to hold a batch."""

ROTATED = keccak(b"Rotated(uint64,uint64,address[])")
"""Topic of what the contract says when validators are appointed, the first ones included."""

_ANCHOR_TYPES = ("bytes32", "uint64", "bytes32", "bytes32", "bytes")
_ROTATE_TYPES = ("address[]", "uint64", "bytes")
_DEPLOY_TYPES = ("address[]", "uint64")
_ANCHOR = selector(f"anchor({','.join(_ANCHOR_TYPES)})")
_ROTATE = selector(f"rotate({','.join(_ROTATE_TYPES)})")
_BATCH_HASH = selector("batchHash(bytes32,uint64)")
_EPOCH, _THRESHOLD, _VALIDATORS = selector("epoch()"), selector("threshold()"), selector("validators()")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorCall:
    """What a call of the registry anchors.

    Attributes
    ----------
    microgrid : bytes
        `contracts.batch.microgrid_key` of the microgrid, 32 bytes.
    number : int
        Place of the batch among the microgrid's.
    previous, windows_root : bytes
        Hash of the batch before and root of the batch's windows, 32 bytes each.
    signatures : bytes
        As `Quorum.pack` puts them together.
    """

    microgrid: bytes
    number: int
    previous: bytes
    windows_root: bytes
    signatures: bytes

    @property
    def data(self) -> bytes:
        """The call's data."""
        values = (self.microgrid, self.number, self.previous, self.windows_root, self.signatures)
        return _ANCHOR + encode(_ANCHOR_TYPES, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateCall:
    """Which validators a call of the registry appoints.

    Attributes
    ----------
    validators : tuple of Address
        Who may sign.
    threshold : int
        How many of them must.
    signatures : bytes
        Of the validators before, as `Quorum.pack` puts them together.
    """

    validators: tuple[Address, ...]
    threshold: int
    signatures: bytes

    @property
    def data(self) -> bytes:
        """The call's data."""
        return _ROTATE + encode(_ROTATE_TYPES, (self.validators, self.threshold, self.signatures))


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry(Contract):
    """One deployed registry, and how one knows that it is the right one."""

    @property
    def domain(self) -> Domain:
        """For what validators sign."""
        return Domain(chain_id=self.chain_id, contract=self.address)

    @property
    def code_hash(self) -> bytes:
        """Keccak-256 of the code that the contract must have."""
        return keccak(runtime_code(CONTRACT, self.domain, {}))

    def check(self, chain: Chain) -> None:
        """Refuse a chain that is not the registry's, or that has other code at its address.

        Raises
        ------
        WrongChainError
            If the chain's number or the code differs.
        """
        self.check_code(chain, runtime_code(CONTRACT, self.domain, {}))

    def held(self, state: ChainState, microgrid: str, number: int) -> bytes:
        """Hash that the contract holds for a batch; 32 zero bytes where it holds none."""
        data = _BATCH_HASH + encode(("bytes32", "uint64"), (microgrid_key(microgrid), number))
        (held,) = self.ask(state, data, ("bytes32",))
        if not isinstance(held, bytes):
            raise WrongChainError(f"contract {self.address}: got {held!r} for a hash, wanted 32 bytes")
        return held

    def quorum(self, state: ChainState) -> Quorum:
        """Who may sign now, and how many of them must.

        Raises
        ------
        WrongChainError
            If the contract answers with what no quorum can be.
        """
        (epoch,) = self.ask(state, _EPOCH, ("uint64",))
        (threshold,) = self.ask(state, _THRESHOLD, ("uint64",))
        (validators,) = self.ask(state, _VALIDATORS, ("address[]",))
        try:
            return _quorum(epoch, threshold, validators)
        except (ContractsError, TypeError) as err:
            raise WrongChainError(f"contract {self.address}: {err}") from err

    def anchor_transaction(self, batch: Batch, packed: bytes, *, nonce: int, fees: FeePolicy) -> Transaction:
        """The transaction, not yet signed, that anchors a batch with the validators' packed signatures."""
        return self.call_transaction(anchor_data(batch, packed), gas=anchor_gas(_count(packed)), nonce=nonce, fees=fees)

    def rotate_transaction(self, quorum: Quorum, packed: bytes, *, nonce: int, fees: FeePolicy) -> Transaction:
        """The transaction, not yet signed, that appoints validators with signatures of those before."""
        gas = anchor_gas(_count(packed)) + _appointment_gas(quorum)
        return self.call_transaction(rotate_data(quorum, packed), gas=gas, nonce=nonce, fees=fees)


def anchor_gas(signatures: int) -> int:
    """Most gas of an anchor with so many signatures; three of them use about 73,000."""
    return 60_000 + 8_000 * signatures


def deployment_gas(quorum: Quorum) -> int:
    """Most gas of a deployment."""
    return 2_000_000 + _appointment_gas(quorum)


def _appointment_gas(quorum: Quorum) -> int:
    # Two slots each, one in the list and one that says that it may sign; and the slots of the set itself.
    return 100_000 + 50_000 * len(quorum.validators)


def _count(packed: bytes) -> int:
    return len(packed) // SIGNATURE_BYTES


def _quorum(epoch: object, threshold: object, validators: object) -> Quorum:
    if not (isinstance(epoch, int) and isinstance(threshold, int) and isinstance(validators, (list, tuple))):
        raise TypeError(f"got epoch {epoch!r}, threshold {threshold!r} and validators {validators!r}, wanted a quorum")
    return Quorum(epoch=epoch, threshold=threshold, validators=tuple(Address(str(each)) for each in validators))


def deployment_data(quorum: Quorum) -> bytes:
    """Call data of the transaction that deploys the contract with its first validators.

    Raises
    ------
    ContractsError
        If the quorum's epoch is not 0.
    """
    if quorum.epoch != 0:
        raise ContractsError(f"epoch: got {quorum.epoch}, wanted 0 in a deployment")
    return load_artefact(CONTRACT).creation_code + encode(_DEPLOY_TYPES, (quorum.validators, quorum.threshold))


def anchor_data(batch: Batch, packed: bytes) -> bytes:
    """Call data that anchors a batch with the validators' packed signatures."""
    call = AnchorCall(
        microgrid=microgrid_key(batch.microgrid),
        number=batch.number,
        previous=batch.previous,
        windows_root=batch.windows_root,
        signatures=packed,
    )
    return call.data


def rotate_data(quorum: Quorum, packed: bytes) -> bytes:
    """Call data that appoints validators with packed signatures of those before over `quorum.rotation_hash`."""
    return RotateCall(validators=quorum.validators, threshold=quorum.threshold, signatures=packed).data


def parse_anchor_data(data: bytes) -> AnchorCall | None:
    """What call data anchors; None when it does anything else, or spells it in an odd way."""
    values = _parse(_ANCHOR, _ANCHOR_TYPES, data)
    if values is None:
        return None
    microgrid, number, previous, windows_root, signatures = values
    call = AnchorCall(
        microgrid=microgrid, number=number, previous=previous, windows_root=windows_root, signatures=signatures
    )
    return call if call.data == data else None


def parse_rotate_data(data: bytes) -> RotateCall | None:
    """Whom call data appoints; None when it does anything else, or spells it in an odd way."""
    values = _parse(_ROTATE, _ROTATE_TYPES, data)
    if values is None:
        return None
    validators, threshold, signatures = values
    call = RotateCall(validators=tuple(map(Address, validators)), threshold=threshold, signatures=signatures)
    return call if call.data == data else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchored:
    """The contract began to hold a batch.

    Attributes
    ----------
    microgrid : bytes
        `contracts.batch.microgrid_key` of the microgrid, 32 bytes.
    number : int
        Place of the batch among the microgrid's.
    hash : bytes
        What it holds, 32 bytes.
    """

    microgrid: bytes
    number: int
    hash: bytes


def parse_event(log: Log) -> Anchored | Quorum | None:
    """What the contract said: that it holds a batch, or who its validators are; None where it is neither."""
    try:
        if log.topics[:1] == (ANCHORED,):
            (held,) = decode(("bytes32",), log.data)
            return Anchored(microgrid=log.topics[1], number=int.from_bytes(log.topics[2]), hash=held)
        if log.topics[:1] == (ROTATED,):
            return _quorum(int.from_bytes(log.topics[1]), *decode(("uint64", "address[]"), log.data))
    except (DecodingError, IndexError, ContractsError):
        return None
    return None


def quorum_of_deployment(transaction: Transaction) -> Quorum | None:
    """First validators with whom a transaction deploys the committed contract; None when it does anything else."""
    creation = load_artefact(CONTRACT).creation_code
    if transaction.to is not None or not transaction.data.startswith(creation):
        return None
    try:
        validators, threshold = decode(_DEPLOY_TYPES, transaction.data[len(creation) :])
        quorum = _quorum(0, threshold, validators)
    except (DecodingError, ContractsError):
        return None
    return quorum if deployment_data(quorum) == transaction.data else None


def _parse(name: bytes, types: tuple[str, ...], data: bytes) -> tuple[Any, ...] | None:
    if data[:4] != name:
        return None
    try:
        return tuple(decode(types, data[4:]))
    except DecodingError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A contract that was just deployed.

    Attributes
    ----------
    registry : Registry
        The contract.
    quorum : Quorum
        Its first validators.
    raw_transaction : bytes
        The signed transaction that deployed it: part of the evidence.
    gas_used : int
        Gas.
    """

    registry: Registry
    quorum: Quorum
    raw_transaction: bytes
    gas_used: int


def sign_deployment(
    signer: Signer, quorum: Quorum, *, chain_id: int, nonce: int, fees: FeePolicy
) -> tuple[bytes, Registry]:
    """The signed transaction that deploys the contract with its first validators, and the registry that comes of it."""
    raw = signer.sign(
        Transaction(
            chain_id=chain_id,
            nonce=nonce,
            to=None,
            data=deployment_data(quorum),
            gas=deployment_gas(quorum),
            fees=fees,
        )
    )
    return raw, Registry(chain_id=chain_id, address=created_address(signer.address, nonce))


def deploy(chain: Chain, signer: Signer, quorum: Quorum, *, fees: FeePolicy | None = None) -> Deployment:
    """The contract, deployed by anybody on a chain that includes transactions at once.

    Raises
    ------
    AnchorError
        If the chain does not include the deployment, or reverts it.
    """
    raw, registry = sign_deployment(
        signer,
        quorum,
        chain_id=chain.chain_id(),
        nonce=chain.nonce(signer.address),
        fees=FeePolicy() if fees is None else fees,
    )
    receipt = chain.receipt(chain.send_raw(raw))
    if receipt is None or not receipt.succeeded:
        raise AnchorError(f"deployment: got {receipt}, wanted a transaction that is included and succeeded")
    registry.check(chain)
    return Deployment(registry=registry, quorum=quorum, raw_transaction=raw, gas_used=receipt.gas_used)
