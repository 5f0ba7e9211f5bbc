"""Messages of the grid operator, to values and back."""

from itertools import pairwise

from google.protobuf.message import DecodeError

from controller.limits.values import Band, Default, Envelope, Signature, Source, Standing
from controller.microgrid import Bounds
from controller.refusals import invalid, not_found, out_of_range
from controller.wire import fields
from gridpact.v1 import dso_pb2, types_pb2

MAX_PRIMACY = 255
MAX_PERIODS = 10_000


def read_envelope(signed: types_pb2.Signed, *, microgrid: str, mtu_seconds: int, holder: str, now: int) -> Envelope:
    """The envelope in a payload whose signature was checked."""
    try:
        message = dso_pb2.Envelope.FromString(signed.payload)
    except DecodeError as err:
        raise invalid("envelope.payload", got=f"{len(signed.payload)} bytes", wanted="a gridpact.v1.Envelope") from err
    grid, id_ = fields.resource("envelope.name", message.name, "microgrids", "envelopes")
    fields.target("envelope.target", message.target)
    if grid != microgrid or message.target.split("/")[:2] != ["microgrids", microgrid]:
        raise not_found(message.target if grid == microgrid else message.name)
    if not 1 <= len(message.periods) <= MAX_PERIODS:
        raise invalid("envelope.periods", got=f"{len(message.periods)}", wanted=f"1 to {MAX_PERIODS}")
    periods = tuple(_read_period(f"envelope.periods[{k}]", period) for k, period in enumerate(message.periods))
    for k, (first, second) in enumerate(pairwise(periods)):
        if second.start < first.end:
            raise invalid(f"envelope.periods[{k + 1}]", got="an overlap", wanted="periods in order of time")
    for k, period in enumerate(periods):
        if period.start % mtu_seconds or period.end % mtu_seconds:
            raise invalid(
                f"envelope.periods[{k}].interval", got="a part of an MTU", wanted=f"multiples of {mtu_seconds} s"
            )
    expires = fields.instant("envelope.expire_time", message.expire_time) if message.HasField("expire_time") else None
    if expires is not None and expires <= periods[0].start:
        raise out_of_range("envelope.expire_time", got=str(expires), wanted=f"later than {periods[0].start}")
    return Envelope(
        microgrid=microgrid,
        id=id_,
        source=Source(holder=holder, name=_read_source("envelope.source", message.source)),
        target=message.target,
        periods=periods,
        primacy=fields.number("envelope.primacy", message.primacy, upper=MAX_PRIMACY),
        counter=fields.number("envelope.counter", message.counter, upper=2**62),
        expires=expires,
        reason=fields.told(message.reason),
        created=now,
        signed=Signature(payload=signed.payload, signature=signed.signature, key_id=signed.key_id),
    )


def read_default(signed: types_pb2.Signed, *, microgrid: str, holder: str) -> Default:
    """The default envelope in a payload whose signature was checked."""
    field = "default_envelope"
    try:
        message = dso_pb2.DefaultEnvelope.FromString(signed.payload)
    except DecodeError as err:
        wanted = "a gridpact.v1.DefaultEnvelope"
        raise invalid(f"{field}.payload", got=f"{len(signed.payload)} bytes", wanted=wanted) from err
    if fields.target(f"{field}.target", message.target).split("/")[:2] != ["microgrids", microgrid]:
        raise not_found(message.target)
    lower, upper = _read_bounds(field, message.bounds)
    return Default(
        microgrid=microgrid,
        source=Source(holder=holder, name=_read_source(f"{field}.source", message.source)),
        target=message.target,
        lower_w=lower,
        upper_w=upper,
        counter=fields.number(f"{field}.counter", message.counter, upper=2**62),
        reason=fields.told(message.reason),
        signed=Signature(payload=signed.payload, signature=signed.signature, key_id=signed.key_id),
    )


def _read_source(field: str, value: str) -> str:
    return fields.identifier(field, value) if value else ""


def _read_period(field: str, message: dso_pb2.EnvelopePeriod) -> Bounds:
    start, end = fields.interval(f"{field}.interval", message.interval)
    lower, upper = _read_bounds(field, message.bounds)
    return Bounds(start=start, end=end, lower_w=lower, upper_w=upper)


def _read_bounds(field: str, bounds: types_pb2.PowerBounds) -> tuple[int | None, int | None]:
    lower = bounds.lower_w if bounds.HasField("lower_w") else None
    upper = bounds.upper_w if bounds.HasField("upper_w") else None
    for name, value in (("lower_w", lower), ("upper_w", upper)):
        if value is not None:
            fields.number(f"{field}.bounds.{name}", value, lower=-fields.MAX_W, upper=fields.MAX_W)
    if lower is None and upper is None:
        raise invalid(f"{field}.bounds", got="no bound", wanted="lower_w, upper_w or both")
    if lower is not None and upper is not None and lower > upper:
        raise invalid(f"{field}.bounds", got=f"lower {lower} above upper {upper}", wanted="lower <= upper")
    return lower, upper


def signed_message(signed: Signature) -> types_pb2.Signed:
    """What was signed, as it was signed."""
    return types_pb2.Signed(payload=signed.payload, signature=signed.signature, key_id=signed.key_id)


def envelope_message(
    envelope: Envelope, standing: Standing, effective: tuple[tuple[int, int], ...]
) -> dso_pb2.EnvelopeRecord:
    """The message of an envelope as it is held."""
    return dso_pb2.EnvelopeRecord(
        envelope=_own_message(envelope),
        state=dso_pb2.EnvelopeState.Value(f"ENVELOPE_STATE_{standing.value}"),
        create_time=fields.timestamp(envelope.created),
        signed_envelope=signed_message(envelope.signed),
        effective=[fields.interval_message(start, end) for start, end in effective],
    )


def _own_message(envelope: Envelope) -> dso_pb2.Envelope:
    if envelope.signed.payload:
        return dso_pb2.Envelope.FromString(envelope.signed.payload)
    return dso_pb2.Envelope(
        name=envelope.name,
        target=envelope.target,
        periods=[
            dso_pb2.EnvelopePeriod(
                interval=fields.interval_message(period.start, period.end),
                bounds=types_pb2.PowerBounds(lower_w=period.lower_w, upper_w=period.upper_w),
            )
            for period in envelope.periods
        ],
        reason=envelope.reason,
        source=envelope.source.name,
    )


def bounds_message(band: Band) -> types_pb2.PowerBounds:
    """The message of a band."""
    return types_pb2.PowerBounds(lower_w=band.lower_w, upper_w=band.upper_w)
