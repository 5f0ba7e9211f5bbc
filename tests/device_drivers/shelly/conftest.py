import sys
from pathlib import Path

import pytest

from tests.device_drivers.peer import Peer

PLUG = Path(__file__).with_name("plug.py")


def start_plug(folder, password=""):
    """A stand-in for a Shelly plug."""
    peer = Peer(sys.executable, str(PLUG), str(folder / "flash.json"), password)
    peer.flash = folder / "flash.json"
    return peer


@pytest.fixture(scope="session")
def shelly(tmp_path_factory):
    """A plug that knows a password."""
    peer = start_plug(tmp_path_factory.mktemp("shelly"), "open sesame")
    yield peer
    peer.stop()
