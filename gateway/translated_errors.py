"""Makes the errors that callers see of all others, and logs what callers do not see."""

import structlog

from earmark.gateway.errors import (
    EarmarkError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    UnavailableError,
)
from earmark.storage.database import NUL_IN_TEXT, DatabaseUnavailableError
from earmark.storage.objects import ObjectStoreError

log = structlog.get_logger("gateway")


def translated(error: Exception, request_id: str) -> EarmarkError:
    """The error of a call. `request_id` is that of the call."""
    if isinstance(error, EarmarkError):
        log.info("refused", code=error.code.name, reason=error.reason, message=error.message)
        return error
    if isinstance(error, NUL_IN_TEXT):
        return InvalidArgumentError([FieldViolation("", "no text may contain the character NUL (U+0000)")])
    if isinstance(error, DatabaseUnavailableError):
        log.warning("database unavailable", error=str(error))
        return UnavailableError("DATABASE_UNAVAILABLE", "the database does not answer; try again shortly")
    if isinstance(error, ObjectStoreError):
        log.warning("object store failed", error=str(error))
        return UnavailableError(
            "OBJECT_STORE_UNAVAILABLE", "the object store does not do its work; try again shortly"
        )
    log.error("internal error", exc_info=error)
    return InternalError(request_id)
