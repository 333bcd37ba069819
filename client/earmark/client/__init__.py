"""Earmark's Python client.

    from earmark.client import connect, watch

    with connect("localhost:50051") as client:
        for event in watch(client, job_id):
            print(event)

`Client` uses the messages and stubs that are generated from the protos of `earmark.v1`.
"""

from earmark.client.backoff import Backoff
from earmark.client.channel import DEFAULT_ADDRESS, Client, connect
from earmark.client.errors import EarmarkError, Explanation, FieldViolation, PreconditionViolation, explain
from earmark.client.transfer import IncompleteReplyError, detect, download, upload
from earmark.client.watch import (
    TERMINAL_STATUSES,
    FileEvent,
    JobEvent,
    wait_until_ready,
    watch,
    watch_audio_files,
    watch_jobs,
)

__all__ = [
    "DEFAULT_ADDRESS",
    "TERMINAL_STATUSES",
    "Backoff",
    "Client",
    "EarmarkError",
    "Explanation",
    "FieldViolation",
    "FileEvent",
    "IncompleteReplyError",
    "JobEvent",
    "PreconditionViolation",
    "connect",
    "detect",
    "download",
    "explain",
    "upload",
    "wait_until_ready",
    "watch",
    "watch_audio_files",
    "watch_jobs",
]
