"""Those who call the village's service, over mutual TLS."""

from functools import cached_property

import grpc

from controller.pki import Authority
from gridpact.v1 import (
    audit_pb2_grpc,
    dispatch_pb2_grpc,
    driver_pb2_grpc,
    dso_pb2_grpc,
    metering_pb2_grpc,
    operator_pb2_grpc,
    participant_pb2_grpc,
    validator_pb2_grpc,
)


class Callers:
    """Everyone who calls the village's service, each with a certificate of its own.

    Attributes
    ----------
    authority : issues the certificates
    port : where the service listens
    """

    authority: Authority
    port: int

    def __init__(self) -> None:
        self._channels: dict[tuple[str, ...], grpc.Channel] = {}

    def hang_up(self) -> None:
        """Close all connections; who calls again dials anew."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
        for name in ("operator", "dso", "aggregator", "gateway", "validator", "auditor"):
            self.__dict__.pop(name, None)

    def channel(self, *uris: str, authority: Authority | None = None) -> grpc.Channel:
        """A connection with a certificate that carries these URIs; without a certificate where there is none."""
        key = (*uris, "" if authority is None else str(id(authority)))
        if key not in self._channels:
            identity = (authority or self.authority).client(uris[0]) if uris else None
            credentials = grpc.ssl_channel_credentials(
                root_certificates=self.authority.certificate,
                private_key=identity.key if identity else None,
                certificate_chain=identity.certificate if identity else None,
            )
            self._channels[key] = self.dial(credentials)
        return self._channels[key]

    def dial(self, credentials: grpc.ChannelCredentials) -> grpc.Channel:
        """A connection with credentials of one's own making."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.secure_channel(f"127.0.0.1:{self.port}", credentials, options=options)

    def stub(self, kind, name: str, grid: str = "village"):
        """A service's stub in the hands of ``{role}/{id}``."""
        return kind(self.channel(f"spiffe://{grid}/{name}"))

    @cached_property
    def operator(self):
        return self.stub(operator_pb2_grpc.OperatorServiceStub, "operator/op")

    @cached_property
    def dso(self):
        return self.stub(dso_pb2_grpc.DsoServiceStub, "dso/wires")

    @cached_property
    def aggregator(self):
        return self.stub(dispatch_pb2_grpc.DispatchServiceStub, "aggregator/agg")

    @cached_property
    def gateway(self):
        return self.stub(metering_pb2_grpc.MeteringServiceStub, "meter/gateway")

    @cached_property
    def validator(self):
        return self.stub(validator_pb2_grpc.ValidatorServiceStub, "validator/val")

    @cached_property
    def auditor(self):
        return self.stub(audit_pb2_grpc.AuditServiceStub, "auditor/aud")

    def participant(self, member: str, grid: str = "village"):
        return self.stub(participant_pb2_grpc.ParticipantServiceStub, f"participant/{member}", grid)

    def driver(self, device: str, grid: str = "village"):
        return self.stub(driver_pb2_grpc.DriverServiceStub, f"driver/{device}", grid)
