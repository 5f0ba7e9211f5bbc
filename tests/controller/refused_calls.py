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
    retry_s: float | None = None
    quotas: tuple[str, ...] = ()


def refusal(err: grpc.RpcError) -> Refused:
    """The canonical code and the google.rpc details of a refused call."""
    status = rpc_status.from_call(err)
    assert status is not None, f"no details: {err}"
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    quota, retry = error_details_pb2.QuotaFailure(), error_details_pb2.RetryInfo()
    for detail in status.details:
        assert any(detail.Unpack(kind) for kind in (info, bad, quota, retry))
    assert info.domain == "gridpact"
    assert status.message == err.details()
    return Refused(
        code=err.code(),
        message=err.details(),
        reason=info.reason,
        fields=tuple(v.field for v in bad.field_violations),
        descriptions=tuple(v.description for v in bad.field_violations),
        retry_s=retry.retry_delay.ToMilliseconds() / 1000 if retry.HasField("retry_delay") else None,
        quotas=tuple(v.subject for v in quota.violations),
    )
