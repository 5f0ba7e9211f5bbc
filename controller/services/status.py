"""What the service tells its operator about itself."""

from google.protobuf.duration_pb2 import Duration
from sqlalchemy import Connection, select

from controller.access import Identity, require_area
from controller.errors import StoreError
from controller.services.core import Core, require_microgrid
from controller.services.dispatch import clearing_message
from controller.services.mandates import Sight
from controller.store import market
from controller.store.figures import microgrid_figures
from controller.wire import fields
from gridpact.v1 import operator_pb2 as pb
from gridpact.v1.dispatch_pb2 import WindowState

FAILSAFE = "FAILSAFE"


async def status_of(core: Core, caller: Identity, name: str) -> pb.GetStatusResponse:
    """The service's status, and that of the caller's microgrid where it is named."""
    id_ = fields.microgrid_id("name", name) if name else None
    if id_ is not None:
        require_area(caller, id_, name)
    board = core.status
    problems = board.problems()
    response = pb.GetStatusResponse(
        version=board.version,
        start_time=fields.timestamp(int(board.started)),
        uptime=_duration(board.uptime_s()),
        epoch=board.epoch,
        database=pb.DatabaseStatus(kind=core.database.dialect, answering=True),
    )
    try:
        own = None if id_ is None else await core.database.read_async(_microgrid, caller, id_, name)
        if own is None:
            await core.database.read_async(_answer)
    except StoreError as err:
        response.database.answering = False
        problems.append(str(err))
    else:
        if id_ is not None and own is not None:
            _add_parts(core, id_, own)
            problems += _problems(own)
            response.microgrids.append(own)
    response.problems.extend(problems)
    return response


def _answer(connection: Connection) -> None:
    """Nothing but that the database answers."""
    connection.execute(select(1))


def _microgrid(connection: Connection, caller: Identity, id_: str, name: str) -> pb.MicrogridStatus:
    require_microgrid(connection, caller, id_, name)
    figures = microgrid_figures(connection, id_)
    status = pb.MicrogridStatus(
        name=f"microgrids/{id_}",
        windows=[
            pb.WindowCount(state=WindowState.Value(f"WINDOW_STATE_{state}"), count=count)
            for state, count in sorted(figures.windows.items())
        ],
        device_count=figures.devices,
        anchors_pending=figures.anchors_waiting,
    )
    if figures.next_start is not None:
        status.next_window_time.CopyFrom(fields.timestamp(figures.next_start))
    row = None if figures.decided is None else market.window(connection, figures.decided)
    if row is not None:
        # What each member pays is the members' own affair.
        seen = Sight(known=frozenset(), limits=_not_a_members)
        status.last_clearing.CopyFrom(clearing_message(connection, row, seen))
    return status


def _add_parts(core: Core, id_: str, status: pb.MicrogridStatus) -> None:
    if (known := core.registry()) is not None:
        status.registry.validator_count = len(known.quorum.validators)
        status.registry.threshold = known.quorum.threshold
        status.registry.self_attested = known.self_attested
    parts = core.status.parts
    status.connected_drivers = parts.connected(id_)
    status.refusing_devices = parts.refusing(id_)
    for stands in parts.supervision(id_):
        message = status.supervision.add(dso=stands.dso, state=stands.state)
        if stands.heard_s is not None:
            message.heard_ago.CopyFrom(_duration(stands.heard_s))
    status.backlogs.extend(
        pb.Backlog(kind=kind, waiting=waiting) for kind, waiting in sorted(parts.backlogs(id_).items())
    )


def _problems(status: pb.MicrogridStatus) -> list[str]:
    problems = [
        f"{status.name}: {supervision.dso} is not heard of, its failsafe limit holds"
        for supervision in status.supervision
        if supervision.state == FAILSAFE
    ]
    if status.last_clearing.failure:
        problems.append(f"{status.last_clearing.window}: not cleared: {status.last_clearing.failure}")
    return problems


def _duration(seconds: float) -> Duration:
    message = Duration()
    message.FromMilliseconds(round(seconds * 1000))
    return message


def _not_a_members(target: str) -> bool:
    return "/members/" not in target
