"""For the operator: what is declared of meters, and what happens where they are silent."""

from sqlalchemy import Connection

from controller.access import Role, require_area
from controller.meter_events import EventKind, MeterEvent
from controller.microgrid import place_of
from controller.receiving import OPERATOR, Receiver
from controller.refusals import conflict, not_found, out_of_range
from controller.services.core import FUTURE_S, Core, once, require_microgrid
from controller.services.edge import Context, caller_of
from controller.services.meter_events import require_meter
from controller.services.paging import read_page
from controller.store import evidence, meter_events
from controller.wire import fields
from controller.wire.metering import change_message, read_change, read_rules, rules_message
from gridpact.v1 import metering_pb2 as pb


class MeterBookMethods:
    """The methods of gridpact.v1.MeteringService about what is declared."""

    _core: Core

    async def DeclareMeterChange(
        self, request: pb.DeclareMeterChangeRequest, context: Context
    ) -> pb.DeclareMeterChangeResponse:
        """Keep where a meter's registers end, or that another took its place."""
        caller = caller_of(context)
        name = fields.target("change.meter", request.change.meter)
        id_, place = name.split("/")[1], place_of(name)
        require_area(caller, id_, name)

        def effect(connection: Connection) -> pb.DeclareMeterChangeResponse:
            microgrid = require_microgrid(connection, caller, id_, name)
            require_meter(connection, id_, place, name)
            now = self._core.clock.now()
            change = read_change(request.change, latest=now + FUTURE_S)
            meter = meter_events.meters(connection, id_).get(place)
            if meter is not None and any(known.instant == change.instant for known in meter.changes):
                raise conflict("ALREADY_EXISTS", f"{name}: a change at {change.instant} is declared already")
            reporter = f"{OPERATOR}{caller.id}"
            receiver = Receiver(connection, microgrid, reporter=reporter)
            wrong = receiver.judge_change(place, change)
            if wrong is not None:
                field, verdict = wrong
                raise out_of_range(f"change.{field}", got=str(verdict.got), wanted=verdict.wanted)
            meter_events.add_change(connection, id_, place, change, created=int(now))
            if change.final is not None:
                event = MeterEvent(
                    kind=EventKind.REPLACEMENT,
                    member=place,
                    instant=change.instant,
                    reporter=reporter,
                    sequence=0,
                    reported=change.first,
                    known=change.final,
                    known_instant=change.instant,
                )
                meter_events.add_events(connection, id_, [event], created=int(now))
            # What is declared of a meter's end counts for the time before as well.
            receiver.follow([(place, change.instant)], since=0)
            return pb.DeclareMeterChangeResponse(change=change_message(id_, place, change))

        return await once(self._core, caller, "DeclareMeterChange", request, pb.DeclareMeterChangeResponse, effect)

    async def ListMeterChanges(
        self, request: pb.ListMeterChangesRequest, context: Context
    ) -> pb.ListMeterChangesResponse:
        """What was declared of all meters, or of one; a participant asks for its own."""
        caller = caller_of(context)
        name = fields.target("parent", request.parent)
        id_, only = name.split("/")[1], place_of(name)
        page = read_page(caller, request, request.page_size, request.page_token, (str, int))
        require_area(caller, id_, name)
        if caller.role is Role.PARTICIPANT and only != caller.id:
            raise not_found(name)

        def read(connection: Connection) -> pb.ListMeterChangesResponse:
            require_microgrid(connection, caller, id_, name)
            if only != "/":
                require_meter(connection, id_, only, name)
            rows = [
                (place, change)
                for place, meter in meter_events.meters(connection, id_).items()
                if only in {"/", place}
                for change in meter.changes
            ]
            found, token = page.of(rows, lambda row: (row[0], row[1].instant))
            return pb.ListMeterChangesResponse(
                changes=[change_message(id_, *row) for row in found], next_page_token=token
            )

        return await self._core.database.read_async(read)

    async def SetMeteringRules(
        self, request: pb.SetMeteringRulesRequest, context: Context
    ) -> pb.SetMeteringRulesResponse:
        """Keep how missing readings are estimated; what rests on estimates is looked at again."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        rules = read_rules(request.rules)

        def effect(connection: Connection) -> pb.SetMeteringRulesResponse:
            require_microgrid(connection, caller, id_, request.parent)
            meter_events.put_estimation(connection, id_, rules)
            # Neighbouring windows share a register: estimated by two rules, energy would be lost between them.
            resting = {window for windows in meter_events.estimated(connection, id_).values() for window in windows}
            evidence.ask_for_corrections(connection, id_, sorted(resting))
            return pb.SetMeteringRulesResponse(rules=rules_message(rules))

        return await once(self._core, caller, "SetMeteringRules", request, pb.SetMeteringRulesResponse, effect)

    async def GetMeteringRules(
        self, request: pb.GetMeteringRulesRequest, context: Context
    ) -> pb.GetMeteringRulesResponse:
        """How missing readings are estimated."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)

        def read(connection: Connection) -> pb.GetMeteringRulesResponse:
            require_microgrid(connection, caller, id_, request.parent)
            return pb.GetMeteringRulesResponse(rules=rules_message(meter_events.estimation(connection, id_)))

        return await self._core.database.read_async(read)
