"""Asks a running service for an invoice."""

from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict

from controller.errors import ControllerError, InputError
from controller.invoices import Invoice
from controller.pki_files import ServerFiles
from controller.wire.invoice import invoice_message, invoice_of
from gridpact.v1 import participant_pb2, participant_pb2_grpc

UNFIT = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
)
"""Whoever asks has to ask otherwise, or as somebody else."""


def ask(
    target: str, files: ServerFiles, member: str, *, first_day: str, last_day: str, by_mtu: bool, timeout_s: float
) -> Invoice:
    """A member's invoice for some days.

    Parameters
    ----------
    target : HOST:PORT
    files : who asks, and by which authority the service is known
    member : its resource name
    first_day, last_day : YYYY-MM-DD in the microgrid's time zone
    by_mtu : a line for each MTU, else for each day
    timeout_s : that an answer may take

    Raises
    ------
    InputError
        If the service refuses to answer this; says why.
    ControllerError
        If there is no answer; says why.
    """
    credentials = grpc.ssl_channel_credentials(
        root_certificates=files.authority, private_key=files.own.key, certificate_chain=files.own.certificate
    )
    request = participant_pb2.GetInvoiceRequest(parent=member, first_day=first_day, last_day=last_day, by_mtu=by_mtu)
    # An invoice of a year with all that it goes back to is larger than gRPC takes by default.
    options = [("grpc.max_receive_message_length", 64 * 2**20)]
    with grpc.secure_channel(target, credentials, options=options) as channel:
        stub = participant_pb2_grpc.ParticipantServiceStub(channel)
        try:
            return invoice_of(stub.GetInvoice(request, timeout=timeout_s).invoice)
        except grpc.RpcError as err:
            if not isinstance(err, grpc.Call):
                raise ControllerError(f"{target}: {err}") from err
            kind = InputError if err.code() in UNFIT else ControllerError
            raise kind(f"{target}: {err.code().name}: {err.details()}") from err


def as_json(invoice: Invoice) -> dict[str, Any]:
    """An invoice as plain values, by the names of the API."""
    found: dict[str, Any] = MessageToDict(
        invoice_message(invoice), preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return found
