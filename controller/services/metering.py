"""For meter gateways, and for those who may read a meter: readings."""

from bisect import bisect_left, insort
from collections import defaultdict

from sqlalchemy import Connection

from controller.access import Identity, Role
from controller.consent import Scope
from controller.microgrid import MeterReading
from controller.refusals import conflict, denied, invalid, not_found, out_of_range
from controller.services.book_calls import registered
from controller.services.core import FUTURE_S, Core, once, open_signed, require_microgrid
from controller.services.edge import Context, caller_of
from controller.services.paging import read_page
from controller.store import consents, meters, registry
from controller.wire import fields
from controller.wire.community import read_batch, reading_message
from gridpact.v1 import metering_pb2 as pb
from gridpact.v1 import metering_pb2_grpc

SAMPLES = 10_000
"""As many live powers a call may report."""


class MeteringServicer(metering_pb2_grpc.MeteringServiceServicer):
    """Implements gridpact.v1.MeteringService."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def SubmitReadings(self, request: pb.SubmitReadingsRequest, context: Context) -> pb.SubmitReadingsResponse:
        """Keep a batch whole or not at all."""
        caller = caller_of(context)

        def effect(connection: Connection) -> pb.SubmitReadingsResponse:
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
            # Who has left is still metered for the windows that are under way.
            members = registry.member_ids(connection, microgrid.id)
            meters_read = registry.gateways(connection, microgrid.id).get(caller.id)
            registers = _Registers(connection, microgrid.id)
            for k, reading in enumerate(readings):
                name = f"{microgrid.name}/members/{reading.member}"
                if reading.member not in members or not _reads(meters_read, name):
                    raise not_found(name)
                registers.accept(f"readings[{k}]", reading, now=self._core.clock.now())
            meters.add_batch(
                connection,
                microgrid.id,
                caller.id,
                sequence,
                payload=payload,
                signature=request.readings.signature,
                key_id=request.readings.key_id,
                readings=readings,
            )
            return pb.SubmitReadingsResponse(accepted=len(readings))

        return await once(self._core, caller, "SubmitReadings", request, pb.SubmitReadingsResponse, effect)

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
        id_, member = fields.resource("parent", request.parent, "microgrids", "members")
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

    def _gateway(self, connection: Connection, caller: Identity, member: str, name: str) -> str | None:
        """The gateway whose reports the caller may read of a member, or None where it may read all.

        Raises
        ------
        Refusal
            NOT_FOUND where it may read none, the same for a member that does not exist.
        """
        if member not in registry.member_ids(connection, caller.grid):
            raise not_found(name)
        now = self._core.clock.now()
        if consents.allows(connection, caller.grid, member, caller=caller, scope=Scope.METER_DATA, now=now):
            return None
        if caller.role is Role.METER and meters.reports_of(connection, caller.grid, caller.id, member):
            return caller.id
        raise not_found(name)


def _reads(meters_read: frozenset[str] | None, name: str) -> bool:
    """Whether a gateway may report a meter; one that is bound to none may report all."""
    return meters_read is None or name in meters_read


class _Registers:
    """What the meters have said so far, to hold new readings against: registers never go back.

    A reading that is older than the newest fills a gap, where it fits between its neighbours.
    """

    def __init__(self, connection: Connection, microgrid: str) -> None:
        self._connection = connection
        self._microgrid = microgrid
        self._newest: dict[str, MeterReading | None] = {}
        self._accepted: dict[str, dict[int, MeterReading]] = defaultdict(dict)
        self._instants: dict[str, list[int]] = defaultdict(list)

    def accept(self, field: str, reading: MeterReading, *, now: float) -> None:
        """Take a reading into account, or refuse it."""
        if reading.instant > now + FUTURE_S:
            raise out_of_range(f"{field}.instant", got=str(reading.instant), wanted=f"at most {now + FUTURE_S:.0f}")
        if reading.member not in self._newest:
            self._newest[reading.member] = meters.last_reading(self._connection, self._microgrid, reading.member)
        newest = self._newest[reading.member]
        if newest is None or reading.instant > newest.instant:
            before, after = newest, None
            self._newest[reading.member] = reading
        else:
            before, after = self._neighbours(field, reading)
        self._accepted[reading.member][reading.instant] = reading
        insort(self._instants[reading.member], reading.instant)
        for name in ("import_wh", "export_wh"):
            value = getattr(reading, name)
            if before is not None:
                most = getattr(before, name) + fields.MAX_CONNECTION_W * (reading.instant - before.instant) // 3600 + 1
                if value > most:
                    wanted = f"at most {most}: what flows at {fields.MAX_CONNECTION_W} W since the value before"
                    raise out_of_range(f"{field}.{name}", got=str(value), wanted=wanted)
            if before is not None and value < getattr(before, name):
                wanted = f"at least {getattr(before, name)}, the register's value before"
                raise invalid(f"{field}.{name}", got=str(value), wanted=wanted)
            if after is not None and value > getattr(after, name):
                wanted = f"at most {getattr(after, name)}, the register's value after"
                raise invalid(f"{field}.{name}", got=str(value), wanted=wanted)

    def _neighbours(self, field: str, reading: MeterReading) -> tuple[MeterReading | None, MeterReading | None]:
        """The known readings of the same meter just before and just after."""
        at, meter = reading.instant, (self._connection, self._microgrid, reading.member)
        accepted, instants = self._accepted[reading.member], self._instants[reading.member]
        place = bisect_left(instants, at)
        before = [accepted[instant] for instant in instants[max(0, place - 1) : place]]
        after = [accepted[instant] for instant in instants[place : place + 1]]
        before += [found for found in [meters.last_reading(*meter, until=at)] if found is not None]
        after += [found for found in [meters.next_reading(*meter, after=at)] if found is not None]
        if any(known.instant == at for known in (*before, *after)):
            raise invalid(f"{field}.instant", got=f"{at} twice", wanted="an instant once")
        return (
            max(before, key=lambda known: known.instant, default=None),
            min(after, key=lambda known: known.instant, default=None),
        )
