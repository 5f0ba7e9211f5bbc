"""What happened to readings: noted where a batch is refused, listed, decided.

Of a refused batch it is noted in a transaction of its own, as a refused call leaves nothing else.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Connection

from controller.access import Identity, Role, require_area
from controller.consent import Scope
from controller.errors import StoreError
from controller.judging import DECIDED, Leapt, Taken, WentBack
from controller.meter_events import OPEN_TO_DECISION, EventKind, KeptEvent, MeterEvent
from controller.microgrid import SUBSTITUTED, MeterReading, is_feeder, place_of, targets_of
from controller.quotas import DAY_S
from controller.receiving import OPERATOR, Receiver, said
from controller.refusals import Refusal, invalid, not_found, not_now
from controller.services.core import Core, once, require_microgrid
from controller.services.edge import Context, caller_of
from controller.services.mandates import visible_members
from controller.services.paging import read_page
from controller.store import meter_events, meters, registry
from controller.wire import fields
from controller.wire.metering import DECISIONS, event_message
from gridpact.v1 import metering_pb2 as pb

log = logging.getLogger(__name__)

REFUSED_PER_DAY = 1000
"""As many events of refused batches a gateway may cause within 24 hours: the rest is in the log alone."""
NOTE = 500
DIGITS = 18
ACCEPTED = "ACCEPTED"
KINDS = {
    "BAD_SIGNATURE": EventKind.BAD_SIGNATURE,
    "SEQUENCE_USED": EventKind.SEQUENCE_REPLAYED,
    "NOT_FOUND": EventKind.FOREIGN_METER,
    "OUT_OF_RANGE": EventKind.OUT_OF_RANGE,
}
"""What a batch was refused for, by the refusal's reason; MALFORMED for any other."""


def refused_event(refusal: Refusal, *, reporter: str) -> MeterEvent:
    """What is kept of a batch that was refused as a whole."""
    kind = KINDS.get(refusal.reason, EventKind.MALFORMED)
    if any(violation.field.endswith(".instant") for violation in refusal.violations):
        kind = EventKind.FUTURE if kind is EventKind.OUT_OF_RANGE else kind
    return MeterEvent(kind=kind, member="", instant=None, reporter=reporter, sequence=0, note=refusal.message[:NOTE])


async def note_refused(core: Core, microgrid: str, event: MeterEvent) -> None:
    """Keep the event of a refused batch, once; where that is not possible the refusal counts all the same."""
    now = int(core.clock.now())

    def keep(connection: Connection) -> bool:
        if registry.microgrid(connection, microgrid) is None:
            return False
        if meter_events.count_refused_since(connection, microgrid, event.reporter, now - DAY_S) >= REFUSED_PER_DAY:
            return False
        meter_events.add_events(connection, microgrid, [event], created=now, once=True)
        return True

    try:
        kept = await core.database.run_async(keep)
    except StoreError as err:
        log.warning("microgrid %s: event of a refused batch was not kept: %s", microgrid, err)
        return
    if not kept:
        log.warning("microgrid %s: refused batch of %s: %s %s", microgrid, event.reporter, event.kind.value, event.note)


class MeterEventMethods:
    """The methods of gridpact.v1.MeteringService about what happened."""

    _core: Core

    async def ListMeterEvents(self, request: pb.ListMeterEventsRequest, context: Context) -> pb.ListMeterEventsResponse:
        """What happened to readings, of all meters or of one; a gateway is told of what it reported itself."""
        caller = caller_of(context)
        name = fields.target("parent", request.parent)
        id_, only = name.split("/")[1], place_of(name)
        require_area(caller, id_, name)
        if caller.role is Role.PARTICIPANT and only != caller.id:
            raise not_found(name)
        page = read_page(caller, request, request.page_size, request.page_token, (int,))

        def read(connection: Connection) -> pb.ListMeterEventsResponse:
            require_microgrid(connection, caller, id_, name)
            if only != "/":
                require_meter(connection, id_, only, name)
            rows = meter_events.events_after(
                connection,
                id_,
                0 if page.after is None else int(page.after[0]),
                page.size + 1,
                member=None if only == "/" else only,
                reporter=caller.id if caller.role is Role.METER else None,
            )
            found, token = page.cut(rows, lambda kept: (kept.number,))
            readable = self._readable(connection, caller, id_)
            events = [event_message(id_, kept, registers=readable(kept.event)) for kept in found]
            return pb.ListMeterEventsResponse(events=events, next_page_token=token)

        return await self._core.database.read_async(read)

    def _readable(self, connection: Connection, caller: Identity, microgrid: str) -> Callable[[MeterEvent], bool]:
        """Whether a caller may read an event's figures; a gateway those that it reported."""
        if caller.role in {Role.METER, Role.PARTICIPANT}:
            return lambda _: True
        known = visible_members(connection, caller, microgrid, Scope.METER_DATA, self._core.clock.now())
        if known is None:
            return lambda _: True
        # What a feeder lost tells what its members took together, which may be one alone.
        return lambda event: (
            event.kind is not EventKind.LOSS and (not event.member or is_feeder(event.member) or event.member in known)
        )

    async def DecideMeterEvent(
        self, request: pb.DecideMeterEventRequest, context: Context
    ) -> pb.DecideMeterEventResponse:
        """Let what was reported count, or leave it at what counts."""
        caller = caller_of(context)
        id_, event_id = fields.resource("name", request.name, "microgrids", "meter-events")
        require_area(caller, id_, request.name)
        number = _number(event_id)
        if request.decision not in DECISIONS:
            wanted = "METER_EVENT_DECISION_KEPT or _ACCEPTED"
            raise invalid("decision", got=str(request.decision), wanted=wanted)
        decision = DECISIONS[request.decision]
        reason = fields.words("reason", request.reason)

        def effect(connection: Connection) -> pb.DecideMeterEventResponse:
            microgrid = require_microgrid(connection, caller, id_, request.name)
            kept = None if number is None else meter_events.event(connection, id_, number)
            if kept is None:
                raise not_found(request.name)
            stated = _stated(kept, request.name)
            if decision == ACCEPTED:
                reporter = f"{OPERATOR}{caller.id}"
                receiver = Receiver(connection, microgrid, reporter=reporter)
                verdict = receiver.judge(stated, rank=DECIDED)
                if isinstance(verdict, WentBack | Leapt):
                    raise not_now("DOES_NOT_FIT", f"{request.name}: {said(verdict)}")
                if isinstance(verdict, Taken):
                    meters.add_revision(connection, id_, stated, by=reporter)
                receiver.follow([(stated.member, stated.instant)])
            now = int(self._core.clock.now())
            meter_events.decide(connection, id_, kept.number, decision, reason=reason, by=str(caller), created=now)
            decided = replace(kept, decision=decision, reason=reason)
            return pb.DecideMeterEventResponse(event=event_message(id_, decided, registers=True))

        return await once(self._core, caller, "DecideMeterEvent", request, pb.DecideMeterEventResponse, effect)


def _number(event: str) -> int | None:
    """The number in an event's id; None where it is none."""
    digits = event.removeprefix("e")
    return int(digits) if event.startswith("e") and digits.isdecimal() and len(digits) <= DIGITS else None


def _stated(kept: KeptEvent, name: str) -> MeterReading:
    """What an event's reporter stated, to be decided about.

    Raises
    ------
    Refusal
        FAILED_PRECONDITION where there is nothing to decide, or it is decided.
    """
    event = kept.event
    if kept.decision:
        raise not_now("DECIDED", f"{name}: it is decided already: {kept.decision}")
    if event.kind not in OPEN_TO_DECISION or event.instant is None or event.reported is None:
        kinds = ", ".join(sorted(kind.value for kind in OPEN_TO_DECISION))
        raise not_now("NOTHING_TO_DECIDE", f"{name}: got {event.kind.value}, wanted one of {kinds}")
    return MeterReading(
        member=event.member,
        instant=event.instant,
        import_wh=event.reported.import_wh,
        export_wh=event.reported.export_wh,
        quality=SUBSTITUTED,
    )


def require_meter(connection: Connection, microgrid: str, place: str, name: str) -> None:
    """Refuse a meter that there is not; who has left is still metered for the windows that are under way."""
    if is_feeder(place):
        known = name in targets_of(f"microgrids/{microgrid}", registry.members(connection, microgrid))
    else:
        known = place in registry.member_ids(connection, microgrid)
    if not known:
        raise not_found(name)
