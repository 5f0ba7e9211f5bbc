"""One DSO's supervision stream: heartbeats in, what holds and how it is kept out."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from math import floor

from controller.access import Identity
from controller.errors import StoreError
from controller.limits.status import TargetStatus
from controller.limits.supervision import Control, Supervision
from controller.refusals import invalid, unavailable
from controller.services.book_calls import RETRY_S, registered
from controller.services.core import Core
from controller.wire import fields
from controller.wire.limits import bounds_message
from gridpact.v1 import dso_pb2 as pb

SKEW_S = 60
"""Seconds by which a DSO's clock and ours may differ."""


@dataclass(slots=True)
class _Mailbox:
    """What the stream has to say next: the answer to the newest heartbeat, or that something changed."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    answer: int = 0
    ended: bool = False
    fault: BaseException | None = None


async def supervise(
    core: Core, caller: Identity, requests: AsyncIterator[pb.SuperviseRequest]
) -> AsyncIterator[pb.SuperviseResponse]:
    """Answer each heartbeat, and tell besides whenever the state or the bounds change."""
    first = await anext(aiter(requests), None)
    if first is None:
        return
    microgrid = fields.microgrid_id("parent", first.parent)
    registered(core, caller, microgrid, first.parent)
    box = _Mailbox()

    def on_change(changed: str) -> None:
        if changed == microgrid:
            box.changed.set()

    counter = box.answer = await _hear(core, caller, microgrid, first, 0)
    box.changed.set()
    core.limits.book.subscribe(on_change)
    reader = asyncio.create_task(_read(core, caller, microgrid, requests, box, counter))
    told: object = None
    try:
        while True:
            await box.changed.wait()
            box.changed.clear()
            # A consumer that is slow gets one answer, to the newest heartbeat.
            answered, box.answer = box.answer, 0
            status = core.limits.status(microgrid)
            known = core.limits.book.supervision(microgrid)[caller.id]
            now = (known.control, [(s.target, s.band, s.kept) for s in status])
            if answered or now != told:
                told = now
                yield _message(core, known, status, answered)
            if box.fault is not None:
                raise box.fault
            if box.ended:
                return
    finally:
        core.limits.book.unsubscribe(on_change)
        reader.cancel()


async def _read(
    core: Core,
    caller: Identity,
    microgrid: str,
    requests: AsyncIterator[pb.SuperviseRequest],
    box: _Mailbox,
    counter: int,
) -> None:
    try:
        async for request in requests:
            counter = box.answer = await _hear(core, caller, microgrid, request, counter)
            box.changed.set()
        box.ended = True
    except Exception as err:  # whoever writes the stream raises it
        box.fault = err
    box.changed.set()


async def _hear(core: Core, caller: Identity, microgrid: str, request: pb.SuperviseRequest, newest: int) -> int:
    if request.parent not in {"", f"microgrids/{microgrid}"}:
        raise invalid("parent", got=request.parent, wanted=f"microgrids/{microgrid}, or nothing")
    counter = request.heartbeat_counter
    if counter <= newest:
        raise invalid("heartbeat_counter", got=str(counter), wanted=f"more than {newest}")
    agree = True
    if request.HasField("send_time"):
        agree = abs(fields.instant("send_time", request.send_time) - core.clock.now()) <= SKEW_S
    try:
        await core.limits.book.hear(microgrid, caller.id, confirm=request.confirm, clocks_agree=agree)
    except StoreError as err:
        raise unavailable("LIMITS_JOURNAL", str(err), retry_s=RETRY_S) from err
    return counter


def _message(core: Core, known: Supervision, status: tuple[TargetStatus, ...], answered: int) -> pb.SuperviseResponse:
    return pb.SuperviseResponse(
        heartbeat_counter=answered,
        state=_STATES[known.control],
        reason=known.reason,
        targets=[_target_message(target) for target in status],
        controller_time=fields.timestamp(floor(core.clock.now())),
    )


_STATES = {
    Control.INIT: pb.SUPERVISION_STATE_INIT,
    Control.CONTROLLED: pb.SUPERVISION_STATE_CONTROLLED,
    Control.FAILSAFE: pb.SUPERVISION_STATE_FAILSAFE,
}


def _target_message(status: TargetStatus) -> pb.TargetStatus:
    message = pb.TargetStatus(
        target=status.target,
        effective_bounds=bounds_message(status.band),
        binding_lower=status.band.binding_lower,
        binding_upper=status.band.binding_upper,
        excess_w=status.kept.excess_w,
        curtailed_w=status.kept.curtailed_w,
        failsafe_excess_w=status.kept.failsafe_excess_w,
    )
    if status.measured is not None:
        message.measured_w = status.measured.power_w
        message.measure_time.seconds = status.measured.instant
    if status.compliant is not None:
        message.compliant = status.compliant
    return message
