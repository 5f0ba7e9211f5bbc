"""For the aggregator: plans, clearings, trades."""

from collections.abc import AsyncIterator
from functools import cache

from sqlalchemy import Connection

from controller import relaxing
from controller.access import Identity, require_area
from controller.consent import Scope
from controller.planning import Quality
from controller.refusals import not_found
from controller.services import history
from controller.services.core import Core, once, require_microgrid, require_window
from controller.services.edge import Context, caller_of
from controller.services.feed import EventFeed
from controller.services.mandates import Sight, may_know, sight, telling_sections, visible_members
from controller.services.paging import read_page
from controller.services.plans import Asked, Planner
from controller.services.watching import R, Subjects, Watcher
from controller.store import adjustments, calls, events, evidence, market, registry
from controller.wire import fields
from controller.wire.adjustment import adjustment_messages
from controller.wire.market import certificate_message, uplift_messages
from controller.wire.plan import QUALITIES, read_deadline
from controller.wire.relaxation import relaxation_messages
from controller.wire.veto import applied
from gridpact.v1 import dispatch_pb2 as pb
from gridpact.v1 import dispatch_pb2_grpc


class DispatchServicer(dispatch_pb2_grpc.DispatchServiceServicer):
    """Implements gridpact.v1.DispatchService."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._planner = Planner(core)
        self._feed = EventFeed(core.database)

    async def RequestPlan(self, request: pb.RequestPlanRequest, context: Context) -> pb.RequestPlanResponse:
        """Plan the rest of the horizon, or a part of it, from what is known now."""
        caller = caller_of(context)
        fields.request_id(request.request_id)
        id_ = fields.microgrid_id("parent", request.parent)
        read_deadline(request)

        def freeze(connection: Connection) -> Asked | None:
            if not request.validate_only and calls.recall(connection, str(caller), request.request_id) is not None:
                return None  # answered before: nothing to solve
            return self._planner.freeze(connection, caller, request)

        require_area(caller, id_, request.parent)
        with self._planner.place(caller, id_, request.parent) as waiting:
            asked = await self._core.database.read_async(freeze)
            message = pb.Plan() if asked is None else await self._planner.plan(caller, request, asked, waiting)
        if request.validate_only:
            return pb.RequestPlanResponse(plan=message)

        def effect(connection: Connection) -> pb.RequestPlanResponse:
            market.add_plan(
                connection, id_, message.name, message.SerializeToString(deterministic=True), owner=str(caller)
            )
            return pb.RequestPlanResponse(plan=message)

        return await once(self._core, caller, "RequestPlan", request, pb.RequestPlanResponse, effect)

    async def GetPlan(self, request: pb.GetPlanRequest, context: Context) -> pb.GetPlanResponse:
        """A plan that was requested before."""
        caller = caller_of(context)
        id_, _ = fields.resource("name", request.name, "microgrids", "plans")

        def read(connection: Connection) -> pb.GetPlanResponse:
            require_microgrid(connection, caller, id_, request.name)
            plan = _kept(connection, caller, id_, request.name, self._core.clock.now())
            if plan is None:
                raise not_found(request.name)
            return pb.GetPlanResponse(plan=plan)

        return await self._core.database.read_async(read)

    async def GetClearing(self, request: pb.GetClearingRequest, context: Context) -> pb.GetClearingResponse:
        """What became of a window."""
        caller = caller_of(context)

        def read(connection: Connection) -> pb.GetClearingResponse:
            row = require_window(connection, caller, request.window, "window")
            seen = sight(connection, caller, row.microgrid, self._core.clock.now())
            return pb.GetClearingResponse(clearing=clearing_message(connection, row, seen))

        return await self._core.database.read_async(read)

    async def ListClearings(self, request: pb.ListClearingsRequest, context: Context) -> pb.ListClearingsResponse:
        """The windows whose gate has closed, in order of time."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)

        within = history.interval_of(request)
        page = read_page(caller, request, request.page_size, request.page_token, (int,))

        def read(connection: Connection) -> pb.ListClearingsResponse:
            require_microgrid(connection, caller, id_, request.parent)
            seen = sight(connection, caller, id_, self._core.clock.now())
            after = None if page.after is None else int(page.after[0])
            wanted = market.WindowFilter(after=after, within=within, limit=page.size + 1, whole=False)
            rows = market.decided_windows(connection, id_, wanted)
            shown, token = page.cut(rows, lambda row: (row.start,))
            return pb.ListClearingsResponse(
                clearings=[clearing_message(connection, row, seen) for row in shown], next_page_token=token
            )

        return await self._core.database.read_async(read)

    async def ListTrades(self, request: pb.ListTradesRequest, context: Context) -> pb.ListTradesResponse:
        """Trades in order of time."""
        return await self._core.database.read_async(history.trades, caller_of(context), request, self._core.clock.now())

    async def ListPrices(self, request: pb.ListPricesRequest, context: Context) -> pb.ListPricesResponse:
        """What energy cost, in order of time."""
        return await self._core.database.read_async(history.prices, caller_of(context), request)

    async def WatchPlans(self, request: pb.WatchPlansRequest, context: Context) -> AsyncIterator[pb.WatchPlansResponse]:
        """The caller's plans as they are made."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        await self._core.database.read_async(require_microgrid, caller, id_, request.parent)

        def change(connection: Connection, name: str) -> pb.WatchPlansResponse | None:
            plan = _kept(connection, caller, id_, name, self._core.clock.now())
            return None if plan is None else pb.WatchPlansResponse(plan=plan)

        def state(connection: Connection) -> list[pb.WatchPlansResponse]:
            name = market.newest_plan(connection, id_, owner=str(caller))
            found = None if name is None else change(connection, name)
            return [] if found is None else [found]

        subjects = Subjects(kind=events.PLAN, answer=pb.WatchPlansResponse, state=state, change=change)
        async for message in self._watcher(caller, id_, subjects).stream(request):
            yield message

    async def WatchClearings(
        self, request: pb.WatchClearingsRequest, context: Context
    ) -> AsyncIterator[pb.WatchClearingsResponse]:
        """Windows whose state changes."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        await self._core.database.read_async(require_microgrid, caller, id_, request.parent)

        def message(connection: Connection, row: market.WindowRow) -> pb.WatchClearingsResponse:
            seen = sight(connection, caller, id_, self._core.clock.now())
            return pb.WatchClearingsResponse(clearing=clearing_message(connection, row, seen))

        def change(connection: Connection, name: str) -> pb.WatchClearingsResponse | None:
            row = market.window(connection, name)
            return None if row is None else message(connection, row)

        def state(connection: Connection) -> list[pb.WatchClearingsResponse]:
            rows = market.decided_windows(connection, id_, market.WindowFilter(unfinished=True, whole=False))
            return [message(connection, row) for row in rows]

        subjects = Subjects(kind=events.CLEARING, answer=pb.WatchClearingsResponse, state=state, change=change)
        async for answer in self._watcher(caller, id_, subjects).stream(request):
            yield answer

    def _watcher(self, caller: Identity, microgrid: str, subjects: Subjects[R]) -> Watcher[R]:
        return Watcher(
            database=self._core.database,
            feed=self._feed,
            caller=caller,
            microgrid=microgrid,
            subjects=subjects,
            now=self._core.clock.now,
        )


def _kept(connection: Connection, caller: Identity, microgrid: str, name: str, now: float) -> pb.Plan | None:
    """A plan of the caller's, without the schedules of those who have taken their mandate back."""
    kept = market.plan(connection, name, owner=str(caller))
    if kept is None:
        return None
    plan = pb.Plan.FromString(kept)
    known = visible_members(connection, caller, microgrid, Scope.DISPATCH, now)
    if known is not None:
        shown = [s for s in plan.schedules if fields.device_id("device", s.device)[1] in known]
        del plan.schedules[:]
        plan.schedules.extend(shown)
        relaxed = [r for r in plan.relaxations if fields.device_id("device", r.device)[1] in known]
        del plan.relaxations[:]
        plan.relaxations.extend(relaxed)
        telling = cache(lambda: telling_sections(registry.members(connection, microgrid), known))
        limits = [limit for limit in plan.limit_relaxations if may_know(limit.target, known, telling)]
        del plan.limit_relaxations[:]
        plan.limit_relaxations.extend(limits)
    return plan


def clearing_message(connection: Connection, row: market.WindowRow, seen: Sight) -> pb.Clearing:
    """The message of a window with its state, as far as the reader may see it."""
    known = seen.known
    counts = market.counts_by_clearing(connection, row.name)
    return pb.Clearing(
        window=row.name,
        interval=fields.interval_message(row.start, row.end),
        state=pb.WindowState.Value(f"WINDOW_STATE_{row.state}"),
        certificate=certificate_message(row.certificate),
        input_digest=row.inputs_digest or b"",
        trade_count=sum(counts.values()),
        failure=row.failure,
        vetoes=applied(row.snapshot, row.microgrid, known),
        uplifts=[uplift for uplift in uplift_messages(row.uplifts) if known is None or uplift.member in known],
        quality=pb.PLAN_QUALITY_UNSPECIFIED if row.quality is None else QUALITIES[Quality(row.quality)],
        limit_relaxations=relaxation_messages(relaxing.from_json(row.relaxed), seen.limits),
        adjustments=adjustment_messages(adjustments.outlines(connection, row.name), counts, seen.limits),
        runs=evidence.runs(connection, [row.name]).get(row.name, 0),
    )
