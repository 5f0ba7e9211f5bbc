"""For validators: everything under a header, and their word that it is right: over each, and over batches of them."""

import json

from google.protobuf.message import DecodeError
from sqlalchemy import Connection

from controller.refusals import invalid, not_found
from controller.sealed import records_of
from controller.services.core import Core, once, open_signed, require_microgrid, require_window
from controller.services.edge import Context, caller_of
from controller.services.evidence import evidence_of
from controller.services.paging import read_page
from controller.services.proofs import header_message, settled_header
from controller.services.signing_batches import address_bytes, read_address, require_registry, signer_of
from controller.store import batches, evidence
from controller.wire import fields
from controller.wire.market import uplift_messages
from gridpact.v1 import validator_pb2 as pb
from gridpact.v1 import validator_pb2_grpc

MAX_RUN = 2**31 - 1
MAX_NUMBER = 2**62
HASH_BYTES = 32


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

    async def GetRegistry(self, request: pb.GetRegistryRequest, context: Context) -> pb.GetRegistryResponse:
        """Which registry signatures count for."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)

        def read(connection: Connection) -> None:
            require_microgrid(connection, caller, id_, request.parent)

        await self._core.database.read_async(read)
        known = require_registry(self._core)
        return pb.GetRegistryResponse(
            chain_id=known.domain.chain_id,
            contract=address_bytes(known.domain.contract),
            genesis_hash=known.genesis or b"",
            epoch=known.quorum.epoch,
            threshold=known.quorum.threshold,
            validators=[address_bytes(address) for address in known.quorum.validators],
        )

    async def ListBatches(self, request: pb.ListBatchesRequest, context: Context) -> pb.ListBatchesResponse:
        """Batches in their order, each with its headers."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        page = read_page(caller, request, request.page_size, request.page_token, (int,))
        first = fields.number("from_number", request.from_number, upper=MAX_NUMBER)
        unsigned_by = read_address("unsigned_by", request.unsigned_by) if request.unsigned_by else None

        def read(connection: Connection) -> pb.ListBatchesResponse:
            require_microgrid(connection, caller, id_, request.parent)
            after = max(first - 1, -1 if page.after is None else int(page.after[0]))
            kept = batches.batches(connection, id_, after=after, count=page.size + 1, unsigned_by=unsigned_by)
            found, token = page.cut(kept, lambda each: (each.batch.number,))
            return pb.ListBatchesResponse(
                batches=[_batch_message(connection, id_, each) for each in found], next_page_token=token
            )

        return await self._core.database.read_async(read)

    async def GetWindowEvidence(
        self, request: pb.GetWindowEvidenceRequest, context: Context
    ) -> pb.GetWindowEvidenceResponse:
        """Everything that a validator computes a window again from."""
        caller = caller_of(context)
        run = fields.number("run", request.run, upper=MAX_RUN)

        def read(connection: Connection) -> pb.GetWindowEvidenceResponse:
            return evidence_of(connection, require_window(connection, caller, request.window, "window"), run)

        return await self._core.database.read_async(read)

    async def SubmitBatchSignature(
        self, request: pb.SubmitBatchSignatureRequest, context: Context
    ) -> pb.SubmitBatchSignatureResponse:
        """Keep a validator's signature under a batch."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        number = fields.number("number", request.number, upper=MAX_NUMBER)
        name = f"{request.parent}/batches/{number}"

        def effect(connection: Connection) -> pb.SubmitBatchSignatureResponse:
            require_microgrid(connection, caller, id_, request.parent)
            kept = batches.batch(connection, id_, number)
            if kept is None:
                raise not_found(name)
            if request.hash != kept.batch.hash:
                got, wanted = f"0x{request.hash[:HASH_BYTES].hex()}", f"0x{kept.batch.hash.hex()}, the batch's"
                raise invalid("hash", got=got, wanted=wanted)
            known = require_registry(self._core)
            signer = signer_of(known, kept.batch.hash, request.signature)
            now = int(self._core.clock.now())
            batches.sign(connection, id_, number, signer, request.signature, submitted_by=caller.id, now=now)
            return pb.SubmitBatchSignatureResponse(
                signatures=sum(each in known.quorum.validators for each in {*kept.signatures, signer}),
                threshold=known.quorum.threshold,
            )

        return await once(self._core, caller, "SubmitBatchSignature", request, pb.SubmitBatchSignatureResponse, effect)


def _batch_message(connection: Connection, microgrid: str, kept: batches.KeptBatch) -> pb.Batch:
    batch = kept.batch
    headers = evidence.headers_after(connection, microgrid, batch.first - 1, len(batch.headers))
    return pb.Batch(
        number=batch.number,
        previous=batch.previous,
        first=batch.first,
        headers=[header_message(header) for _, header in headers],
        windows_root=batch.windows_root,
        hash=batch.hash,
        state=pb.BatchState.Value(f"BATCH_STATE_{kept.state.name}"),
        signatures=[
            pb.BatchSignature(validator=address_bytes(address), signature=signature)
            for address, signature in kept.signatures.items()
        ],
    )
