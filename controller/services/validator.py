"""For validators: everything under a header, and their word that it is right."""

import json

from google.protobuf.message import DecodeError
from sqlalchemy import Connection

from controller.refusals import invalid
from controller.sealed import records_of
from controller.services.core import Core, once, open_signed, require_window
from controller.services.edge import Context, caller_of
from controller.services.proofs import header_message, settled_header
from controller.store import evidence
from controller.wire import fields
from controller.wire.market import uplift_messages
from gridpact.v1 import validator_pb2 as pb
from gridpact.v1 import validator_pb2_grpc

MAX_RUN = 2**31 - 1


class ValidatorServicer(validator_pb2_grpc.ValidatorServiceServicer):
    """Implements gridpact.v1.ValidatorService."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def GetWindowRecords(
        self, request: pb.GetWindowRecordsRequest, context: Context
    ) -> pb.GetWindowRecordsResponse:
        """The header and every record under it."""
        caller = caller_of(context)

        def read(connection: Connection) -> pb.GetWindowRecordsResponse:
            row = require_window(connection, caller, request.window, "window")
            header = settled_header(connection, row.name)
            records = records_of(connection, row.name)
            return pb.GetWindowRecordsResponse(
                header=header_message(header),
                trades_json=[json.dumps(leaf.to_json(), sort_keys=True) for leaf in records.trades],
                readings_json=[json.dumps(leaf.to_json(), sort_keys=True) for leaf in records.readings],
                postings_json=[json.dumps(leaf.to_json(), sort_keys=True) for leaf in records.postings],
                uplifts=uplift_messages(row.uplifts),
            )

        return await self._core.database.read_async(read)

    async def SubmitAttestation(
        self, request: pb.SubmitAttestationRequest, context: Context
    ) -> pb.SubmitAttestationResponse:
        """Keep a validator's signature under a header's hash."""
        caller = caller_of(context)

        def effect(connection: Connection) -> pb.SubmitAttestationResponse:
            payload = open_signed(
                connection,
                request.attestation,
                microgrid=caller.grid,
                purpose="ATTESTATION",
                holder=caller.id,
                type_name="gridpact.v1.Attestation",
                field="attestation",
            )
            try:
                attestation = pb.Attestation.FromString(payload)
            except DecodeError as err:
                raise invalid("attestation.payload", got=f"{len(payload)} bytes", wanted="an Attestation") from err
            fields.number("attestation.run", attestation.run, upper=MAX_RUN)
            row = require_window(connection, caller, attestation.window, "attestation.window")
            header = settled_header(connection, row.name)
            if (attestation.run, attestation.header_hash) != (header.run, header.hash):
                raise invalid(
                    "attestation.header_hash",
                    got=f"run {attestation.run}, 0x{attestation.header_hash.hex()}",
                    wanted=f"run {header.run}, 0x{header.hash.hex()}",
                )
            count = evidence.attest(
                connection,
                row.name,
                header.run,
                caller.id,
                payload=payload,
                signature=request.attestation.signature,
                key_id=request.attestation.key_id,
            )
            return pb.SubmitAttestationResponse(attestations=count)

        return await once(self._core, caller, "SubmitAttestation", request, pb.SubmitAttestationResponse, effect)
