"""Limits that nobody could keep: values to messages."""

from collections.abc import Collection, Iterable

from controller.relaxing import Relaxation
from controller.wire import fields
from gridpact.v1 import types_pb2


def relaxation_messages(
    found: Iterable[Relaxation], known: Collection[str] | None = None
) -> list[types_pb2.LimitRelaxation]:
    """The messages of relaxations; of members' limits those of ``known`` members, None for all."""
    return [
        types_pb2.LimitRelaxation(
            target=one.target,
            interval=fields.interval_message(one.start, one.end),
            bounds=types_pb2.PowerBounds(lower_w=one.lower_w, upper_w=one.upper_w),
            relaxed=types_pb2.PowerBounds(lower_w=one.relaxed_lower_w, upper_w=one.relaxed_upper_w),
        )
        for one in found
        if known is None or member_of(one.target) in {None, *known}
    ]


def member_of(target: str) -> str | None:
    """Whose limit it is; None for a section's or the connection point's."""
    _, _, member = target.partition("/members/")
    return member or None
