"""For the aggregator: plans, clearings, trades."""

import hashlib
import json

from sqlalchemy import Connection

from controller import planning, problem
from controller.freezing import snapshot_of
from controller.microgrid import Window
from controller.refusals import not_found, not_now
from controller.services.core import Core, once, page_of, require_microgrid, require_window
from controller.services.edge import Context, caller_of
from controller.snapshot import Snapshot
from controller.store import calls, market
from controller.wire import fields
from controller.wire.market import certificate_message, trade_message, uplift_messages
from gridpact.v1 import dispatch_pb2 as pb
from gridpact.v1 import dispatch_pb2_grpc
from optimization.clearing import Infeasible
from optimization.errors import OptimizationError, ProblemError

DECLARED_GAP = 0.01


class DispatchServicer(dispatch_pb2_grpc.DispatchServiceServicer):
    """Implements gridpact.v1.DispatchService."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._planning: set[str] = set()

    async def RequestPlan(self, request: pb.RequestPlanRequest, context: Context) -> pb.RequestPlanResponse:
        """Plan the rest of the horizon from what is known now."""
        caller = caller_of(context)
        fields.request_id(request.request_id)
        id_ = fields.microgrid_id("parent", request.parent)

        def freeze(connection: Connection) -> Snapshot | None:
            if calls.recall(connection, str(caller), request.request_id) is not None:
                return None  # answered before: nothing to solve
            microgrid = require_microgrid(connection, caller, id_, request.parent)
            open_rows = [row for row in market.windows(connection, id_) if row.state == "OPEN"]
            if not open_rows:
                raise not_now("NO_OPEN_WINDOW", f"{request.parent}: every window of the horizon is closed")
            first = open_rows[0]
            window = Window(name=first.name, start=first.start, end=first.end)
            return snapshot_of(connection, microgrid, window)

        snapshot = await self._core.database.run_async(freeze)
        message = pb.Plan() if snapshot is None else await self._plan_alone(id_, request.parent, snapshot)

        def effect(connection: Connection) -> pb.RequestPlanResponse:
            market.add_plan(connection, id_, message.name, message.SerializeToString(deterministic=True))
            return pb.RequestPlanResponse(plan=message)

        return await once(self._core, caller, "RequestPlan", request, pb.RequestPlanResponse, effect)

    async def _plan_alone(self, microgrid: str, parent: str, snapshot: Snapshot) -> pb.Plan:
        """A plan, one at a time for a microgrid: clearings wait for no more than one."""
        if microgrid in self._planning:
            raise not_now("PLAN_IN_PROGRESS", f"{parent}: another plan is being made")
        self._planning.add(microgrid)
        try:
            return await self._plan(parent, snapshot)
        except OptimizationError as err:
            raise not_now("NO_PLAN", f"{parent}: no plan was found: {err}") from err
        finally:
            self._planning.discard(microgrid)

    async def _plan(self, parent: str, snapshot: Snapshot) -> pb.Plan:
        digest = snapshot.digest()
        message = pb.Plan(
            name=f"{parent}/plans/p{hashlib.sha256(digest).hexdigest()[:24]}",
            horizon=fields.interval_message(snapshot.window.start, snapshot.microgrid.end),
            input_digest=digest,
        )
        try:
            community = problem.build(snapshot)
            outcome = await self._core.solver.solve(community)
            if isinstance(outcome, Infeasible):
                return _infeasible(message, outcome.reason)
            decision = planning.decide(snapshot, community, outcome)
        except ProblemError as err:  # limits that contradict each other, a community of nobody
            return _infeasible(message, str(err))
        message.certificate.CopyFrom(certificate_message(json.dumps(planning.stated(decision.certificate))))
        optimal = decision.certificate.gap <= DECLARED_GAP
        message.quality = pb.PLAN_QUALITY_OPTIMAL if optimal else pb.PLAN_QUALITY_FEASIBLE
        message.net_power_w.extend(decision.plan.net_w)
        for device, power in sorted(decision.plan.power_w.items()):
            message.schedules.append(
                pb.DeviceSchedule(
                    device=fields.device_name(snapshot.microgrid.id, device),
                    power_w=power,
                    shortfall_wh=decision.plan.shortfall_wh.get(device, 0),
                    discomfort_milli_k_h=decision.plan.discomfort_milli_k_h.get(device, 0),
                )
            )
        return message

    async def GetPlan(self, request: pb.GetPlanRequest, context: Context) -> pb.GetPlanResponse:
        """A plan that was requested before."""
        caller = caller_of(context)
        id_, _ = fields.resource("name", request.name, "microgrids", "plans")

        def read(connection: Connection) -> pb.GetPlanResponse:
            require_microgrid(connection, caller, id_, request.name)
            message = market.plan(connection, request.name)
            if message is None:
                raise not_found(request.name)
            return pb.GetPlanResponse(plan=pb.Plan.FromString(message))

        return await self._core.database.run_async(read)

    async def GetClearing(self, request: pb.GetClearingRequest, context: Context) -> pb.GetClearingResponse:
        """What became of a window."""
        caller = caller_of(context)

        def read(connection: Connection) -> pb.GetClearingResponse:
            row = require_window(connection, caller, request.window, "window")
            return pb.GetClearingResponse(clearing=clearing_message(connection, row))

        return await self._core.database.run_async(read)

    async def ListClearings(self, request: pb.ListClearingsRequest, context: Context) -> pb.ListClearingsResponse:
        """The windows whose gate has closed, in order of time."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)

        def read(connection: Connection) -> pb.ListClearingsResponse:
            require_microgrid(connection, caller, id_, request.parent)
            decided = [row for row in market.windows(connection, id_) if row.state != "OPEN"]
            page, token = page_of(decided, request.page_size, request.page_token)
            return pb.ListClearingsResponse(
                clearings=[clearing_message(connection, row) for row in page], next_page_token=token
            )

        return await self._core.database.run_async(read)

    async def ListTrades(self, request: pb.ListTradesRequest, context: Context) -> pb.ListTradesResponse:
        """A window's trades by index."""
        caller = caller_of(context)

        def read(connection: Connection) -> pb.ListTradesResponse:
            row = require_window(connection, caller, request.parent, "parent")
            microgrid = require_microgrid(connection, caller, row.microgrid, request.parent)
            numbered = list(enumerate(trade for trade, _ in market.trades(connection, row.name)))
            page, token = page_of(numbered, request.page_size, request.page_token)
            return pb.ListTradesResponse(
                trades=[trade_message(row.name, ix, trade, microgrid.mtu_seconds) for ix, trade in page],
                next_page_token=token,
            )

        return await self._core.database.run_async(read)


def _infeasible(message: pb.Plan, conflict: str) -> pb.Plan:
    message.quality = pb.PLAN_QUALITY_INFEASIBLE
    message.conflict = conflict
    return message


def clearing_message(connection: Connection, row: market.WindowRow) -> pb.Clearing:
    """The message of a window with its state."""
    return pb.Clearing(
        window=row.name,
        interval=fields.interval_message(row.start, row.end),
        state=pb.WindowState.Value(f"WINDOW_STATE_{row.state}"),
        certificate=certificate_message(row.certificate),
        input_digest=row.inputs_digest or b"",
        trade_count=market.count_trades(connection, row.name),
        failure=row.failure,
        uplifts=uplift_messages(row.uplifts),
    )
