"""What signed messages say, for those who have nothing but the messages."""

from datetime import UTC, datetime

from google.protobuf.message import DecodeError

from controller.microgrid import Bounds
from controller.refusals import invalid
from controller.wire import fields
from controller.wire.limits import read_default, read_envelope
from gridpact.v1 import participant_pb2, types_pb2

ENVELOPE = "gridpact.v1.Envelope"
ALWAYS = 2**62


def order_window(payload: bytes) -> tuple[str, int]:
    """The window that an order was given for, and its start in Unix seconds, which its name says."""
    try:
        message = participant_pb2.Order.FromString(payload)
    except DecodeError as err:
        raise invalid("order.payload", got=f"{len(payload)} bytes", wanted="a gridpact.v1.Order") from err
    _, name = fields.window_id("order.window", message.window)
    start = datetime.strptime(name.rpartition("/")[2], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return name, int(start.timestamp())


def limit_of(payload: bytes, type_name: str, *, microgrid: str, mtu_seconds: int) -> tuple[str, tuple[Bounds, ...]]:
    """What an envelope or a default envelope bounds, and how; a default at any time.

    Parameters
    ----------
    payload : what was signed
    type_name : of the message, one of the two
    microgrid, mtu_seconds : whose it has to be, and how long its MTUs are
    """
    signed = types_pb2.Signed(payload=payload)
    if type_name == ENVELOPE:
        envelope = read_envelope(signed, microgrid=microgrid, mtu_seconds=mtu_seconds, holder="", now=0)
        return envelope.target, envelope.periods
    default = read_default(signed, microgrid=microgrid, holder="")
    return default.target, (Bounds(start=0, end=ALWAYS, lower_w=default.lower_w, upper_w=default.upper_w),)
