"""Who may connect: by path, by token, over TLS."""

import asyncio
import ssl
import subprocess

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from device_drivers.errors import DeviceError, InvalidValueError
from device_drivers.s2 import line
from device_drivers.s2.driver import S2Driver
from tests.device_drivers.s2.messages import in_mode, modes
from tests.device_drivers.s2.scripted_manager import Manager, dialling, free_port, opened


def relay():
    return Manager(modes(), in_mode("off"))


async def status(port, path="/dev", **headers):
    """What somebody who connects is answered: an HTTP status, or None where the connection stands."""
    try:
        async with connect(f"ws://127.0.0.1:{port}{path}", additional_headers=headers, proxy=None):
            return None
    except InvalidStatus as err:
        return err.response.status_code


@pytest.mark.parametrize("filed", [False, True])
def test_a_connection_needs_the_path_and_the_token_of_a_device(tmp_path, filed):
    (tmp_path / "token").write_text("s3cret\n")
    token = {"token_file": str(tmp_path / "token")} if filed else {"password": "s3cret"}

    async def run():
        port = free_port()
        async with dialling(relay(), port, additional_headers={"Authorization": "Bearer s3cret"}):
            device = await opened(port, **token)
            found = [
                await status(port, "/other", Authorization="Bearer s3cret"),
                await status(port, "//["),
                await status(port),
                await status(port, Authorization="Bearer s3cret "[:-2]),
                await status(port, Authorization="Bearer gehe\u00efm"),
                await status(port, Authorization="s3cret"),
            ]
            reading = await device.read()
            await device.aclose()
        return found, reading.relay_closed

    assert asyncio.run(run()) == ([404, 404, 401, 401, 401, 401], False)


def test_a_manager_with_another_token_is_named_in_the_state_of_its_device(caplog):
    async def run():
        port = free_port()
        async with dialling(relay(), port, additional_headers={"Authorization": "Bearer other"}):
            await opened(port, password="s3cret", timeout_s=0.5)

    with pytest.raises(DeviceError, match=r"wanted the resource manager to connect; one came without the token"):
        asyncio.run(run())
    (said,) = caplog.messages
    assert said.endswith("/dev: one came without the token, and is turned away")


def test_a_newer_connection_takes_the_place_of_an_older_one():
    async def run():
        port = free_port()
        first, second = relay(), Manager(modes(), in_mode("on"))
        async with dialling(first, port):
            device = await opened(port)
            was = (await device.read()).relay_closed
        async with dialling(second, port):
            await second.began(1)
            now = (await device.read()).relay_closed
            await device.aclose()
        return was, now

    assert asyncio.run(run()) == (False, True)


def test_a_port_that_is_taken_is_an_error_of_the_device():
    async def run():
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
            await opened(server.sockets[0].getsockname()[1])

    with pytest.raises(DeviceError, match=r"cannot be listened on: .*in use"):
        asyncio.run(run())


def test_a_port_that_nobody_uses_is_listened_on_for_a_while(monkeypatch):
    async def run():
        port, driver = free_port(), S2Driver()
        async with dialling(relay(), port):
            for _ in range(2):
                await (await opened(port, driver=driver)).aclose()
        found = [await status(port)]
        await asyncio.sleep(0.3)
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await status(port)
        async with dialling(relay(), port):
            await (await opened(port, driver=driver)).aclose()
        return found

    monkeypatch.setattr(line, "LINGER_S", 0.2)
    assert asyncio.run(run()) == [None]


def test_a_port_is_listened_on_for_as_long_as_its_only_device_is_served(monkeypatch):
    async def run():
        port, driver, manager = free_port(), S2Driver(), relay()
        async with dialling(manager, port):
            device = await opened(port, driver=driver)
            await asyncio.sleep(0.2)
            reading = await device.read()
            await device.aclose()
        return reading.relay_closed, manager.sessions

    monkeypatch.setattr(line, "LINGER_S", 0.1)
    assert asyncio.run(run()) == (False, 1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Files of a certificate for 127.0.0.1 and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return str(cert), str(key)


def test_managers_connect_over_tls_where_there_is_a_certificate(authority):
    cert, key = authority

    async def run():
        port, driver, manager = free_port(), S2Driver(), relay()

        async def dial():
            while manager.sessions == 0:
                try:
                    async with connect(f"wss://127.0.0.1:{port}/dev", ssl=trusting, proxy=None) as one:
                        await manager.run(one)
                except OSError:
                    await asyncio.sleep(0.02)

        trusting = ssl.create_default_context(cafile=cert)
        task = asyncio.create_task(dial())
        device = await opened(port, driver=driver, certificate=cert, key=key)
        reading = await device.read()
        with pytest.raises(InvalidValueError, match=r"option certificate: got none, wanted .*cert.pem"):
            await opened(port, driver=driver, path="other")
        await device.aclose()
        await task
        return reading.relay_closed

    assert asyncio.run(run()) is False
