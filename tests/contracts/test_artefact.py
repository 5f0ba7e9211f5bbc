"""The committed artefact is made of the committed source; needs no compiler.

This catches drift, not forged code: that the compiler makes these very bytes is checked by
``node contracts/solidity/compile.mjs --check``.
"""

from __future__ import annotations

import json
from hashlib import sha256
from importlib.resources import files
from typing import Any

import pytest

from contracts.artefact import explain_refusal, load_artefact
from contracts.hashing import keccak, to_hex

FOLDER = files("contracts").joinpath("solidity")
CBOR_IPFS = bytes.fromhex("a264697066735822")  # a map of two, key "ipfs", 34 bytes follow


CONTRACTS = ("EnergyCredits", "GridpactRegistry", "NetPayments")


@pytest.fixture(scope="module", params=CONTRACTS)
def artefact(request: pytest.FixtureRequest) -> dict[str, Any]:
    return json.loads(FOLDER.joinpath(f"{request.param}.json").read_text())


@pytest.fixture(scope="module")
def metadata(artefact: dict[str, Any]) -> dict[str, Any]:
    return json.loads(artefact["metadata"])


@pytest.fixture(scope="module")
def standard() -> dict[str, Any]:
    return json.loads(FOLDER.joinpath("standard-input.json").read_text())


def varint(number: int) -> bytes:
    low = [number & 0x7F]
    while number := number >> 7:
        low.append(number & 0x7F)
    return bytes([*(part | 0x80 for part in low[:-1]), low[-1]])


def ipfs_hash(content: bytes) -> bytes:
    """Multihash of a file of one block: sha2-256 of a dag-pb node that holds a UnixFS file."""
    size = varint(len(content))
    unixfs = b"\x08\x02" + b"\x12" + size + content + b"\x18" + size
    return b"\x12\x20" + sha256(b"\x0a" + varint(len(unixfs)) + unixfs).digest()


def test_ipfs_hash_is_that_of_a_known_file() -> None:
    # "hello world\n" is CIDv0 QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o, here without its base58.
    known = "122046d44814b9c5af141c3aaab7c05dc5e844ead5f91f12858b021eba45768b4c0e"
    assert ipfs_hash(b"hello world\n").hex() == known


def test_sources_are_those_that_were_compiled(metadata: dict[str, Any], standard: dict[str, Any]) -> None:
    assert metadata["sources"]
    for path, source in metadata["sources"].items():
        assert to_hex(keccak(standard["sources"][path]["content"].encode())) == source["keccak256"]


def test_standard_input_holds_our_sources_as_they_stand(standard: dict[str, Any]) -> None:
    own = {f"src/{file.name}": file.read_text() for file in FOLDER.joinpath("src").iterdir()}
    held = {path: source["content"] for path, source in standard["sources"].items()}
    assert {path: content for path, content in held.items() if path.startswith("src/")} == own
    assert all(path.startswith(("src/", "@openzeppelin/contracts/")) for path in held)


def test_settings_are_those_that_were_compiled_with(metadata: dict[str, Any], standard: dict[str, Any]) -> None:
    for name in ("evmVersion", "optimizer", "viaIR"):
        assert standard["settings"][name] == metadata["settings"][name]
    assert standard["settings"]["evmVersion"] == "cancun"


def test_bytecode_ends_with_the_hash_of_its_metadata(artefact: dict[str, Any]) -> None:
    for code in (artefact["bytecode"], artefact["deployedBytecode"]):
        data = bytes.fromhex(code[2:])
        trailer = data[-2 - int.from_bytes(data[-2:]) : -2]
        assert trailer.startswith(CBOR_IPFS)
        assert trailer[len(CBOR_IPFS) :][:34] == ipfs_hash(artefact["metadata"].encode())


def test_compiler_and_library_are_those_that_are_pinned(metadata: dict[str, Any], standard: dict[str, Any]) -> None:
    pinned = json.loads(FOLDER.joinpath("package.json").read_text())["devDependencies"]
    locked = json.loads(FOLDER.joinpath("package-lock.json").read_text())["packages"]
    assert metadata["compiler"]["version"].startswith(f"{pinned['solc']}+")
    for name, version in pinned.items():
        assert locked[f"node_modules/{name}"]["version"] == version
    for path, source in standard["sources"].items():
        if path.startswith("src/"):
            assert f"pragma solidity {pinned['solc']};" in source["content"]


def test_lock_file_names_no_registry() -> None:
    assert "resolved" not in FOLDER.joinpath("package-lock.json").read_text()


def test_calls_and_events_are_those_that_are_documented() -> None:
    """Whoever encodes a call elsewhere relies on these."""
    abi = json.loads(FOLDER.joinpath("GridpactRegistry.json").read_text())["abi"]
    said = {
        kind: {
            f"{entry['name']}({','.join(argument['type'] for argument in entry['inputs'])})"
            for entry in abi
            if entry["type"] == kind
        }
        for kind in ("function", "event")
    }
    assert said["function"] == {
        "MAX_VALIDATORS()",
        "anchor(bytes32,uint64,bytes32,bytes32,bytes)",
        "batchHash(bytes32,uint64)",
        "eip712Domain()",
        "epoch()",
        "isValidator(address)",
        "requireQuorum(bytes32,bytes)",
        "rotate(address[],uint64,bytes)",
        "threshold()",
        "validators()",
        "verifyTrade(tuple,bytes32[],tuple,tuple)",
        "verifyWindow(tuple,bytes32)",
    }
    assert said["event"] == {
        "Anchored(bytes32,uint64,bytes32)",
        "EIP712DomainChanged()",
        "Rotated(uint64,uint64,address[])",
    }


@pytest.mark.parametrize("contract", CONTRACTS)
def test_immutables_are_zeros_in_the_artefact(contract: str) -> None:
    artefact = load_artefact(contract)
    assert artefact.immutables
    for starts in artefact.immutables.values():
        for start in starts:
            assert artefact.runtime_code[start : start + 32] == bytes(32)


def test_a_refusal_is_explained_and_nothing_else_is() -> None:
    artefact = load_artefact("GridpactRegistry")
    few = keccak(b"TooFewSignatures(uint256,uint256)")[:4]
    assert explain_refusal(artefact, few + (2).to_bytes(32) + (3).to_bytes(32)) == "TooFewSignatures: got 2, wanted 3"
    assert str(explain_refusal(artefact, few)).startswith("TooFewSignatures with arguments that are none")
    assert explain_refusal(artefact, b"") is explain_refusal(artefact, b"\0" * 36) is None
