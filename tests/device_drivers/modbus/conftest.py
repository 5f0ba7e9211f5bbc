import sys
from pathlib import Path

import pytest

from tests.device_drivers.peer import Peer

FOLDER = Path(__file__).parent
DEVICES = {
    "sunspec 704": "2?map=sunspec",
    "sunspec 123": "3?map=sunspec",
    "relay": f"1?map={FOLDER / 'relay.toml'}",
}
"""Path and query of devices of server.py."""


def start_server(framing="socket"):
    """Devices behind a server of pymodbus, whose frames may be those of the serial line: rtu."""
    return Peer(sys.executable, str(FOLDER / "server.py"), framing)


@pytest.fixture(scope="session")
def server():
    """One for all tests."""
    peer = start_server()
    yield peer
    peer.stop()


@pytest.fixture(scope="session")
def gateway():
    """The same, with frames of the serial line."""
    peer = start_server("rtu")
    yield peer
    peer.stop()
