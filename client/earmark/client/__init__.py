"""Earmark's Python client.

    from earmark.client import connect, watch

    with connect("localhost:50051") as client:
        for event in watch(client, job_id):
            print(event)

`Client` uses the messages and stubs that are generated from the protos of `earmark.v1`. `earmark.client.aio`
is the same client for asyncio.
"""

from earmark.client.backoff import Backoff
from earmark.client.calls import DEFAULT_ADDRESS, DEFAULT_TIMEOUT, channel_options
from earmark.client.channel import Client, connect
from earmark.client.connection import ConnectionSettingsError
from earmark.client.errors import EarmarkError, Explanation, FieldViolation, PreconditionViolation, explain
from earmark.client.live import detect_live
from earmark.client.parts import Detections, IncompleteReplyError
from earmark.client.positions import TERMINAL_STATUSES, FileEvent, JobEvent
from earmark.client.transfer import detect, download, export, list_detections, upload, upload_recording
from earmark.client.watch import wait_until_ready, watch, watch_audio_files, watch_detection_job, watch_jobs

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
    "list_detections",
    "upload",
    "upload_recording",
    "wait_until_ready",
    "watch",
    "watch_audio_files",
    "watch_detection_job",
    "watch_jobs",
]
