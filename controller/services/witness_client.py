"""Asks a running service for the headers that it shows."""

from collections.abc import Iterator

import grpc

from contracts.errors import EvidenceError
from contracts.evidence import StatedHeader
from contracts.header import WindowHeader
from controller.errors import ControllerError, InputError
from controller.pki_files import ServerFiles
from controller.services.status_client import WRONG_IDENTITY
from gridpact.v1 import audit_pb2, audit_pb2_grpc

PAGE = 500


def shown(
    target: str, files: ServerFiles, microgrid: str, *, first: int, timeout_s: float
) -> Iterator[tuple[int, list[StatedHeader]]]:
    """Pages of a microgrid's headers from a place on, each with the place of its first; at least one page.

    Parameters
    ----------
    target : HOST:PORT
    files : who asks, and by which authority the service is known
    microgrid : resource name
    first : place of the first header wanted
    timeout_s : that an answer may take

    Raises
    ------
    InputError
        If the service does not let this identity ask.
    ControllerError
        If there is no answer, or it holds what is no header; says why.
    """
    credentials = grpc.ssl_channel_credentials(
        root_certificates=files.authority,
        private_key=files.own.key,
        certificate_chain=files.own.certificate,
    )
    with grpc.secure_channel(target, credentials) as channel:
        stub = audit_pb2_grpc.AuditServiceStub(channel)
        request = audit_pb2.ListHeadersRequest(parent=microgrid, page_size=PAGE, from_number=first)
        while True:
            try:
                answer = stub.ListHeaders(request, timeout=timeout_s)
            except grpc.RpcError as err:
                if not isinstance(err, grpc.Call):
                    raise ControllerError(f"{target}: {err}") from err
                kind = InputError if err.code() in WRONG_IDENTITY else ControllerError
                raise kind(f"{target}: {err.code().name}: {err.details()}") from err
            yield first, [_stated(message, first + k) for k, message in enumerate(answer.headers)]
            first += len(answer.headers)
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token


def _stated(message: audit_pb2.Header, place: int) -> StatedHeader:
    try:
        header = WindowHeader(**{name: getattr(message, name) for name in WindowHeader.columns()})
    except EvidenceError as err:
        raise ControllerError(f"header {place}: {err}") from err
    return StatedHeader(header=header, hash=message.hash, place=f"header {place}")
