"""Earmark's Python client for asyncio: the helpers of `earmark.client`, with the same names and arguments.

    from earmark.client.aio import connect, watch

    async with connect("localhost:50051") as client:
        async for event in watch(client, job_id):
            print(event)

Cancelling a task cancels the call that it waits for. Errors, `explain` and `Backoff` are those of
`earmark.client`.
"""

from earmark.client.aio.channel import Client, connect, interceptors
from earmark.client.aio.transfer import detect, download, upload
from earmark.client.aio.watch import wait_until_ready, watch, watch_audio_files, watch_jobs

__all__ = [
    "Client",
    "connect",
    "detect",
    "download",
    "interceptors",
    "upload",
    "wait_until_ready",
    "watch",
    "watch_audio_files",
    "watch_jobs",
]
