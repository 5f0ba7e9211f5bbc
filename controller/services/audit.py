"""For auditors: headers and proofs of everything under them."""

import re

from sqlalchemy import Connection

from controller.access import Role
from controller.access_journal import Entry
from controller.refusals import invalid
from controller.services.core import Core, require_microgrid, require_window
from controller.services.edge import Context, caller_of
from controller.services.paging import read_page
from controller.services.proofs import header_message, proof, settled_header
from controller.store import accesses, evidence
from controller.wire import fields
from gridpact.v1 import audit_pb2 as pb
from gridpact.v1 import audit_pb2_grpc, types_pb2

MAX_RUN = 2**31 - 1
RECORD = re.compile(r"(microgrids/[a-z0-9-]+/windows/\d{8}T\d{6}Z)/(trades|readings|postings)/(\d{1,9})")


class AuditServicer(audit_pb2_grpc.AuditServiceServicer):
    """Implements gridpact.v1.AuditService."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def ListHeaders(self, request: pb.ListHeadersRequest, context: Context) -> pb.ListHeadersResponse:
        """All headers in the order of their chain."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        page = read_page(caller, request, request.page_size, request.page_token, (int,))
        first = fields.number("from_number", request.from_number, upper=2**62 - 1)

        def read(connection: Connection) -> pb.ListHeadersResponse:
            require_microgrid(connection, caller, id_, request.parent)
            after = first - 1 if page.after is None else int(page.after[0])
            numbered = evidence.headers_after(connection, id_, after, page.size + 1)
            found, token = page.cut(numbered, lambda pair: (pair[0],))
            return pb.ListHeadersResponse(headers=[header_message(h) for _, h in found], next_page_token=token)

        return await self._core.database.read_async(read)

    async def GetHeader(self, request: pb.GetHeaderRequest, context: Context) -> pb.GetHeaderResponse:
        """The header of a settled window, or of a correction of it."""
        caller = caller_of(context)
        run = fields.number("run", request.run, upper=MAX_RUN)

        def read(connection: Connection) -> pb.GetHeaderResponse:
            row = require_window(connection, caller, request.window, "window")
            return pb.GetHeaderResponse(
                header=header_message(settled_header(connection, row.name, run)),
                attestations=[
                    types_pb2.Signed(payload=r.payload, signature=r.signature, key_id=r.key_id)
                    for r in evidence.attestations(connection, row.name)
                    if r.run == run
                ],
            )

        return await self._core.database.read_async(read)

    async def GetProof(self, request: pb.GetProofRequest, context: Context) -> pb.GetProofResponse:
        """The proof of any record."""
        caller = caller_of(context)
        match = RECORD.fullmatch(request.name)
        if match is None:
            wanted = "microgrids/{microgrid}/windows/{window}/trades/{index}, or readings or postings"
            raise invalid("name", got=request.name, wanted=wanted)

        def read(connection: Connection) -> pb.GetProofResponse:
            row = require_window(connection, caller, match[1], "name")
            found = proof(connection, row.name, match[2], int(match[3]), request.name, registry=self._core.registry())
            return pb.GetProofResponse(proof=found)

        return await self._core.database.read_async(read)

    async def ListAccess(self, request: pb.ListAccessRequest, context: Context) -> pb.ListAccessResponse:
        """The access journal; of it a participant gets what concerns it."""
        caller = caller_of(context)
        id_ = fields.microgrid_id("parent", request.parent)
        page = read_page(caller, request, request.page_size, request.page_token, (int,))
        member = caller.id if caller.role is Role.PARTICIPANT else None

        def read(connection: Connection) -> pb.ListAccessResponse:
            require_microgrid(connection, caller, id_, request.parent)
            after = 0 if page.after is None else int(page.after[0])
            found = accesses.entries(connection, id_, after=after, count=page.size + 1, member=member)
            entries, token = page.cut(found, lambda entry: (entry.number,))
            return pb.ListAccessResponse(accesses=[_access_message(entry) for entry in entries], next_page_token=token)

        return await self._core.database.run_async(read)


def _access_message(entry: Entry) -> pb.Access:
    access = entry.access
    return pb.Access(
        number=entry.number,
        time=fields.timestamp(access.instant),
        identity=access.identity,
        method=access.method,
        resource=access.resource,
        subject=access.subject,
        code=access.code,
        request_digest=access.digest,
        count=access.count,
        previous=entry.previous,
        hash=entry.hash,
    )
