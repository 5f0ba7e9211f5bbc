"""Anvil, a node that shares no code with the embedded chain, and what can befall it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from contracts.chain import Genesis
from contracts.errors import ChainUnavailableError
from contracts.json_rpc import JsonRpc
from contracts.rpc_chain import RpcChain

T = TypeVar("T")


def anvil_or_skip() -> str:
    """The program; where there is none the test is skipped, except in CI."""
    binary = os.environ.get("GRIDPACT_ANVIL") or shutil.which("anvil")
    if binary is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no anvil on PATH nor in GRIDPACT_ANVIL, and in CI it must run")
        pytest.skip("no anvil on PATH nor in GRIDPACT_ANVIL (npm package @foundry-rs/anvil has it)")
    return binary


@contextmanager
def running(binary: str, genesis: Genesis) -> Iterator[str]:
    """URL of a fresh node with a chain's number and balances."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [binary, "--host", "127.0.0.1", "--port", str(port), "--silent"]
    command += ["--chain-id", str(genesis.chain_id), "--accounts", "0", "--timestamp", str(genesis.timestamp)]
    with subprocess.Popen(command) as node:
        try:
            url = f"http://127.0.0.1:{port}"
            eventually(lambda: chain_id_or_none(url))
            for address, wei in genesis.balances.items():
                JsonRpc(url, timeout_s=10).ask("anvil_setBalance", [address, hex(wei)])
            yield url
        finally:
            node.terminate()


def eventually(ask: Callable[[], T | None]) -> T:
    """The first answer that is not None, within half a minute."""
    deadline = time.monotonic() + 30
    while (answer := ask()) is None:
        assert time.monotonic() < deadline, "no answer in time"
        time.sleep(0.05)
    return answer


def chain_id_or_none(url: str) -> int | None:
    try:
        return RpcChain(url, timeout_s=1).chain_id()
    except ChainUnavailableError:
        return None
