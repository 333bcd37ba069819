"""Earmark's Python client for asyncio: the helpers of `earmark.client`, with the same names and arguments.

    from earmark.client.aio import connect, watch

    async with connect("localhost:50051") as client:
        async for event in watch(client, job_id):
            print(event)

Cancelling a task cancels the call that it waits for, and closing a watch (`aclose`) cancels its stream.
"""

from earmark.client.aio.channel import Client, connect, interceptors
from earmark.client.aio.live import detect_live
from earmark.client.aio.transfer import detect, download, export, list_detections, upload, upload_recording
from earmark.client.aio.watch import (
    wait_until_ready,
    watch,
    watch_audio_files,
    watch_detection_job,
    watch_jobs,
)
from earmark.client.backoff import Backoff
from earmark.client.calls import DEFAULT_ADDRESS, DEFAULT_TIMEOUT, channel_options
from earmark.client.connection import ConnectionSettingsError
from earmark.client.errors import EarmarkError, Explanation, FieldViolation, PreconditionViolation, explain
from earmark.client.parts import Detections, IncompleteReplyError
from earmark.client.positions import TERMINAL_STATUSES, FileEvent, JobEvent

__all__ = [
    "DEFAULT_ADDRESS",
    "DEFAULT_TIMEOUT",
    "TERMINAL_STATUSES",
    "Backoff",
    "Client",
    "ConnectionSettingsError",
    "Detections",
    "EarmarkError",
    "Explanation",
    "FieldViolation",
    "FileEvent",
    "IncompleteReplyError",
    "JobEvent",
    "PreconditionViolation",
    "channel_options",
    "connect",
    "detect",
    "detect_live",
    "download",
    "explain",
    "export",
    "interceptors",
    "list_detections",
    "upload",
    "upload_recording",
    "wait_until_ready",
    "watch",
    "watch_audio_files",
    "watch_detection_job",
    "watch_jobs",
]
