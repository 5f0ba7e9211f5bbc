"""All servicers of the API, put on a server."""

import grpc

from controller.services.audit import AuditServicer
from controller.services.core import Core
from controller.services.dispatch import DispatchServicer
from controller.services.driver import DriverServicer
from controller.services.dso import DsoServicer
from controller.services.metering import MeteringServicer
from controller.services.operator import OperatorServicer
from controller.services.participant import ParticipantServicer
from controller.services.validator import ValidatorServicer
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


def add_servicers(server: grpc.aio.Server, core: Core) -> None:
    """Let a server answer every service of the API."""
    operator_pb2_grpc.add_OperatorServiceServicer_to_server(OperatorServicer(core), server)
    dso_pb2_grpc.add_DsoServiceServicer_to_server(DsoServicer(core), server)
    dispatch_pb2_grpc.add_DispatchServiceServicer_to_server(DispatchServicer(core), server)
    driver_pb2_grpc.add_DriverServiceServicer_to_server(DriverServicer(core), server)
    participant_pb2_grpc.add_ParticipantServiceServicer_to_server(ParticipantServicer(core), server)
    metering_pb2_grpc.add_MeteringServiceServicer_to_server(MeteringServicer(core), server)
    validator_pb2_grpc.add_ValidatorServiceServicer_to_server(ValidatorServicer(core), server)
    audit_pb2_grpc.add_AuditServiceServicer_to_server(AuditServicer(core), server)
