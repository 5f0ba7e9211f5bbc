"""One connection to a resource manager: greeting, receipts for every message, instructions and what became of them."""

import asyncio
import logging
import math
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from s2python.generated.gen_s2 import (
    CommodityQuantity,
    EnergyManagementRole,
    Handshake,
    HandshakeResponse,
    InstructionStatus,
    InstructionStatusUpdate,
    PowerForecast,
    PowerMeasurement,
    ReceptionStatus,
    ReceptionStatusValues,
    ResourceManagerDetails,
    SelectControlType,
    SessionRequest,
)
from s2python.s2_base_model import S2BaseModel
from websockets.asyncio.connection import Connection as WebSocket
from websockets.exceptions import ConnectionClosed

from device_drivers.clock import Clock
from device_drivers.errors import DeviceError, DriverError, InvalidValueError
from device_drivers.s2.control import Control, Step
from device_drivers.s2.wire import VERSIONS, Misread, adding_up, content, new_id, read, text_of, watts, write

log = logging.getLogger(__name__)

GREETING_S = 30.0
"""s that a manager has to say what it is."""
GRACE_S = 1.0
"""s after which a manager that said nothing of a programme has none, and of a power measures none now."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_ENDED_BADLY = frozenset({InstructionStatus.REJECTED, InstructionStatus.REVOKED, InstructionStatus.ABORTED})
_WELL = frozenset({InstructionStatus.ACCEPTED, InstructionStatus.STARTED, InstructionStatus.SUCCEEDED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What a manager says of an instruction.

    Attributes
    ----------
    status : InstructionStatus
        What became of it.
    at : datetime
        When, by its clock.
    """

    status: InstructionStatus
    at: datetime


class Session:
    """A connection to a manager, from greeting to end.

    Parameters
    ----------
    websocket : websockets.asyncio.connection.Connection
        To the manager; the session closes it.
    name : str
        Of the manager, for people.
    choose : callable
        Gives the control type for what a manager says of itself; `InvalidValueError` where none fits.
    clock : Clock
        Of day, and one that nobody sets and that runs through suspension.

    Attributes
    ----------
    ended : DeviceError or InvalidValueError or None
        Why it is over; None while it is not.
    refused : str or None
        What was wrong with the last message that made no sense; None where all did.
    """

    def __init__(
        self,
        websocket: WebSocket,
        name: str,
        choose: Callable[[ResourceManagerDetails], Control],
        *,
        clock: Clock,
    ) -> None:
        self._websocket = websocket
        self._name = name
        self._choose = choose
        self._utc = clock.utc
        self._now = clock.now
        self._changed = asyncio.Event()
        self._receipts: dict[str, asyncio.Future[ReceptionStatus]] = {}
        self._words: dict[str, Word | None] = {}
        self._hello: Handshake | None = None
        self._details: ResourceManagerDetails | None = None
        self._control: Control | None = None
        self._selected_at: float | None = None
        self._powers: dict[CommodityQuantity, tuple[float, float]] = {}
        self._heard_of_control = False
        self.refused: str | None = None
        self.ended: DeviceError | InvalidValueError | None = None

    # What others ask.

    async def run(self) -> None:
        """Greet the manager and hear it until one of both ends the connection; `ended` says why."""
        greeting = asyncio.create_task(self._greet())
        why: DeviceError | InvalidValueError = DeviceError(f"s2: {self._name} ended the connection")
        try:
            async for text in self._websocket:
                await self._hear(text)
        except ConnectionClosed as err:
            why = DeviceError(f"s2: the connection to {self._name} broke: {err}")
        except (DeviceError, InvalidValueError) as err:
            why = err
        finally:
            greeting.cancel()
            self._end(why)
            if self._websocket.close_code is None:
                self._cut()

    async def ready(self) -> Control:
        """The control type, once the manager has said what has to be known.

        Raises
        ------
        DeviceError
            If the connection ended.
        InvalidValueError
            If what the manager is does not fit the configuration.
        """
        while self.ended is None:
            if self._control is not None and self.missing() is None:
                return self._control
            await self._news()
        raise self._over()

    def missing(self) -> str | None:
        """What the manager has yet to say; None where nothing is missing."""
        if self._hello is None:
            return "Handshake"
        if self._details is None:
            return "ResourceManagerDetails"
        if self._control is None or self._selected_at is None:
            return "ReceptionStatus"
        missing = self._control.missing()
        if missing is not None or self._now() >= self._selected_at + GRACE_S:
            return missing
        if not self._heard_of_control:
            return "what belongs to its control type"
        return "PowerMeasurement" if self._measured and self.power_w(math.inf) is None else None

    async def instruct(self, steps: tuple[Step, ...], done: Callable[[], bool]) -> Word | None:
        """Have the manager take instructions, one after the other.

        Parameters
        ----------
        steps : tuple of Step
            What it is told.
        done : callable
            Whether it shows that it does what the last one says, which is as good as its word.

        Returns
        -------
        word : Word or None
            On the last instruction; None where it was shown instead, or there was none.

        Raises
        ------
        DeviceError
            If the connection ends, or the manager refuses one.
        """
        # Its word on earlier ones says nothing any more.
        self._words = {step.instruction_id: None for step in steps if step.instruction_id is not None}
        word = None
        for step in steps:
            await self._ask(step.message, step.message_id)
            if step.instruction_id is not None:
                word = await self._word(step.instruction_id, done)
        return word

    def check(self) -> None:
        """See that the manager has not gone back on its last instructions.

        Raises
        ------
        DeviceError
            If it has.
        """
        for word in self._words.values():
            if word is not None and word.status in _ENDED_BADLY:
                raise DeviceError(f"s2: {self._name}: the last instruction was {word.status.value}")

    async def answer(self) -> None:
        """Wait until the manager has answered a ping: all that it said before has been heard then.

        Raises
        ------
        DeviceError
            If the connection ends.
        """
        try:
            await (await self._websocket.ping())
        except ConnectionClosed as err:
            raise self._over(err) from err

    @property
    def measures_power(self) -> bool:
        """Whether the manager says that it measures electric power."""
        return bool(self._measured)

    def power_w(self, age_s: float) -> int | None:
        """W of all phases together, none of them older than this; None where not all have been told."""
        quantities = self._measured
        if not quantities:
            return None
        heard = [self._powers.get(one) for one in quantities]
        fresh = [value for value, at in filter(None, heard) if self._now() - at <= age_s]
        return round(math.fsum(fresh)) if len(fresh) == len(quantities) else None

    def drop(self, why: str) -> None:
        """End the connection at once: nothing of what was not delivered shall act later."""
        self._end(DeviceError(f"s2: {self._name}: {why}"))
        self._cut()

    async def aclose(self) -> None:
        """End the connection as the protocol has it."""
        self._end(DeviceError(f"s2: the connection to {self._name} was closed"))
        with suppress(ConnectionClosed):
            await self._websocket.close(code=1001)

    # Greeting.

    async def _greet(self) -> None:
        try:
            async with asyncio.timeout(GREETING_S):
                own = new_id()
                hello = {"message_id": own, "role": EnergyManagementRole.CEM, "supported_protocol_versions": VERSIONS}
                await self._ask(Handshake.model_validate(hello), own)
                while self._hello is None:
                    await self._news()
                answer = new_id()
                chosen = {"message_id": answer, "selected_protocol_version": _version(self._hello)}
                await self._ask(HandshakeResponse.model_validate(chosen), answer)
                while self._details is None:
                    await self._news()
                control = self._choose(self._details)
                select = new_id()
                self._control = control
                await self._ask(
                    SelectControlType.model_validate({"message_id": select, "control_type": control.kind}), select
                )
                self._selected_at = self._now()
                asyncio.get_running_loop().call_later(GRACE_S, self._tell)
                self._tell()
        except (DeviceError, InvalidValueError) as err:
            self._end(err)
            self._cut()
        except TimeoutError:
            self.drop(f"it did not say {self.missing()} within {GREETING_S:g} s")

    # Hearing.

    async def _hear(self, text: str | bytes) -> None:
        try:
            message = read(text)
            if isinstance(message, ReceptionStatus):
                waiting = self._receipts.get(text_of(message.subject_message_id))
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
                return
            await self._take(message)
        except Misread as err:
            if self.refused is None:
                log.warning("s2: %s: %s: %s", self._name, err.status.value, err.label)
            self.refused = err.label
            await self._say({"subject_message_id": err.subject, "status": err.status, "diagnostic_label": err.label})
        self._tell()

    async def _take(self, message: S2BaseModel) -> None:
        """Take a message and give the receipt for it; `Misread` where it makes no sense, or comes too early."""
        kind = type(message).__name__
        ending = False
        try:
            match message:
                case Handshake():
                    if message.role is not EnergyManagementRole.RM:
                        raise content(kind, f"the role {message.role.value}", "RM")
                    self._hello = message
                case _ if self._hello is None:
                    raise content(kind, "it first", "a Handshake before it")
                case ResourceManagerDetails():
                    self._details = message
                case SessionRequest():
                    ending = True
                case PowerMeasurement():
                    self._measure(message)
                case PowerForecast():
                    pass
                case InstructionStatusUpdate():
                    self._note(message)
                case _ if self._control is None:
                    raise content(kind, "it early", "a control type selected before it")
                case _:
                    self._control.hear(message, self._utc())
                    self._heard_of_control = True
        except Misread as err:
            message_id = getattr(message, "message_id", None)
            raise Misread(err.status, err.label, text_of(message_id)) from err
        message_id = text_of(getattr(message, "message_id", None))
        await self._say({"subject_message_id": message_id, "status": ReceptionStatusValues.OK})
        if ending:
            self._end(DeviceError(f"s2: {self._name} asked for the end of the session"))
            await self.aclose()

    def _note(self, message: InstructionStatusUpdate) -> None:
        instruction_id = text_of(message.instruction_id)
        if instruction_id in self._words:
            self._words[instruction_id] = Word(status=message.status_type, at=message.timestamp)

    def _measure(self, message: PowerMeasurement) -> None:
        values = {one.commodity_quantity: watts("PowerMeasurement", one.value) for one in message.values}
        if len(values) < len(message.values):
            raise content("PowerMeasurement", "a quantity twice", "each once")
        now = self._now()
        for quantity, value in values.items():
            self._powers[quantity] = value, now

    @property
    def _measured(self) -> frozenset[CommodityQuantity]:
        """Quantities that add up to the power, as far as the manager measures any."""
        return frozenset() if self._details is None else adding_up(self._details.provides_power_measurement_types)

    # Saying.

    async def _ask(self, message: S2BaseModel, message_id: str) -> None:
        """Say a message and wait for the receipt; given up before it came, the connection is dropped."""
        if self.ended is not None:
            raise self._over()
        waiting: asyncio.Future[ReceptionStatus] = asyncio.get_running_loop().create_future()
        self._receipts[message_id] = waiting
        try:
            await self._send(write(message))
            receipt = await waiting
        except asyncio.CancelledError:
            self.drop(f"no ReceptionStatus for {type(message).__name__} in time")
            raise
        finally:
            self._receipts.pop(message_id, None)
        if receipt.status is not ReceptionStatusValues.OK:
            raise DeviceError(
                f"s2: {self._name} refused {type(message).__name__}: {receipt.status.value}"
                + (f" {receipt.diagnostic_label[:100]!r}" if receipt.diagnostic_label else "")
            )

    async def _word(self, instruction_id: str, done: Callable[[], bool]) -> Word | None:
        while self.ended is None:
            word = self._words.get(instruction_id)
            if word is not None and word.status in _ENDED_BADLY:
                raise DeviceError(f"s2: {self._name} did not follow an instruction: {word.status.value}")
            if word is not None and word.status in _WELL:
                return word
            if done():
                return None
            await self._news()
        raise self._over()

    async def _say(self, receipt: dict[str, Any]) -> None:
        await self._send(write(ReceptionStatus.model_validate(receipt)))

    async def _send(self, text: str) -> None:
        try:
            await self._websocket.send(text)
        except ConnectionClosed as err:
            raise self._over(err) from err

    # News.

    async def _news(self) -> None:
        await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _end(self, why: DeviceError | InvalidValueError) -> None:
        if self.ended is not None:
            return
        self.ended = why
        for waiting in self._receipts.values():
            if not waiting.done():
                waiting.set_exception(why)
                waiting.exception()  # looked at: nobody may wait for it any more
        self._tell()

    def _over(self, broken: ConnectionClosed | None = None) -> DriverError:
        """Why nothing can be asked any more, for each who asks anew."""
        if self.ended is None:
            return DeviceError(f"s2: the connection to {self._name} broke: {broken}")
        return type(self.ended)(str(self.ended))

    def _cut(self) -> None:
        found = self._websocket.transport.get_extra_info("socket")
        if found is not None and found.fileno() >= 0:
            with suppress(OSError):
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._websocket.transport.abort()


def _version(hello: Handshake) -> str:
    offered = hello.supported_protocol_versions or []
    for version in VERSIONS:
        if version in offered:
            return version
    raise DeviceError(f"s2: got the versions {', '.join(offered)[:100] or 'none'}, wanted {', '.join(VERSIONS)}")
