"""For drivers: one stream for each device, leased setpoints out, heartbeats, telemetry and reports in."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from math import floor

from sqlalchemy import Connection

from controller.access import Identity
from controller.driver_stream import DriverStream, Ending
from controller.fleet import Registered
from controller.group_limits import PassedOn
from controller.hub import LeasedCommand, Standing
from controller.refusals import Code, Refusal, invalid, not_found
from controller.services.core import Core, require_microgrid
from controller.services.edge import Context, caller_of
from controller.store import drivers
from controller.wire import fields
from controller.wire.driver import (
    MAX_REASON,
    command_message,
    duration,
    read_descriptor,
    read_report,
    read_telemetry,
)
from controller.wire.group_limits import group_limits_message
from gridpact.v1 import driver_pb2 as pb
from gridpact.v1 import driver_pb2_grpc

log = logging.getLogger(__name__)

GREETING_S = 10.0
"""How long a driver may take to say what its device is."""


class DriverServicer(driver_pb2_grpc.DriverServiceServicer):
    """Implements gridpact.v1.DriverService.

    Parameters
    ----------
    core : the parts of the service
    greeting_s : how long a driver may take to say what its device is
    """

    def __init__(self, core: Core, *, greeting_s: float = GREETING_S) -> None:
        self._core = core
        self._greeting_s = greeting_s

    async def Connect(
        self, request_iterator: AsyncIterator[pb.ConnectRequest], context: Context
    ) -> AsyncIterator[pb.ConnectResponse]:
        """Serve one device until its driver leaves: what is heard and what is said run independently."""
        hub = self._core.hub
        requests = aiter(request_iterator)
        caller = caller_of(context)
        try:
            stream = await self._greet(caller, requests)
        except Refusal as err:
            if err.retry_s is None:  # those who come too many at once are many
                log.info("driver %s: its stream is refused: %s: %s", caller.id, err.code.name, err)
            raise
        listening = asyncio.create_task(self._listen(stream, requests))
        try:
            yield self._welcome()
            passed_on: tuple[PassedOn, ...] = ()
            while True:
                await stream.woken()
                # What the driver is still owed is said before the stream ends, but for one that is refused.
                ending = stream.ending
                if ending is not None and ending.error is not None and not ending.last_word:
                    raise ending.error
                answer = hub.answer(stream)
                if answer is not None:
                    yield _response(answer)
                # Who is told nothing unasked awaits one answer for each heartbeat, and would take this for it.
                if stream.pushes and passed_on is not (limits := hub.group_limits(stream.microgrid, stream.driver)):
                    passed_on = limits
                    yield pb.ConnectResponse(group_limits=group_limits_message(limits))
                if ending is not None:
                    if ending.error is not None:
                        raise ending.error
                    if stream.owed and ending.come_back_s is None and hub.holds(stream):
                        continue  # it has said all it will, and is answered once limits were looked at
                    if ending.come_back_s is not None:
                        yield pb.ConnectResponse(come_back=pb.ComeBack(after=duration(ending.come_back_s)))
                    return
        finally:
            listening.cancel()
            hub.leave(stream)

    async def _greet(self, caller: Identity, requests: AsyncIterator[pb.ConnectRequest]) -> DriverStream:
        """The stream of the device that the first message names."""
        try:
            async with asyncio.timeout(self._greeting_s):
                first = await anext(requests)
        except StopAsyncIteration:
            raise _unwelcome("no message") from None
        except TimeoutError as err:
            raise Refusal(
                code=Code.DEADLINE_EXCEEDED,
                reason="NO_DESCRIPTOR",
                message=f"message: got nothing for {self._greeting_s:g} s, wanted a descriptor",
            ) from err
        if first.WhichOneof("message") != "descriptor":
            raise _unwelcome(str(first.WhichOneof("message")))
        hub = self._core.hub
        microgrid, device = await self._named(caller, first.descriptor.device)
        declared = read_descriptor(first.descriptor)
        wait_s = hub.admit(microgrid, device)
        if wait_s > 0:
            raise Refusal(
                code=Code.RESOURCE_EXHAUSTED,
                reason="TOO_MANY_AT_ONCE",
                message=f"too many drivers at once: come back in {wait_s:.1f} s",
                retry_s=wait_s,
            )
        pushes = first.descriptor.accepts_pushes
        return hub.join(microgrid, device, declared=declared, pushes=pushes, driver=caller.id)

    async def _named(self, caller: Identity, name: str) -> tuple[str, str]:
        """Microgrid and device, where the caller is the driver named after it or its gateway."""
        microgrid, _, device = fields.device_id("descriptor.device", name)
        if caller.grid != microgrid:
            raise not_found(name)
        known = self._core.hub.registered(microgrid, device)
        if known is None:
            known = await self._core.database.run_async(_look_up, caller, microgrid, device, name)
            # What was registered, or deleted, while it was looked up is newer.
            newer = self._core.hub.registered(microgrid, device)
            if newer is not None or self._core.hub.forgotten(microgrid, device):
                known = newer
            elif known is not None:
                self._core.hub.register(microgrid, device, known)
        if known is None or caller.id not in {device, known.gateway}:
            raise not_found(name)
        return microgrid, device

    def _welcome(self) -> pb.ConnectResponse:
        hub = self._core.hub
        return pb.ConnectResponse(
            welcome=pb.Welcome(
                epoch=hub.epoch,
                controller_time=fields.timestamp(floor(self._core.clock.now())),
                heartbeat_interval=duration(hub.heartbeat_s),
                heartbeat_phase=duration(hub.phase_s()),
                telemetry_interval=duration(hub.heartbeat_s),
            )
        )

    async def _listen(self, stream: DriverStream, requests: AsyncIterator[pb.ConnectRequest]) -> None:
        """Hear a driver out; what it says wrong ends its stream.

        The writer may be held up by a driver that does not read: nothing is heard meanwhile on a stream that has ended.
        """
        with suppress(asyncio.CancelledError):
            try:
                async for request in requests:
                    if not stream.heard:
                        break
                    self._hear(stream, request)
            except Refusal as err:
                log.info("%s/%s: its stream is ended: %s: %s", stream.microgrid, stream.device, err.code.name, err)
                stream.end(Ending(error=err))
            except Exception as err:  # whoever waits for the stream has to learn of it, whatever it is
                stream.end(Ending(error=err))
            else:
                stream.end(Ending())

    def _hear(self, stream: DriverStream, request: pb.ConnectRequest) -> None:
        hub = self._core.hub
        match request.WhichOneof("message"):
            case "heartbeat":
                counter = request.heartbeat.counter
                if counter <= stream.counter:
                    raise invalid("heartbeat.counter", got=str(counter), wanted=f"more than {stream.counter}")
                hub.heartbeat(stream, counter)
            case "telemetry":
                state = read_telemetry(stream.device, request.telemetry, self._core.clock.now())
                # Without a meter, a relay that is open says all the same what the device takes.
                measured = not request.telemetry.power_unmeasured or state.closed is False
                hub.observe(stream, state, measured=measured)
            case "report":
                states, instant = read_report(request.report, self._core.clock.now())
                reason = fields.told(request.report.reason, most=MAX_REASON)
                hub.report(stream, request.report.command_id, states, reason=reason, instant=instant)
            case kind:
                raise _unwelcome(str(kind))


def _unwelcome(kind: str) -> Refusal:
    return invalid("message", got=kind, wanted="a descriptor first, then heartbeats, telemetry, reports")


def _look_up(connection: Connection, caller: Identity, microgrid: str, device: str, name: str) -> Registered | None:
    require_microgrid(connection, caller, microgrid, name)
    return drivers.registered_device(connection, microgrid, device)


def _response(answer: LeasedCommand | Standing) -> pb.ConnectResponse:
    if isinstance(answer, LeasedCommand):
        return pb.ConnectResponse(command=command_message(answer))
    return pb.ConnectResponse(
        idle=pb.Idle(heartbeat_counter=answer.heartbeat_counter, standing_sequence=answer.sequence)
    )
