import os
from pathlib import Path

from tests.device_drivers.peer import ROOT, Peer, needs

MANAGER = Path(__file__).with_name("manager.py")


def own_python():
    """The interpreter of the environment in which the library's resource manager runs; see `needs`."""
    python = os.environ.get("GRIDPACT_S2_PYTHON", str(ROOT / ".ci" / "tools" / "s2" / "bin" / "python"))
    needs(python, f"s2-python in an environment of its own ({python}); .ci/tools/s2.txt says what is in it")
    return python


def start_manager(kind):
    """A resource manager of s2-python with a device behind it, which dials its port until somebody is there."""
    return Peer(own_python(), str(MANAGER), kind)
