"""What a caller is told whose call is refused."""

from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


@dataclass(frozen=True, kw_only=True)
class Refused:
    """What a refused caller is told."""

    code: grpc.StatusCode
    message: str
    reason: str
    fields: tuple[str, ...]
    descriptions: tuple[str, ...]


def refusal(err: grpc.RpcError) -> Refused:
    """The canonical code and the google.rpc details of a refused call."""
    status = rpc_status.from_call(err)
    assert status is not None, f"no details: {err}"
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        assert detail.Unpack(info) or detail.Unpack(bad)
    assert info.domain == "gridpact"
    assert status.message == err.details()
    return Refused(
        code=err.code(),
        message=err.details(),
        reason=info.reason,
        fields=tuple(v.field for v in bad.field_violations),
        descriptions=tuple(v.description for v in bad.field_violations),
    )
