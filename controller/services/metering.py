"""For meter gateways, and for those who may read a meter: readings."""

from collections.abc import Sequence

from sqlalchemy import Connection

from controller.access import Identity, Role
from controller.consent import Scope
from controller.judging import WentBack
from controller.meter_events import MeterEvent
from controller.microgrid import MeterReading, Microgrid, is_feeder, place_of, target_of, targets_of
from controller.receiving import Receiver, Rejected
from controller.refusals import Refusal, conflict, denied, invalid, not_found, out_of_range
from controller.services.book_calls import registered
from controller.services.core import FUTURE_S, Core, once, open_signed, require_microgrid
from controller.services.edge import Context, caller_of
from controller.services.meter_book import MeterBookMethods
from controller.services.meter_events import MeterEventMethods, note_refused, refused_event
from controller.services.paging import read_page
from controller.store import consents, meter_events, meters, registry
from controller.wire import fields
from controller.wire.community import read_batch, reading_message
from controller.wire.metering import sum_message
from gridpact.v1 import metering_pb2 as pb
from gridpact.v1 import metering_pb2_grpc

SAMPLES = 10_000
"""As many live powers a call may report."""
FEEDER_READERS = frozenset({Role.OPERATOR, Role.DSO, Role.AUDITOR})
"""Who may read meters that are nobody's own."""


class MeteringServicer(MeterBookMethods, MeterEventMethods, metering_pb2_grpc.MeteringServiceServicer):
    """Implements gridpact.v1.MeteringService."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def SubmitReadings(self, request: pb.SubmitReadingsRequest, context: Context) -> pb.SubmitReadingsResponse:
        """Keep a batch whole or not at all."""
        caller = caller_of(context)

        happened: list[MeterEvent] = []

        def effect(connection: Connection) -> pb.SubmitReadingsResponse:
            happened.clear()
            try:
                return accept(connection)
            except Refusal as err:
                if not happened:
                    happened.append(refused_event(err, reporter=caller.id))
                raise

        def accept(connection: Connection) -> pb.SubmitReadingsResponse:
            payload = open_signed(
                connection,
                request.readings,
                microgrid=caller.grid,
                purpose="READING",
                holder=caller.id,
                type_name="gridpact.v1.ReadingBatch",
                field="readings",
            )
            sequence, readings = read_batch(payload, microgrid=caller.grid)
            microgrid = require_microgrid(connection, caller, caller.grid, caller.grid)
            newest = meters.newest_sequence(connection, microgrid.id, caller.id)
            if sequence <= newest:
                raise conflict("SEQUENCE_USED", f"readings.sequence: got {sequence}, wanted more than {newest}")
            _require_meters(connection, microgrid, caller, readings)
            _require_past(readings, now=self._core.clock.now())
            receiver = Receiver(connection, microgrid, reporter=caller.id, sequence=sequence)
            received = receiver.receive(readings)
            if isinstance(received, Rejected):
                happened.append(received.event)
                raise _rejection(received)
            meters.add_batch(
                connection,
                microgrid.id,
                caller.id,
                sequence,
                payload=payload,
                signature=request.readings.signature,
                key_id=request.readings.key_id,
                readings=received.taken,
                better=received.better,
            )
            created = int(self._core.clock.now())
            meter_events.add_events(connection, microgrid.id, received.events, created=created, once=True)
            receiver.follow((one.member, one.instant) for one in (*received.taken, *received.better))
            return pb.SubmitReadingsResponse(accepted=len(readings) - received.set_aside, set_aside=received.set_aside)

        try:
            return await once(self._core, caller, "SubmitReadings", request, pb.SubmitReadingsResponse, effect)
        except Refusal:
            if happened:
                await note_refused(self._core, caller.grid, happened[0])
            raise

    async def ReportPower(self, request: pb.ReportPowerRequest, context: Context) -> pb.ReportPowerResponse:
        """Note live powers, all of them or none."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        known = registered(self._core, caller, id_, request.parent)
        if caller.id not in known.gateways:
            raise denied(f"{request.parent}: a gateway reports powers once a READING key of it is registered")
        targets, meters_read = known.targets(), known.gateways[caller.id]
        if not 1 <= len(request.samples) <= SAMPLES:
            raise invalid("samples", got=f"{len(request.samples)} samples", wanted=f"1 to {SAMPLES}")
        samples = []
        now = self._core.clock.now()
        for k, sample in enumerate(request.samples):
            fields.target(f"samples[{k}].target", sample.target)
            if sample.target not in targets or not _reads(meters_read, sample.target):
                raise not_found(sample.target)
            instant = fields.instant(f"samples[{k}].measure_time", sample.measure_time)
            if abs(instant - now) > FUTURE_S:
                wanted = f"at most {FUTURE_S} s from now, {now:.0f}: an older power says nothing about the present"
                raise out_of_range(f"samples[{k}].measure_time", got=str(instant), wanted=wanted)
            power = fields.number(f"samples[{k}].power_w", sample.power_w, lower=-fields.MAX_W, upper=fields.MAX_W)
            samples.append((sample.target, power, instant))
        for target, power, instant in samples:
            self._core.limits.live.observe(id_, target, power, instant)
        return pb.ReportPowerResponse(accepted=len(samples))

    async def ListReadings(self, request: pb.ListReadingsRequest, context: Context) -> pb.ListReadingsResponse:
        """What one meter said, to its member, to its gateway, and to whom the member lets read it."""
        caller = caller_of(context)
        id_ = fields.target("parent", request.parent).split("/")[1]
        member = place_of(request.parent)
        page = read_page(caller, request, request.page_size, request.page_token, (int,))

        def read(connection: Connection) -> pb.ListReadingsResponse:
            require_microgrid(connection, caller, id_, request.parent)
            gateway = self._gateway(connection, caller, member, request.parent)
            has_interval = request.HasField("interval")
            start, end = fields.interval("interval", request.interval) if has_interval else fields.EPOCH_RANGE
            after = 0 if page.after is None else int(page.after[0])
            # One more than wanted tells whether there is another page.
            rows = meters.readings_page(
                connection, id_, member, start=start, end=end, after=after, gateway=gateway, count=page.size + 1
            )
            found, token = page.cut(rows, lambda reading: (reading.instant,))
            return pb.ListReadingsResponse(
                readings=[reading_message(id_, reading) for reading in found], next_page_token=token
            )

        return await self._core.database.read_async(read)

    async def ListFeederSums(self, request: pb.ListFeederSumsRequest, context: Context) -> pb.ListFeederSumsResponse:
        """What feeders' meters counted beside their members', in order of time."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        page = read_page(caller, request, request.page_size, request.page_token, (int, str))
        has_interval = request.HasField("interval")
        start, end = fields.interval("interval", request.interval) if has_interval else fields.EPOCH_RANGE
        after = (0, "") if page.after is None else (int(page.after[0]), str(page.after[1]))

        def read(connection: Connection) -> pb.ListFeederSumsResponse:
            microgrid = require_microgrid(connection, caller, id_, request.parent)
            rows = meter_events.sums_after(connection, id_, after, page.size + 1, start=start, end=end)
            found, token = page.cut(rows, lambda one: (one.mtu_start, one.place))
            return pb.ListFeederSumsResponse(
                sums=[sum_message(id_, one, mtu_seconds=microgrid.mtu_seconds) for one in found],
                next_page_token=token,
            )

        return await self._core.database.read_async(read)

    def _gateway(self, connection: Connection, caller: Identity, member: str, name: str) -> str | None:
        """The gateway whose reports the caller may read of a member, or None where it may read all.

        Raises
        ------
        Refusal
            NOT_FOUND where it may read none, the same for a member that does not exist.
        """
        if is_feeder(member):
            if caller.role in FEEDER_READERS:
                return None
        elif member not in registry.member_ids(connection, caller.grid):
            raise not_found(name)
        now = self._core.clock.now()
        if not is_feeder(member) and consents.allows(
            connection, caller.grid, member, caller=caller, scope=Scope.METER_DATA, now=now
        ):
            return None
        if caller.role is Role.METER and meters.reports_of(connection, caller.grid, caller.id, member):
            return caller.id
        raise not_found(name)


def _reads(meters_read: frozenset[str] | None, name: str) -> bool:
    """Whether a gateway may report a meter; one that is bound to none may report all."""
    return meters_read is None or name in meters_read


def _require_meters(
    connection: Connection, microgrid: Microgrid, caller: Identity, readings: Sequence[MeterReading]
) -> None:
    """Refuse a batch with a meter that there is not, or that is none of the gateway's."""
    # Who has left is still metered for the windows that are under way.
    places = registry.member_ids(connection, microgrid.id)
    targets = targets_of(microgrid.name, registry.members(connection, microgrid.id))
    meters_read = registry.gateways(connection, microgrid.id).get(caller.id)
    for reading in readings:
        name = target_of(microgrid.name, reading.member)
        known = name in targets if is_feeder(reading.member) else reading.member in places
        if not known or not _reads(meters_read, name):
            raise not_found(name)


def _require_past(readings: Sequence[MeterReading], *, now: float) -> None:
    for k, reading in enumerate(readings):
        if reading.instant > now + FUTURE_S:
            wanted = f"at most {now + FUTURE_S:.0f}"
            raise out_of_range(f"readings[{k}].instant", got=str(reading.instant), wanted=wanted)


def _rejection(rejected: Rejected) -> Refusal:
    verdict = rejected.verdict
    field, got = f"readings[{rejected.place}].{verdict.register}", str(verdict.got)
    if isinstance(verdict, WentBack):
        return invalid(field, got=got, wanted=verdict.wanted)
    return out_of_range(field, got=got, wanted=verdict.wanted)
