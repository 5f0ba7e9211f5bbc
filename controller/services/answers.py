"""Refusals as callers get them: google.rpc.Status with details, and faults of ours without any."""

import logging
import secrets
from typing import Any, TypeAlias

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from controller.errors import StoreUnavailableError
from controller.refusals import Code, Refusal, unavailable

log = logging.getLogger(__name__)

DOMAIN = "gridpact"
STATUS_KEY = "grpc-status-details-bin"
STORE_RETRY_S = 5.0

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


async def answer(context: Context, refusal: Refusal) -> None:
    """End the call with the refusal."""
    status = to_status(refusal)
    code = next(c for c in grpc.StatusCode if c.value[0] == refusal.code.value)
    await context.abort(code, refusal.message, ((STATUS_KEY, status.SerializeToString()),))


def translate(err: Exception, method: str) -> Refusal:
    """What a caller is told about an error that is not its own: that it happened, and where the log has it."""
    if isinstance(err, Refusal):
        return err
    if isinstance(err, StoreUnavailableError):
        log.error("%s: %s", method, err)
        return unavailable("STORE_UNAVAILABLE", "the store does not answer; try again", retry_s=STORE_RETRY_S)
    incident = secrets.token_hex(6)
    log.error("%s failed, incident %s", method, incident, exc_info=err)
    return Refusal(
        code=Code.INTERNAL,
        reason="INTERNAL",
        message=f"internal error; the service's log has it as incident {incident}",
        metadata={"incident": incident},
    )


def to_status(refusal: Refusal) -> status_pb2.Status:
    """A refusal as google.rpc.Status.

    It has ErrorInfo always, BadRequest where fields are wrong, QuotaFailure where a quota is used up, and RetryInfo
    where it helps to come back.
    """
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=refusal.reason, domain=DOMAIN, metadata=dict(refusal.metadata))
    ]
    if refusal.violations:
        fields = [
            error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
            for v in refusal.violations
        ]
        details.append(error_details_pb2.BadRequest(field_violations=fields))
    if refusal.quota:
        violation = error_details_pb2.QuotaFailure.Violation(subject=refusal.quota, description=refusal.message)
        details.append(error_details_pb2.QuotaFailure(violations=[violation]))
    if refusal.retry_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(max(1, round(refusal.retry_s * 1000)))
        details.append(retry)
    packed = []
    for detail in details:
        wrapped = any_pb2.Any()
        wrapped.Pack(detail)
        packed.append(wrapped)
    return status_pb2.Status(code=refusal.code.value, message=refusal.message, details=packed)
