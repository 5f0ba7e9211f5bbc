"""Adjustments of windows: values to messages."""

from collections.abc import Callable, Mapping, Sequence

from controller import relaxing
from controller.planning import Quality
from controller.store.adjustments import AdjustmentRow
from controller.wire import fields
from controller.wire.market import certificate_message
from controller.wire.plan import QUALITIES
from controller.wire.relaxation import relaxation_messages
from gridpact.v1 import dispatch_pb2


def adjustment_messages(
    rows: Sequence[AdjustmentRow], trades: Mapping[int, int], may_see: Callable[[str], bool]
) -> list[dispatch_pb2.Adjustment]:
    """The messages of a window's adjustments, with how many trades each made, by its number.

    Limits that nobody could keep are told where the reader may know of their targets.
    """
    return [
        dispatch_pb2.Adjustment(
            number=row.number,
            interval=fields.interval_message(row.start, row.end),
            state=dispatch_pb2.WindowState.Value(f"WINDOW_STATE_{row.state}"),
            gate_close_time=fields.timestamp(row.closes),
            decision_deadline=fields.timestamp(row.start),
            source=row.source,
            failure=row.failure,
            input_digest=row.inputs_digest or b"",
            certificate=certificate_message(row.certificate) if row.certificate else None,
            trade_count=trades.get(row.number, 0),
            quality=dispatch_pb2.PLAN_QUALITY_UNSPECIFIED if row.quality is None else QUALITIES[Quality(row.quality)],
            limit_relaxations=relaxation_messages(relaxing.from_json(row.relaxed), may_see),
        )
        for row in rows
    ]
