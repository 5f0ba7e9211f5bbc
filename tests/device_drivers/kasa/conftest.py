from pathlib import Path

import pytest

from tests.device_drivers.peer import Peer, node_modules

PLUG = Path(__file__).with_name("plug.cjs")


def plug(model):
    node, modules = node_modules("tplink-smarthome-simulator")
    return Peer(node, str(PLUG), modules, model)


@pytest.fixture(scope="session")
def hs110():
    """A plug that measures power."""
    peer = plug("hs110")
    yield peer
    peer.stop()


@pytest.fixture(scope="session")
def hs300():
    """A strip of six outlets."""
    peer = plug("hs300")
    yield peer
    peer.stop()
