"""A chain as the rest of the package sees it, and the two that there are: embedded, and behind a URL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from contracts.errors import ChainUnavailableError, EvidenceError, WrongChainError
from contracts.hashing import parse_hex
from contracts.records import read_object
from contracts.transactions import Address, SignedTransaction, decode_signed

if TYPE_CHECKING:
    from web3 import Web3


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a transaction that a block includes.

    Attributes
    ----------
    gas_used : int
        Gas.
    succeeded : bool
        False when it was reverted.
    """

    gas_used: int
    succeeded: bool


class Chain(Protocol):
    """What anchoring and checking need of a chain.

    Every method raises `ChainUnavailableError` where the chain cannot answer.
    """

    def chain_id(self) -> int:
        """The chain's number."""

    def nonce(self, address: Address) -> int:
        """How many transactions of an account are included."""

    def code(self, address: Address) -> bytes:
        """Deployed code, empty where there is none."""

    def call(self, to: Address, data: bytes) -> bytes:
        """Answer of a contract to a call that changes nothing."""

    def send_raw(self, raw: bytes) -> bytes:
        """Hash of a signed transaction that was handed over; it may be included later, or never."""

    def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """What became of a transaction; None while no block includes it."""


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
        self._receipts: dict[bytes, Receipt] = {}
        for raw in transactions:
            self.send_raw(raw)

    def chain_id(self) -> int:
        """The genesis's number."""
        return self._genesis.chain_id

    def nonce(self, address: Address) -> int:
        """How many transactions of an account are included."""
        with _embedded_errors():
            return int(self._backend.get_nonce(_canonical(address)))

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
            self._receipts[signed.hash] = Receipt(gas_used=int(found["gas_used"]), succeeded=found["status"] == 1)
        return signed.hash

    def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """What became of a transaction; None when it was never sent."""
        return self._receipts.get(transaction_hash)


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
    except (PyEVMError, BlockNotFound, TransactionFailed, TesterValidationError, ValidationError) as err:
        raise ChainUnavailableError(f"embedded chain: got {err!r}, wanted an answer") from err


class RpcChain:
    """A chain behind an Ethereum JSON-RPC URL.

    Parameters
    ----------
    url : str
        http or https.
    timeout_s : float
        Longest wait for one answer, seconds.
    """

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        from web3 import HTTPProvider, Web3

        self._url = url
        # Retries are off: web3 would repeat eth_sendRawTransaction, and a repetition is ours to decide.
        self._web3: Web3 = Web3(
            HTTPProvider(url, request_kwargs={"timeout": timeout_s}, exception_retry_configuration=None)
        )

    def chain_id(self) -> int:
        """The chain's number."""
        with self._errors():
            return int(self._web3.eth.chain_id)

    def nonce(self, address: Address) -> int:
        """How many transactions of an account are included."""
        with self._errors():
            return int(self._web3.eth.get_transaction_count(_checksum(address)))

    def code(self, address: Address) -> bytes:
        """Deployed code, empty where there is none."""
        with self._errors():
            return bytes(self._web3.eth.get_code(_checksum(address)))

    def call(self, to: Address, data: bytes) -> bytes:
        """Answer of a contract to a call that changes nothing."""
        with self._errors():
            return bytes(self._web3.eth.call({"to": _checksum(to), "data": data}))

    def send_raw(self, raw: bytes) -> bytes:
        """Hash of a signed transaction that the node took."""
        check_chain_id(self, decode_signed(raw))
        with self._errors():
            return bytes(self._web3.eth.send_raw_transaction(raw))

    def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """What became of a transaction; None while no block includes it."""
        from web3.exceptions import TransactionNotFound

        with self._errors():
            try:
                found = self._web3.eth.get_transaction_receipt(transaction_hash)  # type: ignore[arg-type]
            except TransactionNotFound:
                return None
        return Receipt(gas_used=int(found["gasUsed"]), succeeded=found["status"] == 1)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from requests import RequestException
        from web3.exceptions import Web3Exception

        try:
            yield
        except (Web3Exception, RequestException, OSError, ValueError, KeyError) as err:
            raise ChainUnavailableError(f"{self._url}: got {err!r}, wanted an answer") from err


def _checksum(address: Address) -> Any:  # web3's own address type, known only once web3 is loaded
    from eth_utils.address import to_checksum_address

    return to_checksum_address(address)
