"""The messages of everyone in the village."""

import hashlib
import secrets
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.signing import sign
from controller.wire import fields
from gridpact.v1 import dso_pb2, metering_pb2, participant_pb2, types_pb2
from tests.controller.village import LOADS_W, MTU_S, NET_WH, SECTIONS, START, SUN_W

SetDefault = dso_pb2.SetDefaultEnvelopeRequest


class Messages:
    """What the village's callers say, signed where that is asked for."""

    start, mtu_s = START, MTU_S
    end = START + 7200
    members = tuple(SECTIONS)

    @staticmethod
    def request_id() -> str:
        """One that was not used before."""
        return secrets.token_hex(8)

    def window(self, number: int = 0, grid: str = "village") -> str:
        """The resource name of one of the four half-hour windows."""
        return f"microgrids/{grid}/windows/{datetime.fromtimestamp(START + 1800 * number, UTC):%Y%m%dT%H%M%SZ}"

    @staticmethod
    def key(holder: str) -> Ed25519PrivateKey:
        """The signing key of a holder."""
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(holder.encode()).digest())

    def signed(self, holder: str, key_id: str, message) -> types_pb2.Signed:
        """A message as its author signs it."""
        payload = message.SerializeToString(deterministic=True)
        return self.signed_bytes(holder, key_id, message.DESCRIPTOR.full_name, payload)

    def signed_bytes(self, holder: str, key_id: str, type_name: str, payload: bytes) -> types_pb2.Signed:
        """Any bytes as the author of such a message signs them."""
        signature = sign(self.key(holder), type_name, payload)
        return types_pb2.Signed(payload=payload, signature=signature, key_id=key_id)

    def order(self, member: str, number: int = 0, grid: str = "village", **changes) -> participant_pb2.Order:
        """A member's order for a window; sunshine for ada, and everyone is everyone's partner."""
        mtus = 8 - 2 * number
        values = {
            "window": self.window(number, grid),
            "member": f"microgrids/{grid}/members/{member}",
            "load_w": [LOADS_W[member]] * mtus,
            "production": [
                participant_pb2.ProductionForecast(
                    device=fields.device_name(grid, "ada/pv"), available_w=SUN_W[2 * number :]
                )
            ]
            if member == "ada"
            else [],
            "partners": [
                participant_pb2.Partner(member=f"microgrids/{grid}/members/{other}", preference_micro_per_kwh=1000 * k)
                for k, other in enumerate(sorted(set(SECTIONS) - {member}), start=1)
            ],
        }
        return participant_pb2.Order(**values | changes)

    def order_request(self, member: str, number: int = 0, **changes) -> participant_pb2.SubmitOrderRequest:
        """A signed order in a request."""
        order = self.order(member, number, **changes)
        return participant_pb2.SubmitOrderRequest(
            order=self.signed(member, f"order-{member}", order), request_id=self.request_id()
        )

    def envelope(self, id_: str, *periods: tuple[int, int, int | None, int | None], **changes) -> dso_pb2.Envelope:
        """An envelope on the connection point; periods are from MTU, to MTU, lower W, upper W."""
        values = {
            "name": f"microgrids/village/envelopes/{id_}",
            "target": "microgrids/village",
            "periods": [
                dso_pb2.EnvelopePeriod(
                    interval=fields.interval_message(START + MTU_S * first, START + MTU_S * end),
                    bounds=types_pb2.PowerBounds(lower_w=lower, upper_w=upper),
                )
                for first, end, lower, upper in periods or [(0, 8, -5000, 6000)]
            ],
            "reason": "works on the line",
        }
        return dso_pb2.Envelope(**values | changes)

    def envelope_request(self, envelope: dso_pb2.Envelope, **changes) -> dso_pb2.CreateEnvelopeRequest:
        """A signed envelope in a request."""
        values = {
            "parent": "microgrids/village",
            "envelope": self.signed("wires", "envelope-wires", envelope),
            "request_id": self.request_id(),
        }
        return dso_pb2.CreateEnvelopeRequest(**values | changes)

    def default_request(self, *, target: str = "microgrids/village", source: str = "", **bounds) -> SetDefault:
        """A signed default envelope in a request."""
        default = dso_pb2.DefaultEnvelope(target=target, bounds=types_pb2.PowerBounds(**bounds), source=source)
        return SetDefault(
            parent="microgrids/village",
            default_envelope=self.signed("wires", "envelope-wires", default),
            request_id=self.request_id(),
        )

    def batch(self, instant: int, *, members=None, sequence: int | None = None) -> metering_pb2.ReadingBatch:
        """What the gateway reports of an MTU's end."""
        mtu = (instant - START) // MTU_S
        return metering_pb2.ReadingBatch(
            parent="microgrids/village",
            sequence=10 * mtu + 1 if sequence is None else sequence,
            readings=[
                metering_pb2.Reading(
                    member=f"microgrids/village/members/{member}",
                    instant=fields.timestamp(instant),
                    import_wh=1000 + sum(max(net, 0) for net in NET_WH[member][:mtu]),
                    export_wh=500 + sum(max(-net, 0) for net in NET_WH[member][:mtu]),
                    quality=metering_pb2.READING_QUALITY_MEASURED,
                )
                for member in (self.members if members is None else members)
            ],
        )

    def batch_request(self, batch: metering_pb2.ReadingBatch) -> metering_pb2.SubmitReadingsRequest:
        """A signed batch in a request."""
        return metering_pb2.SubmitReadingsRequest(
            readings=self.signed("gateway", "reading-gateway", batch), request_id=self.request_id()
        )
