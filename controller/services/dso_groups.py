"""For the DSO: limits that drivers check themselves, passed on to them."""

from sqlalchemy import Connection

from controller.group_limits import PassedOn, together
from controller.limits.values import Band
from controller.refusals import Refusal, conflict, invalid, not_now
from controller.services.core import Core, once, open_signed, require_microgrid
from controller.services.edge import Context, caller_of
from controller.store import group_limits
from controller.wire import fields
from controller.wire.group_limits import read_group_limit
from gridpact.v1 import dso_pb2 as pb

MOST = 1000


class GroupMethods:
    """The methods of gridpact.v1.DsoService about limits of groups."""

    _core: Core

    async def SetGroupLimits(self, request: pb.SetGroupLimitsRequest, context: Context) -> pb.SetGroupLimitsResponse:
        """Pass limits on to drivers."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        band = self._core.limits.book.effective(id_, f"microgrids/{id_}")

        def effect(connection: Connection) -> pb.SetGroupLimitsResponse:
            require_microgrid(connection, caller, id_, request.parent)
            if not 1 <= len(request.limits) <= MOST:
                raise invalid("limits", got=str(len(request.limits)), wanted=f"1 to {MOST}")
            now = self._core.clock.now()
            known = {limit.group: limit for limit in group_limits.all_of(connection, id_)}
            named: set[str] = set()
            for k, signed in enumerate(request.limits):
                field = f"limits[{k}]"
                payload = open_signed(
                    connection,
                    signed,
                    microgrid=id_,
                    purpose="ENVELOPE",
                    holder=caller.id,
                    type_name="gridpact.v1.GroupLimit",
                    field=field,
                )
                limit = read_group_limit(signed, payload, field=field, microgrid=id_, holder=caller.id, now=now)
                if limit.group in named:
                    raise invalid(f"{field}.group", got=f"{limit.group} twice", wanted="each group once")
                last = known.get(limit.group)
                if last is not None and limit.counter <= last.counter:
                    wanted = f"more than {last.counter}, that of the group's last limit"
                    raise conflict("OLD_COUNTER", f"{field}.counter: got {limit.counter}, wanted {wanted}")
                named.add(limit.group)
                known[limit.group] = limit
                group_limits.put(connection, id_, limit)
            _require_within(list(known.values()), band, now)
            return pb.SetGroupLimitsResponse(limits=[pb.GroupLimit.FromString(one.payload) for one in request.limits])

        answer = await once(self._core, caller, "SetGroupLimits", request, pb.SetGroupLimitsResponse, effect)
        kept = await self._core.database.read_async(lambda connection: group_limits.all_of(connection, id_))
        self._core.hub.pass_on(id_, kept)
        return answer


def _require_within(limits: list[PassedOn], band: Band, now: float) -> None:
    """Refuse limits that together allow more than the connection point has."""
    lower, upper = together(limits, now)
    if band.upper_w is not None and (upper is None or upper > band.upper_w):
        raise _too_much("upper", upper, band.upper_w)
    if band.lower_w is not None and (lower is None or lower < band.lower_w):
        raise _too_much("lower", lower, band.lower_w)


def _too_much(side: str, got: int | None, wanted: int) -> Refusal:
    shown = "none for a group" if got is None else f"{got} W over all groups"
    return not_now(
        "GROUPS_EXCEED_CONNECTION", f"limits: got {shown} as {side} bound, wanted within the connection's {wanted} W"
    )
