"""A chain as the rest of the package sees it, and the one that lives in this process's memory."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, Self

from contracts.errors import CallRevertedError, ChainRefusedError, ChainUnavailableError, EvidenceError, WrongChainError
from contracts.hashing import parse_hex, to_hex
from contracts.records import read_object
from contracts.transactions import Address, SignedTransaction, decode_signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a transaction that a block includes.

    Attributes
    ----------
    gas_used : int
        Gas.
    succeeded : bool
        False when it was reverted.
    block_number : int
        Of the block that includes it.
    block_hash : bytes
        Of that block, 32 bytes.
    """

    gas_used: int
    succeeded: bool
    block_number: int
    block_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block as far as anchoring needs it.

    Attributes
    ----------
    number : int
        Its height; the genesis has 0.
    hash : bytes
        32 bytes.
    base_fee : int
        Wei per gas that a transaction in it paid at least; 0 where the chain knows no base fee.
    """

    number: int
    hash: bytes
    base_fee: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What a contract said in a transaction.

    Attributes
    ----------
    topics : tuple of bytes
        The event and its indexed arguments, 32 bytes each.
    data : bytes
        Its other arguments.
    block_number : int
        Of the block.
    block_hash : bytes
        Of the block, 32 bytes.
    transaction_hash : bytes
        Of the transaction, 32 bytes.
    index : int
        Place among all logs of the block.
    """

    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes
    transaction_hash: bytes
    index: int


class ChainState(Protocol):
    """What holds after some block.

    Every method raises `ChainUnavailableError` where the chain cannot answer.
    """

    def nonce(self, address: Address) -> int:
        """How many transactions of an account are included."""

    def balance(self, address: Address) -> int:
        """Wei of an account."""

    def code(self, address: Address) -> bytes:
        """Deployed code, empty where there is none."""

    def call(self, to: Address, data: bytes) -> bytes:
        """Answer of a contract to a call that changes nothing.

        Raises
        ------
        CallRevertedError
            If the contract refuses it.
        """


class Chain(ChainState, Protocol):
    """What anchoring and checking need of a chain; what it says without a block is of the newest.

    Every method raises `ChainUnavailableError` where the chain cannot answer.
    """

    def chain_id(self) -> int:
        """The chain's number."""

    def head(self) -> Block:
        """The newest block."""

    def block_hash(self, number: int) -> bytes | None:
        """Hash of the block of a number; None where there is none yet."""

    def final_number(self) -> int:
        """Number of the newest block that no reorganisation can undo; negative where there is none yet."""

    def at(self, number: int) -> ChainState:
        """What held after a block."""

    def send_raw(self, raw: bytes) -> bytes:
        """Hash of a signed transaction that was handed over; it may be included later, or never."""

    def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """What became of a transaction; None while no block includes it."""

    def logs(self, address: Address, first: int, last: int) -> tuple[Log, ...]:
        """What a contract said in the blocks from `first` to `last`, both included.

        A node refuses a range that is too wide for it: `contracts.backfill` asks in ranges that it grants.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """All that an embedded chain starts from; the same genesis and transactions give the same state.

    Attributes
    ----------
    chain_id : int
        The chain's number, positive.
    timestamp : int
        Of the first block, Unix seconds UTC.
    gas_limit : int
        Gas of a block.
    balances : mapping of address to int
        Wei of each funded account.
    """

    chain_id: int
    timestamp: int
    gas_limit: int
    balances: Mapping[Address, int]

    def __post_init__(self) -> None:
        for name in ("chain_id", "timestamp", "gas_limit"):
            _check_natural(getattr(self, name), name, 2**53)
        for address, wei in self.balances.items():
            if (data := parse_hex(address)) is None or len(data) != 20:
                raise EvidenceError("0x and 40 lower-case digits", got=address, field="balances")
            _check_natural(wei, f"balances.{address}", 2**128)

    def to_json(self) -> dict[str, object]:
        """The fields as JSON spells them."""
        return {
            "chain_id": self.chain_id,
            "timestamp": self.timestamp,
            "gas_limit": self.gas_limit,
            "balances": dict(sorted(self.balances.items())),
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The genesis that `to_json` spells as `value`; an `EvidenceError` names the field that is wrong."""
        stated: dict[str, Any] = read_object(value, ("chain_id", "timestamp", "gas_limit", "balances"))
        if not isinstance(stated["balances"], dict):
            raise EvidenceError("a JSON object", got=stated["balances"], field="balances")
        return cls(**stated)


def _check_natural(value: object, field: str, most: int) -> None:
    if type(value) is not int or not 0 < value <= most:
        raise EvidenceError(f"an integer from 1 to {most}", got=value, field=field)


def check_chain_id(chain: Chain, signed: SignedTransaction) -> None:
    """Refuse a transaction that was signed for another chain.

    Nodes do this as a rule, but eth-tester includes such a transaction without a word.

    Raises
    ------
    WrongChainError
        If the transaction names another chain than the one it is about to be sent to.
    """
    meant, here = signed.transaction.chain_id, chain.chain_id()
    if meant != here:
        raise WrongChainError(f"transaction for chain {meant}: got chain {here}")


# eth-tester wants even a call's sender to afford its gas, at a fee no lower than the base fee. Calls come
# from an account of their own, whose key nobody has.
_READER = Address("0x" + "ff" * 20)
_READER_WEI = 10**24
_READING = {"from": b"\xff" * 20, "gas": 1_000_000, "max_fee_per_gas": 10**15, "max_priority_fee_per_gas": 0}


class EmbeddedChain:
    """A chain in this process's memory (py-evm), which includes each transaction at once.

    Parameters
    ----------
    genesis : Genesis
        Where it starts from.
    transactions : iterable of bytes
        Signed transactions to replay, in order.

    Raises
    ------
    ChainUnavailableError
        If a transaction is refused.
    WrongChainError
        If a transaction was signed for another chain.
    """

    def __init__(self, genesis: Genesis, transactions: Iterable[bytes] = ()) -> None:
        from eth_tester import PyEVMBackend

        self._genesis = genesis
        self._backend = PyEVMBackend(
            genesis_parameters=PyEVMBackend.generate_genesis_params(
                {"timestamp": genesis.timestamp, "gas_limit": genesis.gas_limit}
            ),
            genesis_state={
                _canonical(address): {"balance": wei, "nonce": 0, "code": b"", "storage": {}}
                for address, wei in [*genesis.balances.items(), (_READER, _READER_WEI)]
            },
        )
        # Its contracts see this number, which goes into what validators sign; eth-tester has one of its own.
        self._backend.chain.chain_id = genesis.chain_id
        self._receipts: dict[bytes, Receipt] = {}
        self._logs: list[tuple[Address, Log]] = []
        for raw in transactions:
            self.send_raw(raw)

    def chain_id(self) -> int:
        """The genesis's number."""
        return self._genesis.chain_id

    def head(self) -> Block:
        """The newest block."""
        return self._block("latest")

    def block_hash(self, number: int) -> bytes | None:
        """Hash of the block of a number; None where there is none yet."""
        return None if number > self.head().number else self._block(number).hash

    def final_number(self) -> int:
        """Number of the newest block: nobody reorganises a chain in this process's memory."""
        return self.head().number

    def at(self, number: int) -> ChainState:
        """What held after a block, which must be the newest: of older ones the chain keeps no state.

        Raises
        ------
        ChainUnavailableError
            If it is another.
        """
        if number != (newest := self.head().number):
            raise ChainUnavailableError(f"embedded chain: got block {number}, wanted the newest, {newest}")
        return self

    def _block(self, number: int | str) -> Block:
        with _embedded_errors():
            found = self._backend.get_block_by_number(number, False)
        return Block(number=int(found["number"]), hash=bytes(found["hash"]), base_fee=int(found["base_fee_per_gas"]))

    def nonce(self, address: Address) -> int:
        """How many transactions of an account are included."""
        with _embedded_errors():
            return int(self._backend.get_nonce(_canonical(address)))

    def balance(self, address: Address) -> int:
        """Wei of an account."""
        with _embedded_errors():
            return int(self._backend.get_balance(_canonical(address)))

    def code(self, address: Address) -> bytes:
        """Deployed code, empty where there is none."""
        with _embedded_errors():
            return bytes(self._backend.get_code(_canonical(address)))

    def call(self, to: Address, data: bytes) -> bytes:
        """Answer of a contract to a call that changes nothing."""
        with _embedded_errors():
            return bytes(self._backend.call({**_READING, "to": _canonical(to), "data": data}))

    def send_raw(self, raw: bytes) -> bytes:
        """Hash of a signed transaction that a new block includes; a second sending has no effect."""
        signed = decode_signed(raw)
        check_chain_id(self, signed)
        if signed.hash not in self._receipts:
            with _embedded_errors():
                self._backend.send_raw_transaction(raw)
                self._backend.mine_blocks(1)
                found = self._backend.get_transaction_receipt(signed.hash)
            receipt = Receipt(
                gas_used=int(found["gas_used"]),
                succeeded=found["status"] == 1,
                block_number=int(found["block_number"]),
                block_hash=self._block(int(found["block_number"])).hash,
            )
            self._receipts[signed.hash] = receipt
            self._logs += [_log(entry, receipt, signed.hash) for entry in found["logs"]]
        return signed.hash

    def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """What became of a transaction; None when it was never sent."""
        return self._receipts.get(transaction_hash)

    def logs(self, address: Address, first: int, last: int) -> tuple[Log, ...]:
        """What a contract said in the blocks from `first` to `last`, both included."""
        return tuple(log for said_by, log in self._logs if said_by == address and first <= log.block_number <= last)


def _log(entry: Mapping[str, Any], receipt: Receipt, transaction_hash: bytes) -> tuple[Address, Log]:
    """Who said it, and what."""
    return Address(to_hex(bytes(entry["address"]))), Log(
        topics=tuple(topic if isinstance(topic, bytes) else int(topic).to_bytes(32) for topic in entry["topics"]),
        data=bytes(entry["data"]),
        block_number=receipt.block_number,
        block_hash=receipt.block_hash,
        transaction_hash=transaction_hash,
        index=int(entry["log_index"]),
    )


def _reason(err: Exception) -> bytes:
    """Why a call was reverted: eth-tester hands the bytes on as text that spells them in Python."""
    try:
        spelled = literal_eval(str(err))
    except (ValueError, SyntaxError):
        return b""
    return spelled if isinstance(spelled, bytes) else b""


def _canonical(address: Address) -> bytes:
    return bytes.fromhex(address[2:])


@contextmanager
def _embedded_errors() -> Iterator[None]:
    from eth.exceptions import PyEVMError
    from eth_tester.exceptions import BlockNotFound, TransactionFailed
    from eth_tester.exceptions import ValidationError as TesterValidationError
    from eth_utils.exceptions import ValidationError

    try:
        yield
    except TransactionFailed as err:
        raise CallRevertedError(f"embedded chain: got {err!r}, wanted an answer", data=_reason(err)) from err
    except (PyEVMError, BlockNotFound, TesterValidationError, ValidationError) as err:
        raise ChainRefusedError(f"embedded chain: got {err!r}, wanted an answer") from err
