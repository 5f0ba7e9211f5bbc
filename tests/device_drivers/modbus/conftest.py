import sys
from pathlib import Path

import pytest

from tests.device_drivers.peer import Peer

FOLDER = Path(__file__).parent
DEVICES = {
    "sunspec 704": "2?map=sunspec",
    "relay": f"1?map={FOLDER / 'relay.toml'}",
}
"""Path and query of devices of server.py."""


def start_server():
    """Devices behind a server of pymodbus."""
    return Peer(sys.executable, str(FOLDER / "server.py"))


@pytest.fixture(scope="session")
def server():
    """One for all tests."""
    peer = start_server()
    yield peer
    peer.stop()
