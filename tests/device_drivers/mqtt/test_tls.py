"""A broker whose certificate was made here: who it is is looked at before anything is said to it."""

import asyncio

import pytest

from controller.pki_files import init
from device_drivers.address import DeviceUrl
from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.mqtt.driver import MqttDriver
from device_drivers.setpoint import RelayState
from tests.device_drivers.mqtt.conftest import Mosquitto, start_plug

OPEN, CLOSED = RelayState(closed=False), RelayState(closed=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds two authorities."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("ours", "others"):
        init(folder / name, grid="village", days=1, hosts=())
    (folder / "no.pem").write_text("no certificate")
    return folder


@pytest.fixture(scope="module")
def broker(folder):
    mosquitto = Mosquitto(folder, folder / "ours")
    yield mosquitto
    mosquitto.stop()


@pytest.fixture(scope="module")
def plug(broker, folder):
    peer = start_plug(broker, folder)
    yield peer
    peer.stop()


async def opened(port, *, host="127.0.0.1", password="secret", **options):
    address = DeviceUrl(scheme="mqtt", host=host, port=port, path="plug", username="plug", password=password)
    return await MqttDriver().open(address, failsafe=OPEN, options={"timeout_s": 2.0, **options})


def test_a_plug_is_switched_through_a_broker_whose_authority_is_known(broker, folder, plug):
    async def switch():
        connection = await opened(broker.tls_port, tls=True, ca=str(folder / "ours" / "ca.pem"))
        await connection.apply(CLOSED, revert_after_s=3600)
        closed = await connection.read()
        await connection.apply(OPEN, revert_after_s=None)
        opened_again = await connection.read()
        await connection.aclose()
        return closed.relay_closed, opened_again.relay_closed

    assert asyncio.run(switch()) == (True, False)


@pytest.mark.parametrize(
    ("authority", "changes", "named"),
    [
        ("others", {}, "certificate verify failed"),
        (None, {}, "certificate verify failed"),
        ("ours", {"host": "127.0.0.2"}, r"certificate verify failed: IP address mismatch.*127\.0\.0\.2"),
        ("ours", {"password": "wrong"}, "(?i)not authori"),
    ],
    ids=["authority of others", "authorities of the system", "name of another", "password"],
)
def test_a_broker_that_is_another_or_refuses_is_told(broker, folder, authority, changes, named):
    known = {} if authority is None else {"ca": str(folder / authority / "ca.pem")}
    with pytest.raises(DeviceError, match=named) as refusal:
        asyncio.run(opened(broker.tls_port, tls=True, **known, **changes))
    assert "secret" not in str(refusal.value)
    assert "wrong" not in str(refusal.value)


@pytest.mark.parametrize("tls", [True, False])
def test_one_that_encrypts_and_one_that_does_not_never_meet(broker, folder, tls):
    port = broker.port if tls else broker.tls_port
    known = {"ca": str(folder / "ours" / "ca.pem")} if tls else {}
    with pytest.raises(DeviceError):
        asyncio.run(opened(port, tls=tls, timeout_s=0.5, **known))


def test_an_authority_that_is_no_certificate_is_bad_input(broker, folder):
    with pytest.raises(InvalidValueError, match=r"option ca: .*no\.pem holds no certificate"):
        asyncio.run(opened(broker.tls_port, tls=True, ca=str(folder / "no.pem")))
