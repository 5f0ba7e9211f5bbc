"""For participants: their devices, their orders, their trades and proofs."""

import hashlib
import json
import re

from google.protobuf.message import DecodeError
from sqlalchemy import Connection

from controller.flexibility import Plant, Thermostat
from controller.microgrid import Window
from controller.refusals import invalid, not_found
from controller.services.core import Core, once, open_signed, require_member, require_window
from controller.services.edge import Context, caller_of
from controller.services.paging import read_page
from controller.services.participant_checks import require_kept
from controller.services.participant_consents import ConsentMethods
from controller.services.participant_devices import DeviceMethods
from controller.services.participant_overrides import OverrideMethods
from controller.services.participant_own import OwnMethods
from controller.services.proofs import trade_proof
from controller.store import adjustments, market, registry
from controller.wire.calendar import open_clearing, order_mtus
from controller.wire.market import read_order, trade_message
from gridpact.v1 import participant_pb2 as pb
from gridpact.v1 import participant_pb2_grpc

TRADE = re.compile(r"(microgrids/[a-z0-9-]+/windows/\d{8}T\d{6}Z)/trades/(\d{1,9})")


class ParticipantServicer(
    DeviceMethods, OverrideMethods, ConsentMethods, OwnMethods, participant_pb2_grpc.ParticipantServiceServicer
):
    """Implements gridpact.v1.ParticipantService."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def SubmitOrder(self, request: pb.SubmitOrderRequest, context: Context) -> pb.SubmitOrderResponse:
        """Keep the caller's order while the gate is open."""
        caller = caller_of(context)

        def effect(connection: Connection) -> pb.SubmitOrderResponse:
            payload = open_signed(
                connection,
                request.order,
                microgrid=caller.grid,
                purpose="ORDER",
                holder=caller.id,
                type_name="gridpact.v1.Order",
                field="order",
            )
            window = _window_of(payload)
            row = require_window(connection, caller, window, "order.window")
            microgrid = require_member(connection, caller, row.microgrid, caller.id, window)
            parts = adjustments.outlines(connection, row.name)
            counts_for = open_clearing(row, parts, self._core.clock.now())
            own = [device for device in registry.devices(connection, row.microgrid) if device.member == caller.id]
            least, most = order_mtus(microgrid, Window(name=row.name, start=row.start, end=row.end))
            order = read_order(
                payload,
                mtus=most,
                least=least,
                window=window,
                member=caller.id,
                plants=frozenset(device.id for device in own if isinstance(device.flexibility, Plant)),
                thermostats=frozenset(device.id for device in own if isinstance(device.flexibility, Thermostat)),
            )
            require_kept(connection, microgrid, row, order, own)
            digest = hashlib.sha256(payload).digest()
            market.add_order(
                connection,
                window,
                caller.id,
                payload=payload,
                signature=request.order.signature,
                key_id=request.order.key_id,
                digest=digest,
                adjustment=counts_for,
            )
            return pb.SubmitOrderResponse(digest=digest, adjustment=counts_for)

        return await once(self._core, caller, "SubmitOrder", request, pb.SubmitOrderResponse, effect)

    async def ListOwnTrades(self, request: pb.ListOwnTradesRequest, context: Context) -> pb.ListOwnTradesResponse:
        """The caller's trades of a window by index."""
        caller = caller_of(context)
        page = read_page(caller, request, request.page_size, request.page_token, (int,))

        def read(connection: Connection) -> pb.ListOwnTradesResponse:
            row = require_window(connection, caller, request.parent, "parent")
            microgrid = require_member(connection, caller, row.microgrid, caller.id, request.parent, or_left=True)
            own = [
                (ix, trade)
                for ix, (trade, _) in enumerate(market.trades(connection, row.name))
                if caller.id in (trade.seller, trade.buyer)
            ]
            made_by = market.clearings_of_trades(connection, row.name)
            found, token = page.of(own, lambda numbered: (numbered[0],))
            return pb.ListOwnTradesResponse(
                trades=[
                    trade_message(row.name, ix, trade, microgrid.mtu_seconds, adjustment=made_by[ix])
                    for ix, trade in found
                ],
                next_page_token=token,
            )

        return await self._core.database.read_async(read)

    async def GetTradeProof(self, request: pb.GetTradeProofRequest, context: Context) -> pb.GetTradeProofResponse:
        """The proof of one of the caller's trades."""
        caller = caller_of(context)
        match = TRADE.fullmatch(request.name)
        if match is None:
            wanted = "microgrids/{microgrid}/windows/{window}/trades/{index}"
            raise invalid("name", got=request.name, wanted=wanted)

        def read(connection: Connection) -> pb.GetTradeProofResponse:
            row = require_window(connection, caller, match[1], "name")
            require_member(connection, caller, row.microgrid, caller.id, request.name, or_left=True)
            proof = trade_proof(connection, row.name, int(match[2]), request.name, registry=self._core.registry())
            record = json.loads(proof.record_json)
            if caller.id not in (record["seller"], record["buyer"]):
                raise not_found(request.name)
            return pb.GetTradeProofResponse(proof=proof)

        return await self._core.database.read_async(read)


def _window_of(payload: bytes) -> str:
    """The window that a signed order names; the rest is read when its horizon is known."""
    try:
        return pb.Order.FromString(payload).window
    except DecodeError as err:
        raise invalid("order.payload", got=f"{len(payload)} bytes", wanted="a gridpact.v1.Order") from err
