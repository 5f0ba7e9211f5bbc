"""One connection of a station: calls to it one after the other, and answers to what it says."""

import asyncio
import logging
import socket
import struct
from itertools import count
from typing import Any

from ocpp.exceptions import NotImplementedError as NotAnswered
from ocpp.exceptions import OCPPError
from ocpp.messages import Call, CallError, CallResult, unpack, validate_payload
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from device_drivers import plain_json
from device_drivers.clock import Clock
from device_drivers.errors import DeviceError
from device_drivers.ocpp.dialect import Dialect, Payload, Request
from device_drivers.ocpp.station import Station

log = logging.getLogger(__name__)

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_LONGEST_NAME = 50


class Session:
    """A connection that was let in.

    Parameters
    ----------
    socket_ : ServerConnection
        The WebSocket.
    station : Station
        Whose it is.
    dialect : Dialect
        What is spoken.
    clock : Clock
        The driver's.
    """

    def __init__(self, socket_: ServerConnection, station: Station, dialect: Dialect, clock: Clock) -> None:
        self.dialect = dialect
        self._socket = socket_
        self._station = station
        self._clock = clock
        self._numbers = count(1)
        self._calling = asyncio.Lock()
        self._pending: tuple[str, asyncio.Future[CallResult | CallError]] | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def call(self, request: Request, *, acts: bool = False) -> Payload:
        """The answer to a call.

        Parameters
        ----------
        request : Request
            What is called.
        acts : bool
            Whether it switches something. Then the connection ends when no answer is waited for any more: what was
            not delivered must not be carried out later.

        Raises
        ------
        DeviceError
            If the connection ends, or the station answers with an error or what makes no sense.
        """
        who = f"ocpp: {self._station.name}: {request.action}"
        # One at a time, as the protocol has it.
        async with self._calling:
            number = str(next(self._numbers))
            call = Call(number, request.action, request.payload)
            await validate_payload(call, self.dialect.schema)
            coming: asyncio.Future[CallResult | CallError] = asyncio.get_running_loop().create_future()
            self._pending = (number, coming)
            try:
                await self._socket.send(call.to_json())
                await self.until(coming)
            except ConnectionClosed as err:
                raise DeviceError(f"{who}: the connection ended") from err
            finally:
                self._pending = None
                if acts and not coming.done():
                    self.drop()
        answer = coming.result()
        if isinstance(answer, CallError):
            code, text = str(answer.error_code)[:40], str(answer.error_description)[:80]
            raise DeviceError(f"{who} was answered with an error: {code} {text}".rstrip())
        if not isinstance(answer.payload, dict):
            raise DeviceError(f"{who}: got {str(answer.payload)[:40]!r}, wanted an object")
        if request.checked:
            answer.action = request.action
            try:
                await validate_payload(answer, self.dialect.schema)
            except OCPPError as err:
                raise DeviceError(f"{who}: got {str(answer.payload)[:80]}, wanted its answer") from err
        payload: Payload = answer.payload
        return payload

    async def until(self, coming: "asyncio.Future[Any]") -> None:
        """Wait for something; a `DeviceError` if the connection ends before."""
        await asyncio.wait({coming, self._ended}, return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            raise DeviceError(f"ocpp: {self._station.name}: the connection ended")

    async def run(self) -> None:
        """Hear what the station says until the connection ends."""
        try:
            async for message in self._socket:
                await self._hear(message)
        except ConnectionClosed:
            pass
        finally:
            if not self._ended.done():
                self._ended.set_result(None)

    def drop(self) -> None:
        """End the connection at once; nothing that was not delivered is."""
        transport = self._socket.transport
        end = transport.get_extra_info("socket")
        if end is not None and not transport.is_closing():
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
        if not self._ended.done():
            self._ended.set_result(None)

    async def _hear(self, message: str | bytes) -> None:
        try:
            plain_json.check_depth(message if isinstance(message, str) else message.decode("utf-8"))
            said = unpack(message)
        except (OCPPError, TypeError, ValueError, RecursionError):
            log.debug("%s: got %.80r, wanted a message of OCPP", self._station.name, message)
            return
        if isinstance(said, Call):
            await self._answer(said)
        elif self._pending is not None and said.unique_id == self._pending[0] and not self._pending[1].done():
            self._pending[1].set_result(said)

    async def _answer(self, said: Call) -> None:
        name, action = said.unique_id, said.action
        if not isinstance(name, str) or not isinstance(action, str) or len(name) > _LONGEST_NAME:
            return
        try:
            payload = await self._answer_to(said)
        except OCPPError as err:
            # Not with its details, which repeat what was said.
            text = CallError(name, err.code, str(err.description)[:80], {}).to_json()
        else:
            text = CallResult(name, payload).to_json()
        await self._socket.send(text)

    async def _answer_to(self, said: Call) -> Payload:
        # Asked first: the schema's file has the name of the action.
        answer = self.dialect.answers.get(said.action)
        if answer is None:
            raise NotAnswered
        await validate_payload(said, self.dialect.schema)
        return answer(said.payload, self._station, self._clock.utc())
