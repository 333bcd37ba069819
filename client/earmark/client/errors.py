"""Turns the status and the details of a failed call into an explanation for people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

Detail = TypeVar("Detail")

_HINTS = {
    "UNAVAILABLE": "Is the gateway running at this address? `earmark up` starts one on this machine. If its "
    "connections are encrypted, EARMARK_CA names the authority of its certificate.",
    "DEADLINE_EXCEEDED": "No answer came within the `timeout`, but a change may have been made all the same. "
    "Repeat it with the same request_id, so that it is not made twice, or give it more time.",
}


class EarmarkError(Exception):
    """Base class of the client's own errors. The gateway's errors are grpc.RpcError; see `explain`."""


@dataclass(frozen=True)
class FieldViolation:
    """An invalid field of the request: its path, and what is wrong with it."""

    field: str
    description: str


@dataclass(frozen=True)
class PreconditionViolation:
    """A precondition that is not met: its type, the resource concerned, what was found and what to do."""

    type: str
    subject: str
    description: str


@dataclass(frozen=True)
class Explanation:
    """The parts of a failed call's error; `str` renders all of them for people.

    `code` is the name of the status code. `reason` is the name of an ErrorReason without its prefix, empty if
    the error does not come from Earmark. `retry_after` is in seconds, None if the error does not say.
    `request_id` names the call in the gateway's log; empty if no gateway answered.
    """

    code: str
    message: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[FieldViolation, ...] = ()
    preconditions: tuple[PreconditionViolation, ...] = ()
    resource: str = ""
    retry_after: float | None = None
    request_id: str = ""

    def __str__(self) -> str:
        head = f"{self.code} ({self.reason})" if self.reason else self.code
        violations = [(one.field, one.description) for one in self.fields]
        violations += [(one.type, one.description) for one in self.preconditions]
        # A message that only joins the violations would repeat the list below it.
        repeated = bool(violations) and all(description in self.message for _, description in violations)
        lines = [f"{head}:" if repeated else f"{head}: {self.message}"]
        lines += [f"  - {name}: {description}" for name, description in violations]
        if self.resource and self.resource not in self.message:
            lines.append(f"  resource: {self.resource}")
        shown = {key: value for key, value in self.metadata.items() if value not in self.message}
        lines += [f"  {key}: {value}" for key, value in sorted(shown.items())]
        if self.retry_after is not None:
            lines.append(f"  try again in {self.retry_after:g} s")
        if not self.reason and self.code in _HINTS:
            lines.append(f"  {_HINTS[self.code]}")
        return "\n".join(lines)


def explain(error: grpc.RpcError) -> Explanation:
    """Return the code, message, reason, violations and metadata of `error`, from grpc or grpc.aio."""
    if not isinstance(error, grpc.Call | aio.AioRpcError):
        return Explanation(code="UNKNOWN", message=str(error) or type(error).__name__)
    code, message = error.code().name, error.details() or "no message"
    # Empty if no gateway answered.
    request_id = str(_trailer(error, "x-request-id") or "")
    status = _details(error)
    if status is None:
        return Explanation(code=code, message=message, request_id=request_id)
    info = _first(status, error_details_pb2.ErrorInfo())
    bad = _first(status, error_details_pb2.BadRequest())
    precondition = _first(status, error_details_pb2.PreconditionFailure())
    resource = _first(status, error_details_pb2.ResourceInfo())
    retry = _first(status, error_details_pb2.RetryInfo())
    return Explanation(
        code=code,
        message=message,
        reason=info.reason if info else "",
        metadata=dict(info.metadata) if info else {},
        fields=tuple(
            FieldViolation(one.field, one.description) for one in (bad.field_violations if bad else ())
        ),
        preconditions=tuple(
            PreconditionViolation(one.type, one.subject, one.description)
            for one in (precondition.violations if precondition else ())
        ),
        resource=f"{resource.resource_type} {resource.resource_name}".strip()
        if resource and resource.resource_name
        else "",
        retry_after=retry.retry_delay.ToTimedelta().total_seconds() if retry else None,
        request_id=request_id,
    )


def _trailer(call: grpc.Call | aio.AioRpcError, key: str) -> str | bytes | None:
    """Return the first value of `key` in the trailing metadata, None if there is none."""
    # Not dict(): in grpcio 1.66, the metadata of grpc.aio look like a mapping, but are none.
    return next((value for name, value in call.trailing_metadata() or () if name == key), None)


def _details(error: grpc.Call | aio.AioRpcError) -> status_pb2.Status | None:
    """Return the google.rpc.Status that came with `error`, None unless it has the same code and message.

    The details describe another error if a proxy rewrote the status and kept them.
    """
    sent = _trailer(error, "grpc-status-details-bin")
    try:
        status = status_pb2.Status.FromString(sent) if isinstance(sent, bytes) else None
    except DecodeError:
        return None
    same = status and (status.code, status.message) == (error.code().value[0], error.details())
    return status if same else None


def _first(status: status_pb2.Status, detail: Detail) -> Detail | None:
    """Unpack the first detail of the same type into `detail` and return it, or None if there is none."""
    return next((detail for packed in status.details if packed.Unpack(detail)), None)
