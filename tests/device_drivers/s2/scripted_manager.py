"""A resource manager that says what a test has it say, for what the library's own never does."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager, suppress

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from device_drivers.address import DeviceUrl
from device_drivers.s2.driver import S2Driver
from device_drivers.setpoint import RelayState
from tests.device_drivers.s2.messages import became, details, message

OMBC = "OPERATION_MODE_BASED_CONTROL"
FRBC = "FILL_RATE_BASED_CONTROL"
PEBC = "POWER_ENVELOPE_BASED_CONTROL"
PPBC = "POWER_PROFILE_BASED_CONTROL"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def accepts(instruction):
    """What most say of instructions."""
    return [became(instruction, "ACCEPTED")]


class Manager:
    """One device's.

    Parameters
    ----------
    *said : dict or str
        What it says once it is under control; a str as it is.
    answer : callable
        What it says when it is told something; None ends the connection.
    receipt : callable
        The status of the receipt for a message; None gives none.
    hello : sequence of dict
        What it says first.
    about : dict
        Its ResourceManagerDetails.
    """

    def __init__(
        self,
        *said,
        answer=accepts,
        receipt=lambda found: "OK",
        hello=None,
        about=None,
    ):
        self.said, self.answer, self.receipt = said, answer, receipt
        self.hello = [handshake()] if hello is None else hello
        self.about = details(OMBC, measures=()) if about is None else about
        self.told = []
        self.receipts = {}
        self.sessions = 0
        self._websocket = None
        self._news = asyncio.Event()

    async def say(self, *found):
        for one in found:
            await self._websocket.send(one if isinstance(one, str) else json.dumps(one))

    async def heard(self, one):
        """The receipt for what was said."""
        await self._until(lambda: one["message_id"] in self.receipts)
        return self.receipts[one["message_id"]]

    async def began(self, sessions):
        """Wait until there have been so many sessions."""
        await self._until(lambda: self.sessions >= sessions)

    async def _until(self, seen):
        while not seen():
            self._news.clear()
            await self._news.wait()

    async def hang_up(self):
        """End the session, and begin another."""
        sessions = self.sessions
        await self._websocket.close()
        await self.began(sessions + 1)

    async def run(self, websocket):
        self._websocket = websocket
        self.sessions += 1
        self._news.set()
        with suppress(ConnectionClosed):
            await self.say(*self.hello)
            async for text in websocket:
                found = json.loads(text)
                if found["message_type"] == "ReceptionStatus":
                    self.receipts[found["subject_message_id"]] = found
                    self._news.set()
                elif not await self._hear(found):
                    break

    async def _hear(self, found):
        status = self.receipt(found)
        if status is not None:
            fields = {"message_type": "ReceptionStatus", "subject_message_id": found["message_id"], "status": status}
            await self.say(fields)
        match found["message_type"]:
            case "Handshake":
                answer = ()
            case "HandshakeResponse":
                answer = (self.about,)
            case "SelectControlType":
                answer = self.said
            case _:
                self.told.append(found)
                answer = self.answer(found)
        if answer is None:
            return False
        await self.say(*answer)
        return True

    async def dial(self, port, path="/dev", **options):
        """Dial until somebody is there, again and again."""
        while True:
            with suppress(OSError, ConnectionClosed, InvalidHandshake):
                async with connect(f"ws://127.0.0.1:{port}{path}", proxy=None, close_timeout=0.1, **options) as one:
                    await self.run(one)
            await asyncio.sleep(0.02)


def handshake(role="RM", versions=("0.0.2-beta",)):
    return message("Handshake", role=role, supported_protocol_versions=list(versions))


@asynccontextmanager
async def dialling(manager, port, path="/dev", **options):
    task = asyncio.create_task(manager.dial(port, path, **options))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def answering(manager, **options):
    """A manager that listens; yields its port."""
    async with serve(manager.run, "127.0.0.1", 0, close_timeout=0.1, **options) as server:
        yield server.sockets[0].getsockname()[1]


async def opened(port, *, driver=None, failsafe=None, path="dev", password=None, clock=None, **options):
    """A connection of a driver of its own, unless one is named."""
    if driver is None:
        driver = S2Driver(clock)
    address = DeviceUrl(scheme="s2", host="127.0.0.1", port=port, password=password, path=path)
    failsafe = RelayState(closed=False) if failsafe is None else failsafe
    return await driver.open(address, failsafe=failsafe, options={"timeout_s": 1.0, **options})


def of(manager, call, **options):
    """What a call on the connection to this manager returns; it is closed after it."""

    async def run():
        port = free_port()
        async with dialling(manager, port):
            device = await opened(port, **options)
            try:
                return await call(device)
            finally:
                await device.aclose()

    return asyncio.run(run())
