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

from contracts.hashing import keccak, to_hex
from contracts.registry import anchor_data, load_artefact

FOLDER = files("contracts").joinpath("solidity")
CBOR_IPFS = bytes.fromhex("a264697066735822")  # a map of two, key "ipfs", 34 bytes follow


@pytest.fixture(scope="module")
def artefact() -> dict[str, Any]:
    return json.loads(FOLDER.joinpath("GridpactRegistry.json").read_text())


@pytest.fixture(scope="module")
def metadata(artefact: dict[str, Any]) -> dict[str, Any]:
    return json.loads(artefact["metadata"])


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


def test_sources_are_those_that_were_compiled(metadata: dict[str, Any]) -> None:
    assert metadata["sources"]
    for path, source in metadata["sources"].items():
        assert to_hex(keccak(FOLDER.joinpath(path).read_bytes())) == source["keccak256"]


def test_standard_input_holds_the_source_and_the_settings(metadata: dict[str, Any]) -> None:
    standard = json.loads(FOLDER.joinpath("standard-input.json").read_text())
    for path, source in standard["sources"].items():
        assert source["content"] == FOLDER.joinpath(path).read_text()
    assert standard["settings"]["evmVersion"] == metadata["settings"]["evmVersion"] == "cancun"
    assert standard["settings"]["optimizer"] == metadata["settings"]["optimizer"]


def test_bytecode_ends_with_the_hash_of_its_metadata(artefact: dict[str, Any]) -> None:
    for code in (artefact["bytecode"], artefact["deployedBytecode"]):
        data = bytes.fromhex(code[2:])
        trailer = data[-2 - int.from_bytes(data[-2:]) : -2]
        assert trailer.startswith(CBOR_IPFS)
        assert trailer[len(CBOR_IPFS) :][:34] == ipfs_hash(artefact["metadata"].encode())


def test_compiler_is_the_one_that_is_pinned(metadata: dict[str, Any]) -> None:
    package = json.loads(FOLDER.joinpath("package.json").read_text())
    version = package["devDependencies"]["solc"]
    assert metadata["compiler"]["version"].startswith(f"{version}+")
    source = FOLDER.joinpath("src", "GridpactRegistry.sol").read_text()
    assert f"pragma solidity {version};" in source


def test_lock_file_names_no_registry() -> None:
    assert "resolved" not in FOLDER.joinpath("package-lock.json").read_text()


def test_abi_has_the_calls_that_are_encoded(artefact: dict[str, Any]) -> None:
    signatures = {
        f"{entry['name']}({','.join(argument['type'] for argument in entry['inputs'])})"
        for entry in artefact["abi"]
        if entry["type"] == "function"
    }
    assert signatures == {"anchor(bytes32,bytes32)", "headerHash(bytes32)", "operator()"}
    assert anchor_data(bytes(32), bytes(32))[:4] == keccak(b"anchor(bytes32,bytes32)")[:4]


def test_immutables_are_the_operator_alone() -> None:
    artefact = load_artefact()
    assert artefact.immutable_starts
    for start in artefact.immutable_starts:
        assert artefact.runtime_code[start : start + 32] == bytes(32)
