"""Messages that are nearly right: drawn from descriptors, out of names that exist, lengths and numbers at the edges.

Everything is drawn from one source of randomness, so that Hypothesis can shrink what it finds, and a campaign can use a
plain and faster one.
"""

from contextlib import suppress
from random import Random
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from gridpact.v1 import demand_response_pb2, dso_pb2, metering_pb2, participant_pb2, types_pb2, validator_pb2
from tests.controller.village import MTU_S, START
from tests.controller.village_messages import Messages

PAYLOADS: dict[str, tuple[type[Message], str, str]] = {
    "CreateEnvelopeRequest.envelope": (dso_pb2.Envelope, "wires", "envelope-wires"),
    "SetDefaultEnvelopeRequest.default_envelope": (dso_pb2.DefaultEnvelope, "wires", "envelope-wires"),
    "CreateVetoRequest.veto": (dso_pb2.Veto, "wires", "envelope-wires"),
    "SetGroupLimitsRequest.limits": (dso_pb2.GroupLimit, "wires", "envelope-wires"),
    "CreateEventRequest.event": (demand_response_pb2.DemandEvent, "wires", "envelope-wires"),
    "SubmitOrderRequest.order": (participant_pb2.Order, "ada", "order-ada"),
    "SubmitReadingsRequest.readings": (metering_pb2.ReadingBatch, "gateway", "reading-gateway"),
    "SubmitAttestationRequest.attestation": (validator_pb2.Attestation, "val", "attestation-val"),
}
"""What travels signed: the payload's type, who signs it, and with which key."""

TEXTS = (
    "",
    " ",
    "x",
    "a" * 63,
    "a" * 64,
    "z" * 5000,
    "\x00",
    "../../etc/passwd",
    "%s%n",
    "'; DROP TABLE orders; --",
    "ümlaut",
    "\ud7ff\ue000",
    "\u202eabc",
    "🙂" * 40,
    "NaN",
    "-1",
    "0",
    "1e309",
    "9" * 30,
    "٣",
    "microgrids/",
    "microgrids//windows/",
    "null",
    "Europe/Berlin",
    "EUR",
    "serial:ff",
    "spiffe://village/driver/ada/pv",
    "same-id",
)
EDGES = (0, 1, -1, 2, 7, 900, 1000, 10**6, 10**9, 10**12, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf"))
INSTANTS = (
    *(START + MTU_S * k for k in range(-2, 10)),
    START + 1,
    START - 86_400,
    START + 86_400,
    0,
    -1,
    946_684_800,
    4_102_444_799,
    4_102_444_800,
    253_402_300_799,
    253_402_300_800,
    -62_135_596_800,
    2**63 - 1,
    -(2**63),
)
DURATIONS = (0, 1, 59, 60, 300, 900, 1800, 3600, 5400, 86_400, 7 * 86_400, 315_576_000_000, 2**63 - 1, -60, -(2**63))
PATHS = (
    "*",
    "device",
    "power_envelope",
    "power_envelope.rated_power_w",
    "fill_rate.capacity_wh",
    "thermostat.comfort",
    "operation_mode.allowed.start_time",
    "operation_mode.allowed.start_time.seconds",
    "generator..x",
    "power_envelope.",
)
"""Of a field mask."""

_LIMITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
DEPTH, SHALLOW = 6, 2


class Fuzzer:
    """Draws messages.

    Parameters
    ----------
    random : where all chance comes from
    names : resource names that exist here, exist elsewhere, or do not exist
    """

    def __init__(self, random: Random, names: tuple[str, ...]) -> None:
        self._random = random
        self._names = names

    def draw(self, kind: type[Message], depth: int = 0) -> Message:
        """Any message of a type."""
        message = kind()
        for field in message.DESCRIPTOR.fields:
            if self._random.random() < (0.8 if depth < 2 else 0.5):
                self._set(message, field, depth)
        return message

    def mutate(self, message: Message) -> None:
        """Change a message in one to three places, wherever they are; what was signed is signed anew."""
        for _ in range(self._random.choice((1, 1, 1, 2, 3))):
            self._mutate(message, 0)

    def raw(self, message: Message) -> bytes:
        """The bytes of a message, now and then damaged or padded with what is no field of it."""
        raw = bytearray(message.SerializeToString())
        chance = self._random.random()
        if chance < 0.03 and raw:
            raw[self._random.randrange(len(raw))] ^= 1 << self._random.randrange(8)
        elif chance < 0.05:
            raw += b"\xfa\x7f\x03abc"
        elif chance < 0.06:
            raw += bytes(self._random.randrange(256) for _ in range(5))
        return bytes(raw)

    def chance(self, share: float) -> bool:
        """Yes, as often as the share says."""
        return self._random.random() < share

    def _mutate(self, message: Message, depth: int) -> None:
        fields = list(message.DESCRIPTOR.fields)
        if not fields:
            return
        present = [field for field, _ in message.ListFields()]
        field = self._random.choice(present if present and self.chance(0.7) else fields)
        rich = [field for field in present if field.message_type is not None]
        if rich and self.chance(0.6):  # names are soon broken, what is inside is not
            field = self._random.choice(rich)
        deeper = field.message_type is not None and depth < DEPTH and self.chance(0.75)
        if deeper and field.is_repeated and len(getattr(message, field.name)):
            self._mutate(self._random.choice(getattr(message, field.name)), depth + 1)
        elif deeper and not field.is_repeated:
            self._deeper(message, field, depth)
        elif field.is_repeated and self.chance(0.4):
            self._rearrange(getattr(message, field.name))
        elif self.chance(0.15):
            message.ClearField(field.name)
        else:
            self._set(message, field, depth)

    def _deeper(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        inner = getattr(message, field.name)
        known = PAYLOADS.get(f"{message.DESCRIPTOR.name}.{field.name}")
        if known is None or self.chance(0.2):
            inner.SetInParent()
            self._mutate(inner, depth + 1)
            return
        kind, holder, key_id = known
        payload = kind()
        with suppress(DecodeError):  # damaged by an earlier change: begun anew
            payload.ParseFromString(inner.payload)
        self._mutate(payload, depth + 1)
        inner.CopyFrom(self._sign(payload, holder, key_id))

    def _rearrange(self, items: Any) -> None:
        kept = list(items)
        match self._random.randrange(4):
            case 0:
                kept = kept[::-1]
            case 1:
                kept = kept + kept
            case 2:
                kept = kept[:-1]
            case _:
                kept = kept[:1] * self._random.choice((0, 3, 70, 1001))
        del items[:]
        items.extend(kept)

    def _set(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        if not field.is_repeated:
            self._set_one(message, field, depth)
            return
        items = getattr(message, field.name)
        del items[:]
        count = self._random.choice((0, 1, 2, 3, 8, 300 if field.message_type is None else 9))
        if field.message_type is None:
            items.extend([self._scalar(field) for _ in range(count)])
        elif field.message_type.GetOptions().map_entry:
            return
        elif depth < DEPTH:
            kind = message_factory.GetMessageClass(field.message_type)
            items.extend([self._draw_field(message, field, kind, depth + 1) for _ in range(count)])

    def _set_one(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        if field.message_type is None:
            setattr(message, field.name, self._scalar(field))
        elif depth < DEPTH:
            kind = message_factory.GetMessageClass(field.message_type)
            getattr(message, field.name).CopyFrom(self._draw_field(message, field, kind, depth + 1))

    def _draw_field(self, parent: Message, field: FieldDescriptor, kind: type[Message], depth: int) -> Message:
        match kind.DESCRIPTOR.full_name:
            case "google.protobuf.Timestamp":
                return self._instant(kind, INSTANTS)
            case "google.protobuf.Duration":
                return self._instant(kind, DURATIONS)
            case "gridpact.v1.Signed":
                known = PAYLOADS.get(f"{parent.DESCRIPTOR.name}.{field.name}")
                if known is not None and self.chance(0.8):
                    payload, holder, key_id = known
                    return self._sign(self.draw(payload, depth), holder, key_id)
        return self.draw(kind, depth)

    def _instant(self, kind: type[Message], seconds: tuple[int, ...]) -> Message:
        nanos = self._random.choice((0, 0, 0, 0, 1, 999_999_999, -1, 2**31 - 1, -(2**31)))
        return kind(seconds=self._random.choice(seconds), nanos=nanos)

    def _sign(self, payload: Message, holder: str, key_id: str) -> types_pb2.Signed:
        return Messages().signed(holder, key_id, payload)

    def _scalar(self, field: FieldDescriptor) -> Any:
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_BOOL:
                return self.chance(0.5)
            case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
                return self._random.choice(FLOATS)
            case FieldDescriptor.CPPTYPE_ENUM:
                return self._random.choice([*field.enum_type.values_by_number, 99, -1, 2**31 - 1])
            case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
                return bytes(self._random.choice((0, 1, 31, 32, 33, 64, 4000)))
            case FieldDescriptor.CPPTYPE_STRING:
                return self._text(field.name)
            case kind:
                low, high = _LIMITS[kind]
                value = self._random.choice(EDGES) * self._random.choice((1, 1, 1, -1))
                return min(max(value, low), high)

    def _text(self, name: str) -> str:
        if name == "request_id" and self.chance(0.8):
            return self._random.choice(("one", "two", "three", "r" * 64))
        if name == "paths" and self.chance(0.8):
            return self._random.choice(PATHS)
        if self.chance(0.6):
            return self._random.choice(self._names)
        return self._random.choice(TEXTS)
