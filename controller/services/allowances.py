"""What one call of each method may take: the size of its request, and time."""

from dataclasses import dataclass

KIB = 1024
RECEIVED_BYTES = 12 * KIB * KIB
"""What the transport takes at all: enough that a message of 10 MB is refused by us, with details."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """The size in bytes of one request message, and for unary calls the seconds that the answer may take."""

    size: int = 64 * KIB
    seconds: float = 30.0


_USUAL = Allowance()
_LONG = Allowance(size=1024 * KIB)

_OTHERS = {
    "/gridpact.v1.DispatchService/RequestPlan": Allowance(seconds=300.0),
    "/gridpact.v1.DsoService/CreateEnvelope": _LONG,
    "/gridpact.v1.MeteringService/ReportPower": _LONG,
    "/gridpact.v1.MeteringService/SubmitReadings": _LONG,
    "/gridpact.v1.OperatorService/CreateMicrogrid": _LONG,
    "/gridpact.v1.ParticipantService/SubmitOrder": _LONG,
    "/gridpact.v1.ParticipantService/UpdateFlexibility": _LONG,
}


def allowance(method: str) -> Allowance:
    """What a call of the method may take; a caller's own deadline counts where it is shorter."""
    return _OTHERS.get(method, _USUAL)
