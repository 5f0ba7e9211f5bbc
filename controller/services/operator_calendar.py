"""For the operator: the calendar, the tariff and the windows of a microgrid."""

from dataclasses import replace
from math import ceil

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import Connection

from controller.access import Identity, Role
from controller.microgrid import Microgrid
from controller.refusals import invalid, not_now, out_of_range
from controller.services.core import Core, once, require_microgrid, require_window
from controller.services.dispatch import clearing_message
from controller.services.edge import Context, caller_of
from controller.services.mandates import sight
from controller.services.masks import read_mask
from controller.services.paging import read_page
from controller.snapshot import Snapshot
from controller.store import adjustments, evidence, market, registry
from controller.store.market import WindowRow
from controller.wire import calendar, community, fields
from controller.wire.adjustment import adjustment_messages
from gridpact.v1 import operator_pb2 as pb

CHARGE = "network_charge_micro_per_kwh"
TERMS = "terms"
TIMINGS = ("gate_closure_lead", "timing", "planning_horizon", "order_ahead")


class CalendarMethods:
    """The methods of gridpact.v1.OperatorService about time and prices."""

    _core: Core

    async def UpdateMicrogrid(self, request: pb.UpdateMicrogridRequest, context: Context) -> pb.UpdateMicrogridResponse:
        """Change what the mask names."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("microgrid.name", request.microgrid.name)
        paths = read_mask(request.update_mask, (CHARGE, TERMS, *TIMINGS))

        def effect(connection: Connection) -> pb.UpdateMicrogridResponse:
            known = require_microgrid(connection, caller, id_, request.microgrid.name)
            changed = _changed(known, request.microgrid, paths)
            registry.put_microgrid(connection, changed)
            return pb.UpdateMicrogridResponse(microgrid=community.microgrid_message(changed))

        return await once(self._core, caller, "UpdateMicrogrid", request, pb.UpdateMicrogridResponse, effect)

    async def UpdateTariff(self, request: pb.UpdateTariffRequest, context: Context) -> pb.UpdateTariffResponse:
        """Append prices, or replace those of the future."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)

        def effect(connection: Connection) -> pb.UpdateTariffResponse:
            microgrid = require_microgrid(connection, caller, id_, request.parent)
            known = registry.tariff_end(connection, id_) or microgrid.start
            first = fields.instant("periods[0].interval.start_time", _first_start(request))
            _require_place(microgrid, first, known, self._core.clock.now())
            periods = calendar.read_tariff(request.periods, "periods", start=first, mtu=microgrid.mtu_seconds)
            until = periods[-1].end
            if not microgrid.rolling and until != microgrid.end:
                raise out_of_range(
                    "periods", got=f"prices until {until}", wanted=f"until the horizon's end {microgrid.end}"
                )
            registry.put_tariff(connection, id_, periods)
            return pb.UpdateTariffResponse(known_until=fields.timestamp(until))

        return await once(self._core, caller, "UpdateTariff", request, pb.UpdateTariffResponse, effect)

    async def ListWindows(self, request: pb.ListWindowsRequest, context: Context) -> pb.ListWindowsResponse:
        """The windows of an interval in order of time, with their states."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        first, end = _within(request)
        page = read_page(caller, request, request.page_size, request.page_token, (int,))
        if page.after is not None:
            first = max(first, int(page.after[0]) + 1)

        def read(connection: Connection) -> pb.ListWindowsResponse:
            require_microgrid(connection, caller, id_, request.parent)
            seen = sight(connection, caller, id_, self._core.clock.now())
            found = market.outlines(connection, id_, start=first, end=end, limit=page.size + 1)
            shown, token = page.cut(found, lambda outline: (outline.start,))
            rows = [row for outline in shown if (row := market.window(connection, outline.name)) is not None]
            return pb.ListWindowsResponse(
                windows=[clearing_message(connection, row, seen) for row in rows], next_page_token=token
            )

        return await self._core.database.read_async(read)

    async def GetWindow(self, request: pb.GetWindowRequest, context: Context) -> pb.GetWindowResponse:
        """A window's instants and state."""
        caller = caller_of(context)

        def read(connection: Connection) -> pb.GetWindowResponse:
            row = require_window(connection, caller, request.name, "name")
            microgrid = require_microgrid(connection, caller, row.microgrid, request.name)
            tariff = registry.tariff(connection, microgrid.id, start=row.start, end=row.end)
            message = calendar.window_message(row, replace(microgrid, tariff=tuple(tariff)))
            message.amendments.extend(_amendments(row, caller))
            message.runs = evidence.runs(connection, [row.name]).get(row.name, 0)
            seen = sight(connection, caller, row.microgrid, self._core.clock.now())
            counts = market.counts_by_clearing(connection, row.name)
            parts = adjustments.outlines(connection, row.name)
            message.adjustments.extend(adjustment_messages(parts, counts, seen.limits))
            return pb.GetWindowResponse(window=message)

        return await self._core.database.read_async(read)


def _changed(known: Microgrid, message: pb.Microgrid, paths: frozenset[str]) -> Microgrid:
    """The microgrid with what the paths name."""
    at = "microgrid"
    if not known.rolling and not paths <= {CHARGE, TERMS}:
        raise not_now("WINDOWS_OPEN", f"{known.name}: it has an end, and all of its windows are open already")
    changed = known
    if CHARGE in paths:
        changed = replace(changed, network_charge_micro_per_kwh=community.network_charge(f"{at}.{CHARGE}", message))
    if TERMS in paths:
        changed = replace(changed, terms=community.read_terms(f"{at}.{TERMS}", message))
    if paths & {"timing", "gate_closure_lead"}:
        stated = community.microgrid_message(known)
        if "timing" in paths:
            stated.ClearField("gate_closure_lead")
            stated.timing.CopyFrom(message.timing)
        if "gate_closure_lead" in paths or message.HasField("gate_closure_lead"):
            stated.gate_closure_lead.CopyFrom(message.gate_closure_lead)
        elif "timing" in paths and message.timing.preset in {
            pb.TIMING_PRESET_UNSPECIFIED,
            pb.TIMING_PRESET_CUSTOM,
        }:
            stated.gate_closure_lead.seconds = known.lead_minutes * 60
        _, lead, timing = calendar.read_timing(stated, at, mtu=known.mtu_minutes)
        changed = replace(changed, lead_minutes=lead, timing=timing)
    if "planning_horizon" in paths:
        minutes = calendar.read_planning(message, at, mtu=known.mtu_minutes, window=known.window_minutes)
        changed = replace(changed, planning_minutes=minutes)
    if "order_ahead" in paths or changed.timing != known.timing or changed.lead_minutes != known.lead_minutes:
        asked = message if "order_ahead" in paths else community.microgrid_message(known)
        ahead = calendar.read_ahead(asked, at, lead=changed.lead_minutes, timing=changed.timing)
        changed = replace(changed, ahead_minutes=ahead)
    return changed


def _first_start(request: pb.UpdateTariffRequest) -> Timestamp:
    if not request.periods:
        raise invalid("periods", got="none", wanted="at least one")
    return request.periods[0].interval.start_time


def _require_place(microgrid: Microgrid, first: int, known: int, now: float) -> None:
    """Refuse prices that leave a gap, lie beside the MTUs, or change what has begun."""
    field = "periods[0].interval.start_time"
    mtu = microgrid.mtu_seconds
    if first > known or first < microgrid.start or (first - microgrid.start) % mtu:
        raise out_of_range(
            field, got=str(first), wanted=f"{microgrid.start} to {known}, a whole number of {mtu} s after the former"
        )
    if first < min(now, known):
        raise out_of_range(
            field, got=str(first), wanted=f"at least {min(ceil(now), known)}: what has begun has its price"
        )


def _within(request: pb.ListWindowsRequest) -> tuple[int, int]:
    """The interval that is asked for; an end that is absent does not bind."""
    low, high = fields.EPOCH_RANGE
    wanted = request.interval
    start = fields.instant("interval.start_time", wanted.start_time) if wanted.HasField("start_time") else low
    end = fields.instant("interval.end_time", wanted.end_time) if wanted.HasField("end_time") else high
    if start >= end:
        raise invalid("interval", got=f"{start} to {end}", wanted="a start before the end")
    return start, end


def _amendments(row: WindowRow, caller: Identity) -> list[pb.OrderAmendment]:
    """What was done to orders: all for the operator, to a participant its own."""
    if not row.snapshot or caller.role not in {Role.OPERATOR, Role.PARTICIPANT}:
        return []
    amended = Snapshot.from_json(row.snapshot).amended
    return [
        pb.OrderAmendment(member=f"microgrids/{row.microgrid}/members/{member}", notes=notes)
        for member, notes in sorted(amended.items())
        if caller.role is Role.OPERATOR or member == caller.id
    ]
