"""What a node may answer, and what becomes of it; the node here is a stand-in that answers what it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from contracts.batch import microgrid_key
from contracts.chain import Block, EmbeddedChain
from contracts.errors import CallRevertedError, ChainRefusedError, ChainUnavailableError
from contracts.json_rpc import JsonRpc
from contracts.registry import Anchored, parse_event
from contracts.rpc_chain import RpcChain
from contracts.transactions import Address
from tests.contracts.validators import quorum_of

ADDRESS = Address("0x" + "ab" * 20)
HASH = "0x" + "cd" * 32


class Node(HTTPServer):
    """Answers each call with `answer`, under `status`, and keeps what was asked."""

    answer: Any = None
    status = 200
    headers: dict[str, str]
    asked: list[Any]


class Handler(BaseHTTPRequestHandler):
    """One call."""

    server: Node

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        self.server.headers = dict(self.headers)
        text = self.server.answer if isinstance(self.server.answer, bytes) else json.dumps(self.server.answer).encode()
        self.send_response(self.server.status)
        if self.server.status == 307:
            self.send_header("Location", "http://127.0.0.1:1/")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def node() -> Iterator[Node]:
    with Node(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def chain(node: Node) -> RpcChain:
    return RpcChain(f"http://127.0.0.1:{node.server_port}/v3/sesame", timeout_s=2)


def result(value: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 1, "result": value}


def error(code: int, message: str, data: object = None) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message, "data": data}}


def test_a_block_is_read_with_and_without_a_base_fee(node: Node, chain: RpcChain) -> None:
    node.answer = result({"number": "0x10", "hash": HASH, "baseFeePerGas": "0x7"})
    assert chain.head() == Block(number=16, hash=b"\xcd" * 32, base_fee=7)
    node.answer = result({"number": "0x10", "hash": HASH})
    assert chain.head().base_fee == 0


def test_a_state_is_asked_at_its_own_block(node: Node, chain: RpcChain) -> None:
    node.answer = result("0x5")
    assert chain.at(255).nonce(ADDRESS) == 5
    assert chain.balance(ADDRESS) == 5
    assert [asked["params"] for asked in node.asked] == [[ADDRESS, "0xff"], [ADDRESS, "latest"]]


@pytest.mark.parametrize("wrong", [None, 5, "5", "0xzz", "", [], {}, True])
def test_a_number_that_is_none_is_refused(node: Node, chain: RpcChain, wrong: object) -> None:
    node.answer = result(wrong)
    with pytest.raises(ChainUnavailableError, match=r"127\.0\.0\.1:\d+: eth_chainId: got .*, wanted a number"):
        chain.chain_id()


@pytest.mark.parametrize("wrong", [None, 5, "12", "0x1", "0xzz", []])
def test_bytes_that_are_none_are_refused(node: Node, chain: RpcChain, wrong: object) -> None:
    node.answer = result(wrong)
    with pytest.raises(ChainUnavailableError, match=r"eth_getCode: got .*, wanted bytes"):
        chain.code(ADDRESS)


@pytest.mark.parametrize(
    "answer", [b"", b"<html>", b"[]", b"5", b"{}", b"[" * 100_000, {"error": "no"}, b'{"jsonrpc": "2.0"}', b"\xff"]
)
def test_an_answer_that_is_none_is_refused(node: Node, chain: RpcChain, answer: object) -> None:
    node.answer = answer
    with pytest.raises(ChainUnavailableError, match="eth_chainId: got "):
        chain.chain_id()


@pytest.mark.parametrize("status", [301, 307, 401, 429, 503])
def test_a_status_is_named_and_a_redirection_not_followed(node: Node, chain: RpcChain, status: int) -> None:
    node.status, node.answer = status, b"slow down"
    with pytest.raises(ChainUnavailableError, match=f"got http status {status}, wanted an answer"):
        chain.chain_id()
    assert len(node.asked) == 1


def test_an_error_under_a_status_of_http_is_still_read(node: Node, chain: RpcChain) -> None:
    node.status, node.answer = 400, error(-32000, "nonce too low")
    with pytest.raises(ChainRefusedError, match="nonce too low"):
        chain.chain_id()


@pytest.mark.parametrize(
    "answer",
    [
        error(3, "execution reverted", "0xdeadbeef"),
        error(-32000, "execution reverted", "0xDEADBEEF"),
        error(-32603, "VM Exception", {"data": "0xdeadbeef"}),
    ],
)
def test_the_reason_of_a_reverted_call_is_found_where_nodes_put_it(node: Node, chain: RpcChain, answer: object) -> None:
    node.answer = answer
    with pytest.raises(CallRevertedError) as caught:
        chain.call(ADDRESS, b"")
    assert caught.value.data == bytes.fromhex("deadbeef")


def test_a_call_that_fails_otherwise_is_no_revert(node: Node, chain: RpcChain) -> None:
    node.answer = error(-32000, "header not found")
    with pytest.raises(ChainRefusedError, match="header not found"):
        chain.call(ADDRESS, b"")


def test_nothing_of_a_url_but_its_host_is_said_and_its_login_is_sent_apart(node: Node) -> None:
    url = f"http://ann:open%20sesame@127.0.0.1:{node.server_port}/v3/secret?key=secret"
    node.answer = b"nonsense"
    with pytest.raises(ChainUnavailableError) as caught:
        RpcChain(url, timeout_s=2).chain_id()
    assert "secret" not in str(caught.value)
    assert "sesame" not in str(caught.value)
    assert node.headers["Authorization"] == "Basic YW5uOm9wZW4gc2VzYW1l"


def test_a_node_that_is_down_is_said_so() -> None:
    with pytest.raises(ChainUnavailableError, match=r"127\.0\.0\.1:1: eth_chainId: got .*, wanted an answer"):
        RpcChain("http://127.0.0.1:1", timeout_s=2).chain_id()


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "http://[::1", "http://x:port", "x"])
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ChainUnavailableError, match=r"wanted http://HOST"):
        JsonRpc(url, timeout_s=1)


@pytest.mark.parametrize(("depth", "final"), [(None, 7), (0, 7), (3, 4), (9, -2)])
def test_finality_is_the_nodes_word_or_a_depth(node: Node, depth: int | None, final: int) -> None:
    node.answer = result({"number": "0x7", "hash": HASH})
    chain = RpcChain(f"http://127.0.0.1:{node.server_port}", finality_depth=depth)
    assert chain.final_number() == final
    assert node.asked[0]["params"][0] == ("finalized" if depth is None else "latest")


def test_a_node_without_finality_is_named(node: Node, chain: RpcChain) -> None:
    node.answer = result(None)
    with pytest.raises(ChainUnavailableError, match="got no block 'finalized', wanted one"):
        chain.final_number()


def test_logs_are_read_whole_or_refused(node: Node, chain: RpcChain) -> None:
    entry = {
        "topics": [HASH, HASH],
        "data": "0x01",
        "blockNumber": "0x2",
        "blockHash": HASH,
        "transactionHash": HASH,
        "logIndex": "0x3",
    }
    node.answer = result([entry])
    (log,) = chain.logs(ADDRESS, 1, 2)
    assert (log.topics, log.data, log.block_number, log.index) == ((b"\xcd" * 32,) * 2, b"\x01", 2, 3)
    for missing in entry:
        node.answer = result([{name: value for name, value in entry.items() if name != missing}])
        with pytest.raises(ChainUnavailableError, match=f"eth_getLogs: {missing}: got None"):
            chain.logs(ADDRESS, 1, 2)
    node.answer = result("0x")
    with pytest.raises(ChainUnavailableError, match="wanted an array"):
        chain.logs(ADDRESS, 1, 2)


def test_an_embedded_chain_tells_its_blocks_and_logs(settled: Any) -> None:
    chain = EmbeddedChain(settled.chain.genesis, [entry.raw for entry in settled.chain.transactions])
    head = chain.head()
    assert head.number == len(settled.chain.transactions) == chain.final_number()
    assert chain.block_hash(head.number) == head.hash
    assert chain.block_hash(head.number + 1) is None
    assert chain.block_hash(0) == EmbeddedChain(settled.chain.genesis).head().hash
    logs = chain.logs(settled.chain.contract, 2, head.number)
    assert [log.block_number for log in logs] == list(range(2, head.number + 1))
    said = [parse_event(log) for log in chain.logs(settled.chain.contract, 0, head.number)]
    first, *_, last = (signed.batch for signed in settled.batches)
    key = microgrid_key(first.microgrid)
    held = [Anchored(microgrid=key, number=batch.number, hash=batch.hash) for batch in (first, last)]
    assert said == [settled.deployment.quorum, held[0], quorum_of(range(3, 8), epoch=1), held[1]]
    assert chain.logs(settled.chain.contract, 2, 2) == logs[:1]
    with pytest.raises(ChainUnavailableError, match=f"got block 1, wanted the newest, {head.number}"):
        chain.at(1)
    with pytest.raises(CallRevertedError):
        chain.call(settled.chain.contract, b"\x00")
