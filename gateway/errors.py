"""The errors that callers see. Each type defines its status code, its reason and its details.

Any code below a servicer may raise them; the interceptor turns them into statuses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Literal, TypeVar

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "earmark"
# gRPC sends an error's message and details in the trailing metadata, which its C core limits to 8 KB.
MESSAGE_BYTES = 800
VIOLATIONS_BYTES = 2800
DESCRIPTION_BYTES = 1000
# Of the path of a field, the name of a resource, and a value of the metadata.
NAME_BYTES = 300
# Bytes of a serialized violation in addition to its texts.
_OVERHEAD_BYTES = 12

V = TypeVar("V", "FieldViolation", "Violation")
# The names of earmark.v1.ViolationType and of earmark.v1.ResourceType, as errors write them.
ViolationType = Literal[
    "ANNOTATION_SET_PUBLISHED",
    "AUDIO_READY",
    "AUDIO_DURATION",
    "ANNOTATIONS_PER_TYPE",
    "TYPES_DEFINED",
    "SAME_DATASET",
    "AUDIO_FAILED",
    "AUDIO_DECODED",
    "WITHIN_AUDIO",
    "CHANNEL_IN_AUDIO",
    "WRONG_STATE",
    "IN_USE",
    "MODEL_CURRENT",
]
ResourceType = Literal[
    "dataset",
    "audio_file",
    "annotation_set",
    "annotation",
    "training_job",
    "model",
    "model_alias",
    "detection_job",
    "recording",
    "tenant",
    "api_key",
]


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A wrong field; `field` is its path in the request: "config.epochs" or "annotations[3].end_ms"."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Violation:
    """A precondition that is not met: its type, the resource, and in words the problem and the remedy."""

    type: ViolationType
    subject: str
    description: str


class EarmarkError(Exception):
    """An error that is caused by the caller or the environment; InternalError alone stands for a bug."""

    code: grpc.StatusCode
    reason: str

    def __init__(self, message: str, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = _clipped(message, MESSAGE_BYTES)
        self.metadata = {key: _clipped(value, NAME_BYTES) for key, value in (metadata or {}).items()}

    def details(self) -> list[Message]:
        """The details in addition to the ErrorInfo."""
        return []

    def status(self) -> status_pb2.Status:
        """The google.rpc.Status that is sent to the caller."""
        info = error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=self.metadata)
        packed = [any_pb2.Any() for _ in range(1 + len(self.details()))]
        for target, detail in zip(packed, [info, *self.details()], strict=True):
            target.Pack(detail)
        return status_pb2.Status(code=self.code.value[0], message=self.message, details=packed)


class InvalidArgumentError(EarmarkError):
    """Fields of the request are invalid. Lists every one of them, as far as the error has room."""

    code = grpc.StatusCode.INVALID_ARGUMENT

    def __init__(self, violations: Sequence[FieldViolation], reason: str = "INVALID_FIELD") -> None:
        super().__init__(
            _joined(
                [": ".join(filter(None, (_clipped(v.field, NAME_BYTES), v.description))) for v in violations]
            )
        )
        self.reason = reason
        self.violations = violations

    def details(self) -> list[Message]:
        shown, rest = _fitting(self.violations)
        fields = [
            error_details_pb2.BadRequest.FieldViolation(
                field=_clipped(v.field, NAME_BYTES), description=_clipped(v.description, DESCRIPTION_BYTES)
            )
            for v in shown
        ]
        if rest:
            fields.append(error_details_pb2.BadRequest.FieldViolation(description=_more(rest)))
        return [error_details_pb2.BadRequest(field_violations=fields)]


class NotFoundError(EarmarkError):
    """The resource does not exist or belongs to another tenant."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "NOT_FOUND"

    def __init__(self, kind: ResourceType, name: str, hint: str = "") -> None:
        """`hint`: in words, what the caller may have meant."""
        super().__init__(f"there is no {_in_words(kind)} {name}" + (f": {hint}" if hint else ""))
        self.kind = kind
        self.name = name

    def details(self) -> list[Message]:
        return [
            error_details_pb2.ResourceInfo(
                resource_type=self.kind,
                resource_name=_clipped(self.name, NAME_BYTES),
                description=self.message,
            )
        ]


class AlreadyExistsError(EarmarkError):
    """The resource already exists."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "ALREADY_EXISTS"

    def __init__(self, kind: ResourceType, name: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.name = name

    def details(self) -> list[Message]:
        return [
            error_details_pb2.ResourceInfo(
                resource_type=self.kind,
                resource_name=_clipped(self.name, NAME_BYTES),
                description=self.message,
            )
        ]


class RequestIdReusedError(EarmarkError):
    """The idempotency key (request_id) was used before with another body."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "REQUEST_ID_REUSED"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"request_id {request_id} was used before with another request: draw a new one for each request",
            {"request_id": request_id},
        )


class StaleEtagError(EarmarkError):
    """The resource was changed after the caller read it."""

    code = grpc.StatusCode.ABORTED
    reason = "STALE_ETAG"

    def __init__(self, kind: ResourceType, name: str, sent: str, current: str) -> None:
        super().__init__(
            f"{_in_words(kind)} {name} has changed: its etag is {current}, not {sent}; "
            "read it and repeat the change",
            {"current_etag": current},
        )


class PreconditionError(EarmarkError):
    """Preconditions are not met. Lists every one of them, as far as the error has room."""

    code = grpc.StatusCode.FAILED_PRECONDITION

    def __init__(
        self, reason: str, violations: Sequence[Violation], metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(_joined([v.description for v in violations]), metadata)
        self.reason = reason
        self.violations = violations

    def details(self) -> list[Message]:
        shown, rest = _fitting(self.violations)
        failures = [
            error_details_pb2.PreconditionFailure.Violation(
                type=v.type,
                subject=_clipped(v.subject, NAME_BYTES),
                description=_clipped(v.description, DESCRIPTION_BYTES),
            )
            for v in shown
        ]
        if rest:
            failures.append(error_details_pb2.PreconditionFailure.Violation(description=_more(rest)))
        return [error_details_pb2.PreconditionFailure(violations=failures)]


def model_outdated(model_id: str, description: str) -> PreconditionError:
    """The error for a model that needs another front end or format than the trainers have."""
    return PreconditionError("MODEL_OUTDATED", [Violation("MODEL_CURRENT", f"model/{model_id}", description)])


def wrong_state(kind: ResourceType, name: str, state: str, description: str) -> PreconditionError:
    """The error for a call that the resource's state does not allow."""
    violation = Violation("WRONG_STATE", f"{kind}/{name}", description)
    return PreconditionError("WRONG_STATE", [violation], {"state": state})


def in_use(kind: ResourceType, name: str, description: str) -> PreconditionError:
    """The error for deleting or changing a resource that others still use."""
    return PreconditionError("IN_USE", [Violation("IN_USE", f"{kind}/{name}", description)])


class CursorOutOfRangeError(EarmarkError):
    """The cursor of a watch is in the future or before the oldest event that is kept."""

    code = grpc.StatusCode.OUT_OF_RANGE
    reason = "CURSOR_OUT_OF_RANGE"


def revision_out_of_range(cursor: int, oldest: int, latest: int) -> CursorOutOfRangeError:
    """The error for an `after_revision` that is not between the kept revisions `oldest` and `latest`."""
    return CursorOutOfRangeError(
        f"after_revision {cursor} is out of range: revisions {oldest} to {latest} are kept; "
        f"watch from {oldest - 1} for all of them, or read the resource as it is now",
        {"oldest_revision": str(oldest), "latest_revision": str(latest)},
    )


class UnavailableError(EarmarkError):
    """A service that the call needs is temporarily unavailable."""

    code = grpc.StatusCode.UNAVAILABLE

    def __init__(self, reason: str, message: str, retry_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_seconds = retry_seconds

    def details(self) -> list[Message]:
        return [_retry_info(self.retry_seconds)]


class QuotaError(EarmarkError):
    """A limit is reached; `subject` names it, such as "tenant/support/waiting_training_jobs"."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "QUOTA_EXCEEDED"

    def __init__(
        self,
        subject: str,
        limit: int,
        message: str,
        retry_seconds: float | None = None,
        *,
        used: int | None = None,
    ) -> None:
        """`retry_seconds`: None if waiting does not help. `used`: how much of the limit is in use."""
        super().__init__(message, {"limit": str(limit)} | ({} if used is None else {"used": str(used)}))
        self.subject = subject
        self.retry_seconds = retry_seconds

    def details(self) -> list[Message]:
        violation = error_details_pb2.QuotaFailure.Violation(
            subject=_clipped(self.subject, NAME_BYTES), description=self.message
        )
        failure = error_details_pb2.QuotaFailure(violations=[violation])
        return [failure] if self.retry_seconds is None else [failure, _retry_info(self.retry_seconds)]


class StreamIdleError(EarmarkError):
    """The caller has not sent the next message of a stream in time."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "STREAM_IDLE"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the stream sent nothing for {seconds:g} s: send it again without such a pause")


class UnauthenticatedError(EarmarkError):
    """The call has no API key although it needs one, or one that is not valid."""

    code = grpc.StatusCode.UNAUTHENTICATED

    def __init__(self, reason: Literal["API_KEY_MISSING", "API_KEY_INVALID"], message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ScopeMissingError(EarmarkError):
    """The API key of the call lacks a scope."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "SCOPE_MISSING"

    def __init__(self, name: str, key_id: str, scopes: Sequence[str], needed: Sequence[str]) -> None:
        """`needed`: the scopes of which one is needed."""
        has, needs = " and ".join(map(str.upper, scopes)), " or ".join(map(str.upper, needed))
        super().__init__(
            f"the API key {name!r} has the scope {has}, but this call needs {needs}: use another key, or have"
            " one made",
            {"scopes": ",".join(needed).upper(), "api_key_id": key_id},
        )


class StoredObjectDamagedError(EarmarkError):
    """A stored object is missing, or is not what was stored."""

    code = grpc.StatusCode.DATA_LOSS
    reason = "STORED_OBJECT_DAMAGED"


class InternalError(EarmarkError):
    """A bug. The caller receives the id under which the log has the stack trace."""

    code = grpc.StatusCode.INTERNAL
    reason = "INTERNAL"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"internal error; the server's log has the details under request {request_id}",
            {"request_id": request_id},
        )


def _in_words(kind: ResourceType) -> str:
    return kind.replace("_", " ")


def _retry_info(seconds: float) -> error_details_pb2.RetryInfo:
    delay = duration_pb2.Duration()
    delay.FromMilliseconds(round(seconds * 1000))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def _joined(descriptions: Sequence[str]) -> str:
    """The descriptions that the message has room for, then the number of the others."""
    shown: list[str] = []
    for description in descriptions:
        if shown and len("; ".join([*shown, description]).encode()) > MESSAGE_BYTES - 40:
            break
        shown.append(_clipped(description, MESSAGE_BYTES - 40))
    rest = len(descriptions) - len(shown)
    return "; ".join(shown) + (f"; {_more(rest)}" if rest else "")


def _fitting(violations: Sequence[V]) -> tuple[Sequence[V], int]:
    """The violations that the details have room for, at least one, and the number of the others."""
    room = VIOLATIONS_BYTES
    for count, violation in enumerate(violations):
        room -= _size(violation)
        if room < 0 < count:
            return violations[:count], len(violations) - count
    return violations, 0


def _size(violation: FieldViolation | Violation) -> int:
    texts = astuple(violation)
    return sum(min(len(text.encode()), DESCRIPTION_BYTES) for text in texts) + _OVERHEAD_BYTES


def _more(rest: int) -> str:
    return f"and {rest} more"


def _clipped(text: str, limit: int) -> str:
    """The text, shortened to at most `limit` bytes of UTF-8."""
    encoded = text.encode()
    return text if len(encoded) <= limit else encoded[: limit - 3].decode(errors="ignore") + "…"
