"""Checked reading of single fields: names, instants, numbers."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from controller.refusals import invalid, out_of_range
from gridpact.v1 import types_pb2 as pb

ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
TARGET = re.compile(rf"microgrids/{ID.pattern}(/transformer|/(sections|members)/{ID.pattern})?")
REQUEST_ID = re.compile(r"[\x21-\x7e]{1,64}")
MAX_W = 10**9
MAX_CONNECTION_W = 10**6
"""No member and no device has more than a megawatt."""
MAX_WH = 10**12
MAX_PRICE_MICRO_PER_KWH = 10**9
MAX_DURATION_S = 7 * 86_400
"""No run, rest, pause or delay is longer than a week."""
EPOCH_RANGE = (946_684_800, 4_102_444_800)
"""Instants lie between the years 2000 and 2100."""


def identifier(field: str, value: str) -> str:
    """A resource id: lower case letters, digits and hyphens, 1 to 63, a letter first."""
    if not ID.fullmatch(value):
        raise invalid(field, got=value, wanted="1 to 63 of a-z, 0-9 and '-', a letter first")
    return value


def words(field: str, value: str, *, most: int = 500) -> str:
    """A text for people: printable, of a few lines at most."""
    if len(value) > most:
        raise out_of_range(field, got=f"{len(value)} characters", wanted=f"at most {most}")
    if any(not char.isprintable() and char != "\n" for char in value):
        raise invalid(field, got=value, wanted="printable characters")
    return value


def told(value: str, *, most: int = 500) -> str:
    """What somebody says beside the matter, as far as it can be shown: cut, and without what cannot be printed."""
    return "".join(char for char in value[:most] if char.isprintable() or char == "\n")


def once_each(field: str, values: Sequence[str]) -> None:
    """Refuse a list that has something twice."""
    seen: set[str] = set()
    for k, value in enumerate(values):
        if value in seen:
            raise invalid(f"{field}[{k}]", got=f"{value} twice", wanted="each once")
        seen.add(value)


def request_id(value: str) -> str:
    """A request id: 1 to 64 printable characters."""
    if not REQUEST_ID.fullmatch(value):
        raise invalid("request_id", got=value, wanted="1 to 64 printable ASCII characters")
    return value


def microgrid_id(field: str, name: str) -> str:
    """The id in ``microgrids/{microgrid}``."""
    return resource(field, name, "microgrids")[0]


def resource(field: str, name: str, *collections: str) -> tuple[str, ...]:
    """The ids in a resource name such as ``microgrids/{}/members/{}``."""
    parts = name.split("/")
    wanted = "/".join(f"{collection}/{{id}}" for collection in collections)
    if len(parts) != 2 * len(collections) or tuple(parts[::2]) != collections:
        raise invalid(field, got=name, wanted=wanted)
    return tuple(identifier(field, part) for part in parts[1::2])


def target(field: str, name: str) -> str:
    """The name of what can be limited and metered: ``microgrids/{}``, or its transformer, a section or a member."""
    if not TARGET.fullmatch(name):
        wanted = "microgrids/{microgrid}, or its /transformer, /sections/{section} or /members/{member}"
        raise invalid(field, got=name, wanted=wanted)
    return name


def window_id(field: str, name: str) -> tuple[str, str]:
    """Microgrid id and whole name of ``microgrids/{microgrid}/windows/{window}``."""
    match = re.fullmatch(r"microgrids/([a-z][a-z0-9-]{0,62})/windows/(\d{8}T\d{6}Z)", name)
    if match is None:
        raise invalid(field, got=name, wanted="microgrids/{microgrid}/windows/{yyyymmddThhmmssZ}")
    return match[1], name


def device_id(field: str, name: str) -> tuple[str, str, str]:
    """Microgrid id, member id and ``{member}/{device}`` of a device's resource name."""
    microgrid, member, device = resource(field, name, "microgrids", "members", "devices")
    return microgrid, member, f"{member}/{device}"


def device_name(microgrid: str, device: str) -> str:
    """The resource name of the device ``{member}/{device}``."""
    member, _, own = device.partition("/")
    return f"microgrids/{microgrid}/members/{member}/devices/{own}"


def instant(field: str, value: Timestamp) -> int:
    """Whole Unix seconds."""
    low, high = EPOCH_RANGE
    if not low <= value.seconds < high:
        raise out_of_range(field, got=f"{value.seconds} s", wanted=f"{low} to {high} s")
    if value.nanos:
        raise invalid(field, got=f"{value.nanos} ns", wanted="whole seconds")
    return value.seconds


def future(field: str, value: Timestamp, *, now: float) -> int:
    """Whole Unix seconds that are still to come."""
    seconds = instant(field, value)
    if seconds <= now:
        raise out_of_range(field, got=_iso(seconds), wanted=f"after now, {_iso(int(now))}")
    return seconds


def timestamp(seconds: int) -> Timestamp:
    """The message of an instant."""
    return Timestamp(seconds=seconds)


def interval(field: str, value: pb.Interval) -> tuple[int, int]:
    """Start and end in Unix seconds, start before end."""
    start = instant(f"{field}.start_time", value.start_time)
    end = instant(f"{field}.end_time", value.end_time)
    if start >= end:
        raise invalid(field, got=f"start {_iso(start)}, end {_iso(end)}", wanted="a start before the end")
    return start, end


def interval_message(start: int, end: int) -> pb.Interval:
    """The message of ``[start, end)``."""
    return pb.Interval(start_time=timestamp(start), end_time=timestamp(end))


def minutes(
    field: str, value: Duration, *, choices: Sequence[int] | None = None, lower: int = 0, upper: int = 1440
) -> int:
    """A duration of whole minutes."""
    if value.nanos or value.seconds % 60 or not lower * 60 <= value.seconds <= upper * 60:
        raise invalid(field, got=f"{value.seconds} s {value.nanos} ns", wanted=f"{lower} to {upper} whole minutes")
    if choices is not None and value.seconds // 60 not in choices:
        raise invalid(field, got=f"{value.seconds // 60} min", wanted=f"one of {tuple(choices)} min")
    return value.seconds // 60


def seconds(field: str, value: Duration, *, lower: int = 0, upper: int = MAX_DURATION_S, multiple: int = 1) -> int:
    """A duration of whole seconds, or of a multiple of some."""
    if value.nanos or value.seconds % multiple or not lower <= value.seconds <= upper:
        wanted = f"{lower} to {upper} s" + (f", a multiple of {multiple} s" if multiple > 1 else "")
        raise invalid(field, got=f"{value.seconds} s {value.nanos} ns", wanted=wanted)
    return value.seconds


def number(field: str, value: int, *, lower: int = 0, upper: int) -> int:
    """An integer within bounds."""
    if not lower <= value <= upper:
        raise out_of_range(field, got=str(value), wanted=f"{lower} to {upper}")
    return value


def watts(field: str, values: Sequence[int], *, count: int) -> tuple[int, ...]:
    """A series of non-negative powers, one for each of ``count`` MTUs."""
    if len(values) != count:
        raise invalid(field, got=f"{len(values)} values", wanted=f"{count}, one for each MTU of the horizon")
    return tuple(number(f"{field}[{k}]", value, upper=MAX_CONNECTION_W) for k, value in enumerate(values))


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
