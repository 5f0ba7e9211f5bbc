"""Asks a running service for its status."""

from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict

from controller.errors import ControllerError, InputError
from controller.pki_files import ServerFiles
from gridpact.v1 import operator_pb2, operator_pb2_grpc

WRONG_IDENTITY = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)


def ask(target: str, files: ServerFiles, grid: str, *, timeout_s: float) -> dict[str, Any]:
    """The status as plain values, by the names of the API.

    Parameters
    ----------
    target : HOST:PORT
    files : who asks, and by which authority the service is known
    grid : id of the microgrid that is asked about as well, where it exists
    timeout_s : that an answer may take

    Raises
    ------
    InputError
        If the service does not let this identity ask.
    ControllerError
        If there is no answer; says why.
    """
    credentials = grpc.ssl_channel_credentials(
        root_certificates=files.authority,
        private_key=files.own.key,
        certificate_chain=files.own.certificate,
    )
    with grpc.secure_channel(target, credentials) as channel:
        stub = operator_pb2_grpc.OperatorServiceStub(channel)
        try:
            answer = _answer(stub, grid, timeout_s)
        except grpc.RpcError as err:
            if not isinstance(err, grpc.Call):
                raise ControllerError(f"{target}: {err}") from err
            kind = InputError if err.code() in WRONG_IDENTITY else ControllerError
            raise kind(f"{target}: {err.code().name}: {err.details()}") from err
    found: dict[str, Any] = MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return found


def _answer(stub: operator_pb2_grpc.OperatorServiceStub, grid: str, timeout_s: float) -> operator_pb2.GetStatusResponse:
    try:
        return stub.GetStatus(operator_pb2.GetStatusRequest(name=f"microgrids/{grid}"), timeout=timeout_s)
    except grpc.RpcError as err:
        if not isinstance(err, grpc.Call) or err.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        # Nobody has created it yet; the service is there all the same.
        return stub.GetStatus(operator_pb2.GetStatusRequest(), timeout=timeout_s)
