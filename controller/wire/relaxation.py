"""Limits that nobody could keep: values to messages."""

from collections.abc import Callable, Iterable

from controller.relaxing import Relaxation
from controller.wire import fields
from gridpact.v1 import types_pb2


def relaxation_messages(
    found: Iterable[Relaxation], may_see: Callable[[str], bool] | None = None
) -> list[types_pb2.LimitRelaxation]:
    """The messages of relaxations on targets that the reader may know of; None for all."""
    return [
        types_pb2.LimitRelaxation(
            target=one.target,
            interval=fields.interval_message(one.start, one.end),
            bounds=types_pb2.PowerBounds(lower_w=one.lower_w, upper_w=one.upper_w),
            relaxed=types_pb2.PowerBounds(lower_w=one.relaxed_lower_w, upper_w=one.relaxed_upper_w),
        )
        for one in found
        if may_see is None or may_see(one.target)
    ]
