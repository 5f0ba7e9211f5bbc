"""Every field of a message made wrong in turn: missing, misnamed, foreign, negative, huge, past, out of order."""

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tests.controller.fuzzing import _LIMITS, PAYLOADS
from tests.controller.village_messages import Messages

Put = Callable[[Message], None]

FAR_S = 253_402_300_799
MANY = 1200
WHOLE = {"google.protobuf.Timestamp", "google.protobuf.Duration", "gridpact.v1.Signed", "google.protobuf.FieldMask"}
"""Messages that are made wrong as a whole."""


def mutations(message: Message) -> Iterator[tuple[str, str, Message]]:
    """The field, what is wrong with it, and a copy of the message in which it is."""
    for field in message.DESCRIPTOR.fields:
        if field.has_presence and not message.HasField(field.name) and _in_oneof(field):
            continue
        for wrong, put in _wrongs(message, field):
            copy = _copy(message)
            put(copy)
            yield field.name, wrong, copy
        yield from _inside(message, field)


def _inside(message: Message, field: FieldDescriptor) -> Iterator[tuple[str, str, Message]]:
    """The same of what is in a field."""
    name = field.name
    if field.message_type is None or not _present(message, field):
        return
    if field.is_repeated:
        for path, wrong, inner in mutations(getattr(message, name)[0]):
            copy = _copy(message)
            getattr(copy, name)[0].CopyFrom(inner)
            yield f"{name}[0].{path}", wrong, copy
    elif signed := PAYLOADS.get(f"{message.DESCRIPTOR.name}.{name}"):
        kind, holder, key_id = signed
        for path, wrong, payload in mutations(kind.FromString(getattr(message, name).payload)):
            copy = _copy(message)
            getattr(copy, name).CopyFrom(Messages().signed(holder, key_id, payload))
            yield f"{name}.{path}", wrong, copy
    elif field.message_type.full_name not in WHOLE:
        for path, wrong, inner in mutations(getattr(message, name)):
            copy = _copy(message)
            getattr(copy, name).CopyFrom(inner)
            yield f"{name}.{path}", wrong, copy


def _wrongs(message: Message, field: FieldDescriptor) -> Iterator[tuple[str, Put]]:
    name = field.name
    if _present(message, field):
        yield "missing", lambda copy: copy.ClearField(name)
    if field.is_repeated:
        if _present(message, field):
            yield "twice", lambda copy: getattr(copy, name).MergeFrom(getattr(message, name))
            yield "many", lambda copy: getattr(copy, name).MergeFrom(list(getattr(message, name)) * MANY)
        if field.message_type is None:
            for wrong, value in _values(field, next(iter(getattr(message, name)), None)):
                yield wrong, lambda copy, value=value: _put_first(getattr(copy, name), value)
        return
    if field.message_type is None:
        for wrong, value in _values(field, getattr(message, name)):
            yield wrong, lambda copy, value=value: setattr(copy, name, value)
        return
    for wrong, put in _whole(field.message_type.full_name):
        yield wrong, lambda copy, put=put: put(getattr(copy, name))


def _values(field: FieldDescriptor, known: Any) -> Iterator[tuple[str, Any]]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            yield "long", bytes(5000)
        case FieldDescriptor.CPPTYPE_STRING:
            yield "misnamed", "x y"
            yield "long", "a" * 5000
            yield "unprintable", "a\x00"
            if known and "village" in known:
                yield "foreign", known.replace("village", "hamlet")
        case FieldDescriptor.CPPTYPE_ENUM:
            yield "unspecified", 0
            yield "unknown", 99
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            yield from (("NaN", float("nan")), ("infinite", float("inf")), ("negative", -1.0))
        case FieldDescriptor.CPPTYPE_BOOL:
            return
        case kind:
            low, high = _LIMITS[kind]
            yield "huge", high
            if low < 0:
                yield "negative", -1
                yield "hugely negative", low


def _whole(name: str) -> Iterator[tuple[str, Put]]:
    match name:
        case "google.protobuf.Timestamp":
            yield "past", lambda at: at.MergeFrom(type(at)(seconds=1))
            yield "long past", lambda at: at.MergeFrom(type(at)(seconds=-62_135_596_800))
            yield "far", lambda at: at.MergeFrom(type(at)(seconds=FAR_S))
            yield "fraction", lambda at: at.MergeFrom(type(at)(nanos=1))
        case "google.protobuf.Duration":
            yield "negative", lambda length: length.MergeFrom(type(length)(seconds=-60))
            yield "huge", lambda length: length.MergeFrom(type(length)(seconds=315_576_000_000))
            yield "fraction", lambda length: length.MergeFrom(type(length)(nanos=1))
        case "google.protobuf.FieldMask":
            yield "misnamed", lambda mask: mask.paths.append("nothing.of_that_name")
        case "gridpact.v1.Interval":
            yield "backwards", _turn
            yield "empty", lambda interval: interval.end_time.CopyFrom(interval.start_time)


def _turn(interval: Any) -> None:
    start = type(interval.start_time)(seconds=interval.start_time.seconds or 1_772_433_000)
    end = type(start)(seconds=interval.end_time.seconds or 1_772_433_900)
    interval.start_time.CopyFrom(end)
    interval.end_time.CopyFrom(start)


def _put_first(items: Any, value: Any) -> None:
    kept = [value, *items[1:]]
    del items[:]
    items.extend(kept)


def _present(message: Message, field: FieldDescriptor) -> bool:
    return any(known.name == field.name for known, _ in message.ListFields())


def _in_oneof(field: FieldDescriptor) -> bool:
    """Whether setting a field would take the place of another."""
    oneof = field.containing_oneof
    return oneof is not None and not oneof.name.startswith("_")


def _copy(message: Message) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
