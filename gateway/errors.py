"""The errors a caller sees: each type owns its status code, its reason and its details.

Raised anywhere below a servicer, mapped in one place, the interceptor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc
from earmark.v1 import error_reason_pb2
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "earmark"
_PREFIX = "ERROR_REASON_"
# Violations in the message itself; the details have every one.
SHOWN = 10


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """`field` is the path in the request, such as "config.epochs" or "annotations[3].end_ms"."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Violation:
    """A precondition that does not hold: its kind, the resource concerned, what was found and what to do."""

    type: str
    subject: str
    description: str


class EarmarkError(Exception):
    """An error of the caller's, or of the world's; never a bug."""

    code: grpc.StatusCode
    reason: str

    def __init__(self, message: str, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata or {})

    def details(self) -> list[Message]:
        """What comes beside the ErrorInfo."""
        return []

    def status(self) -> status_pb2.Status:
        """As it goes to the caller."""
        info = error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=self.metadata)
        packed = [any_pb2.Any() for _ in range(1 + len(self.details()))]
        for target, detail in zip(packed, [info, *self.details()], strict=True):
            target.Pack(detail)
        return status_pb2.Status(code=self.code.value[0], message=self.message, details=packed)


class InvalidArgumentError(EarmarkError):
    """Fields of the request are wrong: every one of them."""

    code = grpc.StatusCode.INVALID_ARGUMENT

    def __init__(self, violations: Sequence[FieldViolation], reason: str = "INVALID_FIELD") -> None:
        super().__init__(_joined([f"{v.field}: {v.description}" for v in violations]))
        self.reason = reason
        self.violations = violations

    def details(self) -> list[Message]:
        fields = [
            error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
            for v in self.violations
        ]
        return [error_details_pb2.BadRequest(field_violations=fields)]


class NotFoundError(EarmarkError):
    """No such resource, or another tenant's."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "NOT_FOUND"

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"there is no {kind} {name}")
        self.kind = kind
        self.name = name

    def details(self) -> list[Message]:
        return [
            error_details_pb2.ResourceInfo(
                resource_type=self.kind, resource_name=self.name, description=self.message
            )
        ]


class AlreadyExistsError(EarmarkError):
    """The resource is there already."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "ALREADY_EXISTS"

    def __init__(self, kind: str, name: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.name = name

    def details(self) -> list[Message]:
        return [
            error_details_pb2.ResourceInfo(
                resource_type=self.kind, resource_name=self.name, description=self.message
            )
        ]


class RequestIdReusedError(EarmarkError):
    """The request_id was used before, with another body."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "REQUEST_ID_REUSED"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"request_id {request_id} was used before with another request: draw a new one for each request",
            {"request_id": request_id},
        )


class StaleEtagError(EarmarkError):
    """Somebody changed the resource since the caller read it."""

    code = grpc.StatusCode.ABORTED
    reason = "STALE_ETAG"

    def __init__(self, kind: str, name: str, given: str, current: str) -> None:
        super().__init__(
            f"{kind} {name} has changed: its etag is {current}, not {given}; read it and repeat the change",
            {"etag": current},
        )


class PreconditionError(EarmarkError):
    """Preconditions do not hold: every one of them."""

    code = grpc.StatusCode.FAILED_PRECONDITION

    def __init__(
        self, reason: str, violations: Sequence[Violation], metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(_joined([v.description for v in violations]), metadata)
        self.reason = reason
        self.violations = violations

    def details(self) -> list[Message]:
        failures = [
            error_details_pb2.PreconditionFailure.Violation(
                type=v.type, subject=v.subject, description=v.description
            )
            for v in self.violations
        ]
        return [error_details_pb2.PreconditionFailure(violations=failures)]


def wrong_state(kind: str, name: str, state: str, description: str) -> PreconditionError:
    """The resource's state does not allow the call."""
    violation = Violation("WRONG_STATE", f"{kind}/{name}", description)
    return PreconditionError("WRONG_STATE", [violation], {"state": state})


def in_use(kind: str, name: str, description: str) -> PreconditionError:
    """Something else still needs the resource."""
    return PreconditionError("IN_USE", [Violation("IN_USE", f"{kind}/{name}", description)])


class CursorOutOfRangeError(EarmarkError):
    """The cursor of a watch lies in the future, or before the oldest event kept."""

    code = grpc.StatusCode.OUT_OF_RANGE
    reason = "CURSOR_OUT_OF_RANGE"

    def __init__(self, cursor: int, oldest: int, latest: int) -> None:
        super().__init__(
            f"after_revision {cursor} is out of range: revisions {oldest} to {latest} are kept; "
            f"watch from {oldest - 1} for all of them",
            {"oldest_revision": str(oldest), "latest_revision": str(latest)},
        )


class UnavailableError(EarmarkError):
    """Something that the call needs is away for a moment."""

    code = grpc.StatusCode.UNAVAILABLE

    def __init__(self, reason: str, message: str, retry_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_seconds = retry_seconds

    def details(self) -> list[Message]:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(self.retry_seconds * 1000))
        return [error_details_pb2.RetryInfo(retry_delay=delay)]


class InternalError(EarmarkError):
    """A bug: the caller gets an id, the log has the trace under it."""

    code = grpc.StatusCode.INTERNAL
    reason = "INTERNAL"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"internal error; the server's log has the details under request {request_id}",
            {"request_id": request_id},
        )


def known_reasons() -> frozenset[str]:
    """The names that `reason` may have: those of ErrorReason without their prefix."""
    names = error_reason_pb2.ErrorReason.keys()
    return frozenset(name.removeprefix(_PREFIX) for name in names)


def _joined(descriptions: Sequence[str]) -> str:
    rest = len(descriptions) - SHOWN
    return "; ".join(descriptions[:SHOWN]) + (f"; and {rest} more" if rest > 0 else "")
