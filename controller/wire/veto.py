"""Vetoes: messages to values and back."""

import hashlib
import json

from google.protobuf.message import DecodeError

from controller.refusals import invalid, not_found, out_of_range
from controller.veto import Veto, VetoRecord
from controller.wire import fields
from gridpact.v1 import dispatch_pb2, dso_pb2, types_pb2

REASON = 500


def read_veto(payload: bytes, *, microgrid: str, mtu_seconds: int, now: float) -> Veto:
    """The veto of a signed payload.

    Raises
    ------
    Refusal
        If a field is wrong, or the veto is over already.
    """
    try:
        message = dso_pb2.Veto.FromString(payload)
    except DecodeError as err:
        raise invalid("veto.payload", got=f"{len(payload)} bytes", wanted="a gridpact.v1.Veto") from err
    grid, id_ = fields.resource("veto.name", message.name, "microgrids", "vetoes")
    if grid != microgrid:
        raise not_found(message.name)
    start, end = fields.interval("veto.interval", message.interval)
    if start % mtu_seconds or end % mtu_seconds:
        raise invalid("veto.interval", got="a part of an MTU", wanted=f"multiples of {mtu_seconds} s")
    if end <= now:
        raise out_of_range("veto.interval.end_time", got=f"{end} s", wanted=f"after now, {int(now)} s")
    if not 1 <= len(message.reason) <= REASON:
        raise invalid("veto.reason", got=f"{len(message.reason)} characters", wanted=f"1 to {REASON}")
    return Veto(
        id=id_,
        **_target(message, microgrid),
        start=start,
        end=end,
        reason=fields.words("veto.reason", message.reason),
        digest=hashlib.sha256(payload).hexdigest(),
    )


def _target(message: dso_pb2.Veto, microgrid: str) -> dict[str, str]:
    match message.WhichOneof("target"):
        case "member":
            return {"member": _own("veto.member", message.member, microgrid, "members")}
        case "section":
            return {"section": _own("veto.section", message.section, microgrid, "sections")}
        case "link":
            seller = _own("veto.link.seller", message.link.seller, microgrid, "members")
            buyer = _own("veto.link.buyer", message.link.buyer, microgrid, "members")
            if seller == buyer:
                raise invalid("veto.link.buyer", got=f"{buyer} on both sides", wanted="two members")
            return {"seller": seller, "buyer": buyer}
        case _:
            raise invalid("veto.target", got="none", wanted="member, link or section")


def _own(field: str, name: str, microgrid: str, collection: str) -> str:
    grid, id_ = fields.resource(field, name, "microgrids", collection)
    if grid != microgrid:
        raise not_found(name)
    return id_


def veto_message(record: VetoRecord, *, signed: bool) -> dso_pb2.VetoRecord:
    """The message of a veto as it is held; with what was signed where the reader is to have it."""
    message = dso_pb2.VetoRecord(
        veto=dso_pb2.Veto.FromString(record.payload),
        state=dso_pb2.VetoState.Value(f"VETO_STATE_{record.state.value}"),
        create_time=fields.timestamp(record.created),
    )
    if signed:
        message.signed_veto.CopyFrom(
            types_pb2.Signed(payload=record.payload, signature=record.signature, key_id=record.key_id)
        )
    return message


def applied(snapshot: str | None, microgrid: str, known: frozenset[str] | None) -> list[dispatch_pb2.AppliedVeto]:
    """The vetoes in a window's snapshot; of members the names that are known to the reader, None for all."""
    if not snapshot or '"vetoes":' not in snapshot:  # most have none, and their texts are long
        return []
    name = f"microgrids/{microgrid}"
    messages = []
    for raw in json.loads(snapshot).get("vetoes", ()):
        parties = [raw[key] for key in ("member", "seller", "buyer") if raw[key] is not None]
        if known is not None and parties and not known.intersection(parties):
            continue
        shown = {
            key: f"{name}/members/{raw[key]}"
            for key in ("member", "seller", "buyer")
            if raw[key] is not None and (known is None or raw[key] in known)
        }
        if raw["section"] is not None:
            shown["section"] = f"{name}/sections/{raw['section']}"
        messages.append(dispatch_pb2.AppliedVeto(veto=f"{name}/vetoes/{raw['id']}", reason=raw["reason"], **shown))
    return messages
