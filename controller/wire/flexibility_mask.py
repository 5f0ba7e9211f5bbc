"""Changing named fields of what is known of a device (AIP-134, with the two doubtful cases refused).

A path names a field, through messages by dots: ``fill_rate.reserve_wh``. A field that it names and that the change does
not set gets its default. What could be meant in two ways is refused: a mask that is there and empty, and a path into a
control that the change does not carry.
"""

from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from controller.refusals import invalid
from gridpact.v1 import participant_pb2 as pb

CONTROL = pb.Flexibility.DESCRIPTOR.oneofs_by_name["control"]
MAX_PATHS = 64


def merged(known: pb.Flexibility, change: pb.Flexibility, paths: Sequence[str]) -> pb.Flexibility:
    """What is known, with the fields that the paths name taken from the change.

    Raises
    ------
    Refusal
        INVALID_ARGUMENT naming the path.
    """
    if not 1 <= len(paths) <= MAX_PATHS:
        raise invalid(
            "update_mask.paths", got=f"{len(paths)} paths", wanted=f"1 to {MAX_PATHS}, or no mask to replace all"
        )
    result = pb.Flexibility()
    result.CopyFrom(known)
    for k, path in enumerate(paths):
        at = f"update_mask.paths[{k}]"
        names = path.split(".")
        if names == ["*"]:
            if len(paths) > 1:
                raise invalid(at, got=path, wanted="* alone, or paths")
            result.CopyFrom(change)
            return result
        _check(at, path, names, result, change)
        _take(result, change, names)
    return result


def _check(at: str, path: str, names: list[str], known: pb.Flexibility, change: pb.Flexibility) -> None:
    """Refuses a path that leads nowhere, or into a control that is not the device's."""
    controls = {field.name for field in CONTROL.fields}
    if names[0] not in controls:
        raise invalid(at, got=path, wanted=f"a path that begins with one of {', '.join(sorted(controls))}")
    descriptor: Descriptor | None = pb.Flexibility.DESCRIPTOR
    for depth, name in enumerate(names):
        field = descriptor.fields_by_name.get(name) if descriptor is not None else None
        if field is None:
            inside = ".".join(names[:depth])
            raise invalid(at, got=path, wanted=f"a field of {inside}")
        if field.is_repeated and depth < len(names) - 1:
            raise invalid(at, got=path, wanted=f"nothing behind {'.'.join(names[: depth + 1])}: it is replaced whole")
        descriptor = field.message_type
    if len(names) > 1:
        own = known.WhichOneof("control")
        if names[0] != own:
            raise invalid(at, got=path, wanted=f"a path into {own}, which the device is, or {names[0]} to make it one")
        if change.WhichOneof("control") != names[0]:
            raise invalid(at, got=path, wanted=f"a flexibility that carries {names[0]}, as the path leads into it")


def _take(into: Message, change: Message, names: list[str]) -> None:
    """Take one field over; without a value in the change it gets its default."""
    target: Any = into
    source: Any = change
    for name in names[:-1]:
        target, source = getattr(target, name), getattr(source, name)
    last = names[-1]
    field = target.DESCRIPTOR.fields_by_name[last]
    target.ClearField(last)
    if field.is_repeated:
        getattr(target, last).MergeFrom(getattr(source, last))
    elif field.message_type is not None:
        if source.HasField(last):
            getattr(target, last).CopyFrom(getattr(source, last))
    elif not field.has_presence or source.HasField(last):
        setattr(target, last, getattr(source, last))
