"""What the caller is told about an error that ended the work of a call."""

import structlog

from earmark.disk import is_of_disk
from earmark.storage.objects import ObjectStoreError
from earmark.trainer.service.environment import Environment
from earmark.trainer.service.errors import CallError
from earmark.trainer.service.processes import ProcessLostError

# The reasons of failures that the trainer's environment checks.
WATCHED_REASONS = ("OBJECT_STORE_UNAVAILABLE", "DISK_FULL")

log = structlog.get_logger()


def failure_of(error: Exception, work: str, environment: Environment) -> CallError:
    """The failure of the `work`, which has this name. If the environment may be ill, it is checked."""
    failure = _failure_of(error, work)
    if failure.reason in WATCHED_REASONS:
        environment.suspect(str(failure))
    return failure


def _failure_of(error: Exception, work: str) -> CallError:
    match error:
        case CallError():
            return error
        case ProcessLostError():
            return CallError("TRAINER_LOST", f"a process of the trainer {error}")
        case ObjectStoreError():
            return CallError("OBJECT_STORE_UNAVAILABLE", str(error))
    if is_of_disk(error):
        return CallError("DISK_FULL", f"the trainer's disk fails: {error}")
    log.error("a call crashed", rpc=work, exc_info=error)
    return CallError("INTERNAL", "internal error of the trainer: its log has the traceback")
