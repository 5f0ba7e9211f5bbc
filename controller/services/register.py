"""All servicers of the API, put on a server."""

from collections.abc import Sequence
from typing import cast

import grpc

from controller.access import unlisted
from controller.errors import ControllerError
from controller.services.audit import AuditServicer
from controller.services.core import Core
from controller.services.demand_response import DemandResponseServicer
from controller.services.dispatch import DispatchServicer
from controller.services.driver import DriverServicer
from controller.services.dso import DsoServicer
from controller.services.metering import MeteringServicer
from controller.services.operator import OperatorServicer
from controller.services.participant import ParticipantServicer
from controller.services.validator import ValidatorServicer
from gridpact.v1 import (
    audit_pb2,
    audit_pb2_grpc,
    demand_response_pb2,
    demand_response_pb2_grpc,
    dispatch_pb2,
    dispatch_pb2_grpc,
    driver_pb2,
    driver_pb2_grpc,
    dso_pb2,
    dso_pb2_grpc,
    metering_pb2,
    metering_pb2_grpc,
    operator_pb2,
    operator_pb2_grpc,
    participant_pb2,
    participant_pb2_grpc,
    validator_pb2,
    validator_pb2_grpc,
)

HEALTH = "grpc.health.v1.Health"

_DESCRIPTORS = tuple(
    service
    for module in (
        audit_pb2,
        demand_response_pb2,
        dispatch_pb2,
        driver_pb2,
        dso_pb2,
        metering_pb2,
        operator_pb2,
        participant_pb2,
        validator_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)
SERVICES: tuple[str, ...] = tuple(service.full_name for service in _DESCRIPTORS)
"""The full names of all services of the API."""
METHODS: tuple[str, ...] = tuple(
    f"/{service.full_name}/{method.name}" for service in _DESCRIPTORS for method in service.methods
)
"""The paths of all methods of the API."""


class ByName:
    """A server whose methods are looked up by their names.

    Generated code registers each method beside that, and gRPC's asyncio server then waits for every registered method
    anew with each call: with seventy methods that takes as long as answering.

    Parameters
    ----------
    server : has the methods
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Let it answer these."""
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """They are among the others already."""


def by_name(server: grpc.aio.Server) -> grpc.aio.Server:
    """The same server, for generated code to add servicers to."""
    return cast("grpc.aio.Server", ByName(server))


def add_servicers(server: grpc.aio.Server, core: Core) -> None:
    """Let a server answer every service of the API.

    Raises
    ------
    ControllerError
        If the authorisation matrix does not fit the API: a service that nobody checked does not start.
    """
    if wrong := unlisted(METHODS):
        raise ControllerError("authorisation matrix: " + "; ".join(wrong))
    server = by_name(server)
    operator_pb2_grpc.add_OperatorServiceServicer_to_server(OperatorServicer(core), server)
    dso_pb2_grpc.add_DsoServiceServicer_to_server(DsoServicer(core), server)
    demand_response_pb2_grpc.add_DemandResponseServiceServicer_to_server(DemandResponseServicer(core), server)
    dispatch_pb2_grpc.add_DispatchServiceServicer_to_server(DispatchServicer(core), server)
    driver_pb2_grpc.add_DriverServiceServicer_to_server(DriverServicer(core), server)
    participant_pb2_grpc.add_ParticipantServiceServicer_to_server(ParticipantServicer(core), server)
    metering_pb2_grpc.add_MeteringServiceServicer_to_server(MeteringServicer(core), server)
    validator_pb2_grpc.add_ValidatorServiceServicer_to_server(ValidatorServicer(core), server)
    audit_pb2_grpc.add_AuditServiceServicer_to_server(AuditServicer(core), server)


def add_reflection(server: grpc.aio.Server) -> None:
    """Let a server describe its services to tools that lack the .proto files."""
    from grpc_reflection.v1alpha import reflection

    # The server itself: by its type gRPC tells whether it wants the servicer for asyncio.
    reflection.enable_server_reflection((*SERVICES, HEALTH, reflection.SERVICE_NAME), server)
