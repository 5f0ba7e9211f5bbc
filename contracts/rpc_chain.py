"""A chain behind the URL of an Ethereum node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from contracts.chain import Block, Log, Receipt, check_chain_id
from contracts.errors import CallRevertedError, ChainRefusedError, ChainUnavailableError
from contracts.hashing import parse_hex, to_hex
from contracts.json_rpc import JsonRpc
from contracts.transactions import Address, decode_signed

_REVERTED = 3
"""Code of a call that was reverted, as go-ethereum gives it and others do after it."""


class RpcState:
    """What holds after one of the chain's blocks.

    Parameters
    ----------
    rpc : JsonRpc
        The node.
    block : str
        The block's number in hexadecimal, or a tag.
    """

    def __init__(self, rpc: JsonRpc, block: str) -> None:
        self._rpc = rpc
        self._block = block

    def nonce(self, address: Address) -> int:
        """How many transactions of an account are included."""
        return self._number("eth_getTransactionCount", address)

    def balance(self, address: Address) -> int:
        """Wei of an account."""
        return self._number("eth_getBalance", address)

    def code(self, address: Address) -> bytes:
        """Deployed code, empty where there is none."""
        return read_data(self._rpc, "eth_getCode", self._rpc.ask("eth_getCode", [address, self._block]))

    def call(self, to: Address, data: bytes) -> bytes:
        """Answer of a contract to a call that changes nothing."""
        call = {"to": to, "data": to_hex(data)}
        try:
            return read_data(self._rpc, "eth_call", self._rpc.ask("eth_call", [call, self._block]))
        except ChainRefusedError as err:
            if err.code == _REVERTED or err.data or "revert" in str(err):
                raise CallRevertedError(str(err), code=err.code, data=err.data) from err
            raise

    def _number(self, method: str, address: Address) -> int:
        return read_number(self._rpc, method, self._rpc.ask(method, [address, self._block]))


class RpcChain(RpcState):
    """A chain behind an Ethereum JSON-RPC URL; what it says without a block is of the newest.

    Parameters
    ----------
    url : str
        http or https.
    finality_depth : int or None
        How many blocks must follow one until it counts as final, where the chain does not say itself; None trusts the
        block that the node calls `finalized`.
    timeout_s : float
        Longest wait for one answer, seconds.
    """

    def __init__(self, url: str, *, finality_depth: int | None = None, timeout_s: float = 10.0) -> None:
        super().__init__(JsonRpc(url, timeout_s=timeout_s), "latest")
        self._finality_depth = finality_depth

    def chain_id(self) -> int:
        """The chain's number."""
        return read_number(self._rpc, "eth_chainId", self._rpc.ask("eth_chainId"))

    def head(self) -> Block:
        """The newest block."""
        return self._known("latest")

    def block_hash(self, number: int) -> bytes | None:
        """Hash of the block of a number; None where there is none yet."""
        block = self._find(hex(number))
        return None if block is None else block.hash

    def final_number(self) -> int:
        """Number of the newest block that no reorganisation can undo; negative where there is none yet."""
        if self._finality_depth is not None:
            return self.head().number - self._finality_depth
        return self._known("finalized").number

    def at(self, number: int) -> RpcState:
        """What held after a block."""
        return RpcState(self._rpc, hex(number))

    def send_raw(self, raw: bytes) -> bytes:
        """Hash of a signed transaction that the node took."""
        check_chain_id(self, decode_signed(raw))
        return read_data(self._rpc, "eth_sendRawTransaction", self._rpc.ask("eth_sendRawTransaction", [to_hex(raw)]))

    def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """What became of a transaction; None while no block includes it."""
        method = "eth_getTransactionReceipt"
        found = self._rpc.ask(method, [to_hex(transaction_hash)])
        if found is None:
            return None
        fields = _Fields(self._rpc, method, found)
        return Receipt(
            gas_used=fields.number("gasUsed"),
            succeeded=fields.number("status") == 1,
            block_number=fields.number("blockNumber"),
            block_hash=fields.data("blockHash"),
        )

    def logs(self, address: Address, first: int, last: int) -> tuple[Log, ...]:
        """What a contract said in the blocks from `first` to `last`, both included."""
        method = "eth_getLogs"
        asked = {"address": address, "fromBlock": hex(first), "toBlock": hex(last)}
        found = self._rpc.ask(method, [asked])
        if not isinstance(found, list):
            raise ChainUnavailableError(f"{self._rpc.host}: {method}: got {found!r:.80}, wanted an array")
        return tuple(self._log(_Fields(self._rpc, method, entry)) for entry in found)

    def _log(self, fields: _Fields) -> Log:
        return Log(
            topics=fields.array("topics"),
            data=fields.data("data"),
            block_number=fields.number("blockNumber"),
            block_hash=fields.data("blockHash"),
            transaction_hash=fields.data("transactionHash"),
            index=fields.number("logIndex"),
        )

    def _known(self, tag: str) -> Block:
        block = self._find(tag)
        if block is None:
            raise ChainUnavailableError(f"{self._rpc.host}: got no block {tag!r}, wanted one")
        return block

    def _find(self, block: str) -> Block | None:
        method = "eth_getBlockByNumber"
        found = self._rpc.ask(method, [block, False])
        if found is None:
            return None
        fields = _Fields(self._rpc, method, found)
        return Block(
            number=fields.number("number"),
            hash=fields.data("hash"),
            # Chains without EIP-1559 have none: their price is the tip alone.
            base_fee=fields.number("baseFeePerGas") if "baseFeePerGas" in fields.names else 0,
        )


@dataclass(frozen=True, slots=True)
class _Fields:
    """The fields of an object that a node answered with."""

    rpc: JsonRpc
    method: str
    value: object

    @property
    def names(self) -> Iterable[str]:
        return self.value if isinstance(self.value, dict) else ()

    def number(self, name: str) -> int:
        return read_number(self.rpc, f"{self.method}: {name}", self._get(name))

    def data(self, name: str) -> bytes:
        return read_data(self.rpc, f"{self.method}: {name}", self._get(name))

    def array(self, name: str) -> tuple[bytes, ...]:
        value = self._get(name)
        items: list[Any] = value if isinstance(value, list) else [value]
        return tuple(read_data(self.rpc, f"{self.method}: {name}", item) for item in items)

    def _get(self, name: str) -> object:
        return self.value.get(name) if isinstance(self.value, dict) else None


def read_number(rpc: JsonRpc, what: str, value: object) -> int:
    """The number that an answer spells."""
    try:
        if isinstance(value, str) and value.startswith("0x"):
            return int(value, 16)
    except ValueError:
        pass
    raise ChainUnavailableError(f"{rpc.host}: {what}: got {value!r:.80}, wanted a number in hexadecimal")


def read_data(rpc: JsonRpc, what: str, value: object) -> bytes:
    """The bytes that an answer spells."""
    data = parse_hex(value.lower()) if isinstance(value, str) else None
    if data is None:
        raise ChainUnavailableError(f"{rpc.host}: {what}: got {value!r:.80}, wanted bytes in hexadecimal")
    return data
