"""Asks a running service what a validator needs, and hands its signatures in."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from contracts.errors import ContractsError
from controller.errors import ControllerError
from controller.pki_files import ServerFiles
from controller.registry_identity import RegistryIdentity
from controller.validating.evidence import DoubtError, WindowEvidence
from controller.wire.validation import ListedBatch, read_batch_message, read_evidence, read_registry
from gridpact.v1 import validator_pb2 as pb
from gridpact.v1 import validator_pb2_grpc

ANSWER_BYTES = 256 * 1024 * 1024
"""A window's evidence of a large community is large; nothing is held that is larger."""

R = TypeVar("R", bound=Message)


def dial(target: str, files: ServerFiles) -> grpc.Channel:
    """A connection under mutual TLS that takes long answers."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=files.authority, private_key=files.own.key, certificate_chain=files.own.certificate
    )
    return grpc.secure_channel(target, credentials, options=CHANNEL_OPTIONS)


CHANNEL_OPTIONS = [("grpc.max_receive_message_length", ANSWER_BYTES)]


class ServiceClient:
    """Implements ``controller.validator.Service`` over gRPC.

    Parameters
    ----------
    channel : to the service, as a validator
    microgrid : resource name
    timeout_s : that an answer may take
    """

    def __init__(self, channel: grpc.Channel, microgrid: str, *, timeout_s: float = 60.0) -> None:
        self._stub = validator_pb2_grpc.ValidatorServiceStub(channel)
        self._microgrid = microgrid
        self._timeout_s = timeout_s

    def registry(self) -> RegistryIdentity:
        """The registry that the service anchors in, as it says."""
        answer = self._ask(self._stub.GetRegistry, pb.GetRegistryRequest(parent=self._microgrid))
        try:
            return read_registry(answer)
        except ContractsError as err:
            raise DoubtError(f"registry: {err}") from err

    def batches(self, first: int, count: int) -> Sequence[ListedBatch]:
        """The first batches from a number on, in their order."""
        request = pb.ListBatchesRequest(parent=self._microgrid, from_number=first, page_size=count)
        return [read_batch_message(each) for each in self._ask(self._stub.ListBatches, request).batches]

    def evidence(self, window: str, run: int) -> WindowEvidence:
        """What a run of a window was decided on and settled with."""
        request = pb.GetWindowEvidenceRequest(window=window, run=run)
        return read_evidence(self._ask(self._stub.GetWindowEvidence, request))

    def submit(self, number: int, batch_hash: bytes, signature: bytes) -> None:
        """Hand in a signature; the same again changes nothing."""
        request = pb.SubmitBatchSignatureRequest(
            parent=self._microgrid,
            number=number,
            hash=batch_hash,
            signature=signature,
            # What is handed in again after an end between signing and answering is the same call.
            request_id=f"sign-{number}-{signature[:8].hex()}",
        )
        self._ask(self._stub.SubmitBatchSignature, request)

    def _ask(self, call: Callable[..., R], request: Message) -> R:
        try:
            return call(request, timeout=self._timeout_s)
        except grpc.RpcError as err:
            if not isinstance(err, grpc.Call):
                raise ControllerError(f"service: {err}") from err
            raise ControllerError(f"service: {err.code().name}: {err.details()}") from err
