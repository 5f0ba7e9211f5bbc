"""For meter gateways: readings."""

from collections.abc import Mapping

from sqlalchemy import Connection

from controller.microgrid import MeterReading
from controller.refusals import conflict, invalid, not_found, out_of_range
from controller.services.core import FUTURE_S, Core, once, open_signed, require_microgrid
from controller.services.edge import Context, caller_of
from controller.store import books
from controller.wire.community import read_batch
from gridpact.v1 import metering_pb2 as pb
from gridpact.v1 import metering_pb2_grpc


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
            newest = books.newest_sequence(connection, microgrid.id, caller.id)
            if sequence <= newest:
                raise conflict("SEQUENCE_USED", f"readings.sequence: got {sequence}, wanted more than {newest}")
            members = {member.id for member in books.members(connection, microgrid.id)}
            registers = books.newest_readings(connection, microgrid.id)
            for k, reading in enumerate(readings):
                if reading.member not in members:
                    raise not_found(f"microgrids/{microgrid.id}/members/{reading.member}")
                _check(k, reading, registers, self._core.clock.now())
                registers[reading.member] = reading
            books.add_batch(
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


def _check(k: int, reading: MeterReading, registers: Mapping[str, MeterReading], now: float) -> None:
    """Refuse readings of the future, out of order, or with a register that went back."""
    if reading.instant > now + FUTURE_S:
        raise out_of_range(f"readings[{k}].instant", got=str(reading.instant), wanted=f"at most {now + FUTURE_S:.0f}")
    before = registers.get(reading.member)
    if before is None:
        return
    if reading.instant <= before.instant:
        raise invalid(f"readings[{k}].instant", got=str(reading.instant), wanted=f"later than {before.instant}")
    for name in ("import_wh", "export_wh"):
        if getattr(reading, name) < getattr(before, name):
            raise invalid(
                f"readings[{k}].{name}",
                got=str(getattr(reading, name)),
                wanted=f"at least {getattr(before, name)}, the register's last value",
            )
