"""For the DSO: limits that drivers check themselves, passed on to them."""

from sqlalchemy import Connection

from controller.following import Apply
from controller.group_limits import PassedOn, newest, raised
from controller.limits.values import Band
from controller.refusals import conflict, invalid, not_now
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
            before = group_limits.all_of(connection, id_)
            known = {limit.group: limit for limit in newest(before) if limit.holder == caller.id}
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
                group_limits.put(connection, id_, limit, now)
            _require_within(before, group_limits.all_of(connection, id_), band, now)
            return pb.SetGroupLimitsResponse(limits=[pb.GroupLimit.FromString(one.payload) for one in request.limits])

        def follow(connection: Connection) -> Apply:
            kept = group_limits.all_of(connection, id_)
            return lambda: self._core.hub.pass_on(id_, kept)

        return await once(
            self._core, caller, "SetGroupLimits", request, pb.SetGroupLimitsResponse, effect, follow=follow
        )


def _require_within(before: list[PassedOn], after: list[PassedOn], band: Band, now: float) -> None:
    """Refuse limits by which groups may go further beyond the connection's bounds than they might anyway."""
    found = raised(before, after, band, now)
    if found is None:
        return
    side, (unbounded, reach_w) = found
    bound_w, sign = (band.lower_w, -1) if side == "lower" else (band.upper_w, 1)
    got = "none for a group" if unbounded else f"{sign * reach_w} W over all groups (fresh replaced limits count)"
    raise not_now(
        "GROUPS_EXCEED_CONNECTION", f"limits: got {got} as {side} bound, wanted within the connection's {bound_w} W"
    )
