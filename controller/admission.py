"""Who is let in: the certificate, its time, denials, the matrix and quotas, for each call and again during streams."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cryptography import x509

from controller.access import Identity, identity, may_call
from controller.clock import Clock
from controller.denials import Denials
from controller.quotas import Bucket, Quotas
from controller.refusals import Refusal, denied, unauthenticated

TLS_VERSION = b"TLSv1.3"
KNOWN = 20_000
"""Certificates whose dates are remembered."""

Auth = Mapping[str, Iterable[bytes]]
"""What the transport proved about the caller: gRPC's auth context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A caller with the certificate it showed.

    Attributes
    ----------
    caller : its identity
    serial : of the certificate
    not_after : until when the certificate is valid, Unix seconds
    """

    caller: Identity
    serial: int
    not_after: float


def identify(auth: Auth) -> Identity:
    """The identity in the caller's certificate.

    Raises
    ------
    Refusal
        UNAUTHENTICATED where there is none of ours, or the connection is older than TLS 1.3.
    """
    if TLS_VERSION not in auth.get("ssl_tls_version", ()):
        raise unauthenticated("UNAUTHENTICATED", "got an older TLS, wanted TLS 1.3")
    uris = [name.decode(errors="replace") for name in auth.get("peer_spiffe_id", ())]
    found = identity(uris[0]) if len(uris) == 1 else None
    if found is None:
        raise unauthenticated(
            "UNAUTHENTICATED", f"got certificate URIs {uris}, wanted exactly one, spiffe://GRID/ROLE/ID"
        )
    return found


class Gate:
    """Decides about every call.

    Parameters
    ----------
    wall : certificates' time; never a virtual day's, since TLS knows the real one only
    monotonic : seconds on a clock that never jumps, for quotas
    denials, quotas : as their classes say
    """

    def __init__(self, *, wall: Clock, monotonic: Callable[[], float], denials: Denials, quotas: Quotas) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._quotas = quotas
        self.denials = denials
        self._seen: dict[bytes, Peer] = {}

    def admit(self, method: str, auth: Auth, size: int) -> Peer:
        """The caller, when it may make this call with a request of ``size`` bytes.

        Raises
        ------
        Refusal
            UNAUTHENTICATED, RESOURCE_EXHAUSTED or PERMISSION_DENIED.
        """
        peer = self._peer(auth)
        refusal = self.recheck(peer) or self._quotas.call(peer.caller, size, self._monotonic())
        if refusal is not None:
            raise refusal
        if not may_call(peer.caller, method):
            raise denied(f"{method}: a {peer.caller.role.value} may not call this")
        return peer

    def recheck(self, peer: Peer) -> Refusal | None:
        """Why somebody who was let in may stay no longer; None where it may."""
        # Its beginning was looked at in the handshake; looked at again, a clock that is set back would shut all out.
        if self._wall.now() >= peer.not_after:
            return unauthenticated("CERTIFICATE_EXPIRED", "got a certificate that has run out, wanted one that has not")
        if self.denials.cover(peer.caller, peer.serial):
            return unauthenticated("IDENTITY_DENIED", f"{peer.caller}: denied by the operator")
        return None

    def open_stream(self, peer: Peer) -> Bucket:
        """What a new stream's messages are counted with."""
        bucket = self._quotas.open_stream(peer.caller, self._monotonic())
        if isinstance(bucket, Refusal):
            raise bucket
        return bucket

    def count(self, peer: Peer, bucket: Bucket, size: int) -> None:
        """Count a message on a stream, or refuse it."""
        refusal = self._quotas.message(peer.caller, bucket, size, self._monotonic())
        if refusal is not None:
            raise refusal

    def close_stream(self, peer: Peer) -> None:
        """Count a stream no longer."""
        self._quotas.close_stream(peer.caller, self._monotonic())

    def _peer(self, auth: Auth) -> Peer:
        caller = identify(auth)
        pem = next(iter(auth.get("x509_pem_cert", ())), b"")
        known = self._seen.get(pem)
        if known is not None and known.caller == caller:
            return known
        try:
            certificate = x509.load_pem_x509_certificate(pem)
        except ValueError as err:
            raise unauthenticated("UNAUTHENTICATED", "got a certificate that cannot be read") from err
        peer = Peer(
            caller=caller,
            serial=certificate.serial_number,
            not_after=certificate.not_valid_after_utc.timestamp(),
        )
        if len(self._seen) >= KNOWN:
            self._seen.clear()  # simple, and rare: it costs each caller one parsing
        self._seen[pem] = peer
        return peer
