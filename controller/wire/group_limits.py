"""Limits of groups: messages to values and back."""

from google.protobuf.message import DecodeError

from controller.group_limits import PassedOn
from controller.refusals import invalid, not_found, out_of_range
from controller.wire import fields
from gridpact.v1 import driver_pb2, dso_pb2, types_pb2

LONGEST_S = 86_400
MAX_DRIVER = 200


def read_group_limit(
    signed: types_pb2.Signed, payload: bytes, *, field: str, microgrid: str, holder: str, now: float
) -> PassedOn:
    """The limit in a payload whose signature was checked.

    Raises
    ------
    Refusal
        If a field is wrong, or the limit has expired.
    """
    try:
        message = dso_pb2.GroupLimit.FromString(payload)
    except DecodeError as err:
        raise invalid(f"{field}.payload", got=f"{len(payload)} bytes", wanted="a gridpact.v1.GroupLimit") from err
    grid, group = fields.resource(f"{field}.group", message.group, "microgrids", "groups")
    if grid != microgrid:
        raise not_found(message.group)
    if not 1 <= len(message.driver) <= MAX_DRIVER:
        got = f"{len(message.driver)} characters"
        raise invalid(f"{field}.driver", got=got, wanted=f"1 to {MAX_DRIVER}, the id of a driver's identity")
    expires = fields.instant(f"{field}.expire_time", message.expire_time)
    if not now < expires <= now + LONGEST_S:
        wanted = f"after now, {int(now)} s, and at most {LONGEST_S} s later"
        raise out_of_range(f"{field}.expire_time", got=f"{expires} s", wanted=wanted)
    bounds = message.bounds
    lower_w = bounds.lower_w if bounds.HasField("lower_w") else None
    upper_w = bounds.upper_w if bounds.HasField("upper_w") else None
    return PassedOn(
        group=group,
        driver=fields.words(f"{field}.driver", message.driver),
        holder=holder,
        counter=fields.number(f"{field}.counter", message.counter, lower=1, upper=2**62),
        expires=expires,
        lower_w=None
        if lower_w is None
        else fields.number(f"{field}.bounds.lower_w", lower_w, lower=-fields.MAX_W, upper=0),
        upper_w=None if upper_w is None else fields.number(f"{field}.bounds.upper_w", upper_w, upper=fields.MAX_W),
        payload=payload,
        signature=signed.signature,
        key_id=signed.key_id,
    )


def group_limits_message(limits: tuple[PassedOn, ...]) -> driver_pb2.GroupLimits:
    """What a driver is passed on."""
    return driver_pb2.GroupLimits(
        limits=[
            types_pb2.Signed(payload=limit.payload, signature=limit.signature, key_id=limit.key_id) for limit in limits
        ]
    )
