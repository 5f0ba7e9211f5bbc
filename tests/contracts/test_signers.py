"""Keys that others keep: an encrypted file, a signing service. The service here is a stand-in that signs, or lies."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from contracts.errors import SignerUnavailableError
from contracts.hashing import to_hex
from contracts.keystore import open_keystore
from contracts.remote_signer import RemoteSigner
from contracts.transactions import Address, FeePolicy, LocalSigner, Transaction

KEY = b"\x21" * 32
SIGNER = LocalSigner(KEY)
TO = Address("0x" + "ab" * 20)
CALL = Transaction(chain_id=5, nonce=3, to=TO, data=b"\x01\x02", gas=50_000, fees=FeePolicy())
PASSWORD = "correct horse"


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    """A keystore with few rounds of its derivation, as real ones have too many for a test."""
    path = tmp_path / "keystore.json"
    path.write_text(json.dumps(Account.encrypt(KEY, PASSWORD, kdf="pbkdf2", iterations=2)))
    return path


class TestKeystore:
    def test_its_key_signs(self, keystore: Path) -> None:
        assert open_keystore(keystore, PASSWORD).sign(CALL) == SIGNER.sign(CALL)

    def test_another_password_is_refused_and_not_repeated(self, keystore: Path) -> None:
        with pytest.raises(SignerUnavailableError, match=r"keystore\.json: got another password") as caught:
            open_keystore(keystore, "wrong horse")
        assert "horse" not in str(caught.value)

    @pytest.mark.parametrize(
        "text", ["", "[]", "null", "{}", '{"version": 1}', '{"version": 3}', "\u00fc", "[" * 99_999, '{"a":' * 9_999]
    )
    def test_what_is_none_is_refused(self, keystore: Path, text: str) -> None:
        keystore.write_text(text)
        with pytest.raises(SignerUnavailableError, match=r"keystore\.json: got"):
            open_keystore(keystore, PASSWORD)

    @pytest.mark.parametrize("name", ["ciphertext", "mac", "kdf", "kdfparams"])
    def test_a_damaged_one_is_refused(self, keystore: Path, name: str) -> None:
        stated = json.loads(keystore.read_text())
        for wrong in (None, "00", 7, {}):
            stated["crypto"][name] = wrong
            keystore.write_text(json.dumps(stated))
            with pytest.raises(SignerUnavailableError, match=r"keystore\.json: got"):
                open_keystore(keystore, PASSWORD)

    def test_one_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SignerUnavailableError, match="cannot be read"):
            open_keystore(tmp_path / "none", PASSWORD)


class Service(HTTPServer):
    """Answers what `answer` makes of a call."""

    answer: Callable[[dict[str, Any]], Any]


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"jsonrpc": "2.0", "id": 1, **self.server.answer(asked)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def signed(asked: dict[str, Any]) -> dict[str, Any]:
    """What a signing service answers: the fields as they were named, signed."""
    assert asked["method"] == "eth_signTransaction"
    (fields,) = asked["params"]
    assert fields.pop("from") == SIGNER.address
    named = {name: value if name in {"to", "data"} else int(value, 16) for name, value in fields.items()}
    if "to" in named:
        from eth_utils.address import to_checksum_address

        named["to"] = to_checksum_address(named["to"])
    return {"result": to_hex(bytes(Account.sign_transaction(named, KEY).raw_transaction))}


class TestRemoteSigner:
    @pytest.fixture
    def remote(self, service: Service) -> RemoteSigner:
        return RemoteSigner(f"http://127.0.0.1:{service.server_port}", SIGNER.address)

    @pytest.mark.parametrize("call", [CALL, replace(CALL, to=None, nonce=0, data=b"\x60\x00")])
    @pytest.mark.parametrize("wrapped", [False, True])
    def test_it_signs_what_a_key_would(
        self, service: Service, remote: RemoteSigner, call: Transaction, wrapped: bool
    ) -> None:
        def answer(asked: dict[str, Any]) -> dict[str, Any]:
            raw = signed(asked)["result"]
            return {"result": {"raw": raw, "tx": {}} if wrapped else raw}

        service.answer = answer
        assert remote.sign(call) == SIGNER.sign(call)

    @pytest.mark.parametrize(
        "answer",
        [
            {"error": {"code": -32000, "message": "account locked"}},
            {"result": None},
            {"result": "0x"},
            {"result": "0x02c0"},
            {"result": {"tx": {}}},
            {"result": to_hex(SIGNER.sign(replace(CALL, nonce=4)))},
            {"result": to_hex(LocalSigner(b"\x22" * 32).sign(CALL))},
        ],
    )
    def test_whatever_else_it_returns_is_refused(
        self, service: Service, remote: RemoteSigner, answer: dict[str, Any]
    ) -> None:
        service.answer = lambda _: answer
        with pytest.raises(SignerUnavailableError, match=r"^signer 127\.0\.0\.1"):
            remote.sign(CALL)

    def test_one_that_is_down_is_named_by_its_host_alone(self) -> None:
        with pytest.raises(SignerUnavailableError, match=r"signer 127\.0\.0\.1:9: ") as caught:
            RemoteSigner("http://user:secret@127.0.0.1:9/token", SIGNER.address, timeout_s=1).sign(CALL)
        assert "secret" not in str(caught.value)
        assert "token" not in str(caught.value)
