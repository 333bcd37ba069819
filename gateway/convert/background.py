"""Converts the states of background tasks to messages."""

from earmark.background import TaskState
from earmark.gateway.convert.values import timestamp
from earmark.v1 import admin_service_pb2 as pb


def task_message(state: TaskState) -> pb.BackgroundTask:
    """The task as AdminService shows it."""
    return pb.BackgroundTask(
        name=state.name,
        restarts=state.restarts,
        last_error=state.last_error,
        failed_at=timestamp(state.failed_at),
        keeps_failing=state.keeps_failing,
    )
