import sys

import pytest

from tests.device_drivers.peer import Peer


def start_plug(folder, password=""):
    """A stand-in for a Shelly plug."""
    peer = Peer(sys.executable, "-m", "tests.device_drivers.shelly.plug", str(folder / "flash.json"), password)
    peer.flash = folder / "flash.json"
    return peer


@pytest.fixture(scope="session")
def shelly(tmp_path_factory):
    """A plug that knows a password."""
    peer = start_plug(tmp_path_factory.mktemp("shelly"), "open sesame")
    yield peer
    peer.stop()
