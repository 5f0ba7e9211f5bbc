import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.device_drivers.peer import Peer, needs

FOLDER = Path(__file__).parent


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class Mosquitto:
    """The broker, with one user, on the loopback.

    Parameters
    ----------
    folder : Path
        For its settings.
    pki : Path, optional
        Folder of an authority; its server's certificate is shown on the ports of 127.0.0.1 and 127.0.0.2 for TLS.
    """

    def __init__(self, folder, pki=None):
        # Debian has it where no user's PATH leads.
        path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
        self._binary = needs(shutil.which("mosquitto", path=path), "mosquitto")
        users, self._settings = folder / "users", folder / "mosquitto.conf"
        subprocess.run(
            [needs(shutil.which("mosquitto_passwd"), "mosquitto_passwd"), "-b", "-c", users, "plug", "secret"],
            check=True,
        )
        self.port, self.tls_port = free_port(), free_port()
        owner = f"user {getpass.getuser()}\n"
        settings = [
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {users}\nlog_type error\n{owner}"
        ]
        if pki is not None:
            settings += [
                f"listener {self.tls_port} {host}\ncertfile {pki / 'server.pem'}\nkeyfile {pki / 'server.key'}\n"
                for host in ("127.0.0.1", "127.0.0.2")
            ]
        self._settings.write_text("".join(settings))
        self.start()

    def start(self):
        self._process = subprocess.Popen([self._binary, "-c", self._settings])
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        pytest.fail("mosquitto does not listen")

    def stop(self):
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """A mosquitto of its own."""
    mosquitto = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    yield mosquitto
    mosquitto.stop()


def start_plug(broker, folder):
    """A stand-in for a Tasmota plug, connected to the broker."""
    peer = Peer(sys.executable, "-m", "tests.device_drivers.mqtt.tasmota", str(broker.port), str(folder / "flash.json"))
    peer.flash = folder / "flash.json"
    return peer


def start_switch(broker):
    """A switch whose topics are those of switch.toml."""
    return Peer(sys.executable, str(FOLDER / "switch.py"), str(broker.port))


@pytest.fixture(scope="session")
def plug(broker, tmp_path_factory):
    """A plug for all tests."""
    peer = start_plug(broker, tmp_path_factory.mktemp("plug"))
    yield peer
    peer.stop()


@pytest.fixture(scope="session")
def switch(broker):
    """A switch for all tests."""
    peer = start_switch(broker)
    yield peer
    peer.stop()
