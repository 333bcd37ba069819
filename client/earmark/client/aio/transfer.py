"""Transfers for asyncio. Files are read and written in threads, so the event loop goes on."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import grpc

from earmark.client.aio.channel import Client
from earmark.client.aio.streams import InThread, lost_its_status, responses_of
from earmark.client.backoff import Backoff, Retries, was_cut_off
from earmark.client.parts import (
    Detections,
    DetectReply,
    Sending,
    detect_requests,
    partial_download,
    partial_export,
    recording_metadata,
    recording_requests,
    upload_metadata,
    upload_requests,
)
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import detection_pb2
from earmark.v1 import detection_service_pb2 as detection
from earmark.v1 import model_service_pb2 as models


async def upload(
    client: Client,
    dataset_id: str,
    path: str | Path,
    *,
    group: str = "",
    request_id: str | None = None,
    backoff: Backoff | None = None,
) -> audio.AudioFile:
    """Upload the file at `path` and return the audio file, still pending; see `earmark.client.upload`."""
    metadata = await asyncio.to_thread(upload_metadata, dataset_id, Path(path), request_id, group)
    retries = Retries(backoff, was_cut_off)
    while True:
        try:
            with Sending(upload_requests(metadata, Path(path))) as requests:
                return (await client.audio.UploadAudio(InThread(requests))).audio_file
        except grpc.RpcError as error:
            delay = retries.delay(error)
        await asyncio.sleep(delay)


async def download(client: Client, audio_file_id: str, path: str | Path) -> Path:
    """Write an audio file's bytes to `path` and return the path, see `earmark.client.download`."""
    request = audio.GetAudioFileRequest(audio_file_id=audio_file_id)
    expected = (await client.audio.GetAudioFile(request)).audio_file
    parts_request = audio.DownloadAudioRequest(audio_file_id=audio_file_id)
    with partial_download(path, expected) as file:
        async with responses_of(client.audio.DownloadAudio(parts_request)) as parts:
            async for part in parts:
                await asyncio.to_thread(file.write, part.data)
        return file.complete()


async def export(
    client: Client,
    model_id: str,
    path: str | Path,
    *,
    model_format: models.ModelFormat = models.MODEL_FORMAT_NATIVE,
    sample_rate_hz: int = 0,
) -> Path:
    """Write a file with which a model can be run elsewhere to `path`, see `earmark.client.export`."""
    request = models.ExportModelRequest(model_id=model_id, format=model_format, sample_rate_hz=sample_rate_hz)
    with partial_export(path, request) as file:
        async with responses_of(client.models.ExportModel(request)) as responses:
            async for response in responses:
                await asyncio.to_thread(file.add, response)
        return file.complete()


async def upload_recording(
    client: Client, path: str | Path, *, request_id: str | None = None, backoff: Backoff | None = None
) -> detection.Recording:
    """Upload the file at `path` for a detection job; see `earmark.client.upload_recording`."""
    metadata = await asyncio.to_thread(recording_metadata, Path(path), request_id)
    retries = Retries(backoff, was_cut_off)
    while True:
        try:
            with Sending(recording_requests(metadata, Path(path))) as requests:
                return (await client.detection.UploadRecording(InThread(requests))).recording
        except grpc.RpcError as error:
            delay = retries.delay(error)
        await asyncio.sleep(delay)


async def list_detections(
    client: Client, job_id: str, config: detection_pb2.DetectionConfig | None = None
) -> AsyncGenerator[detection.JobDetection, None]:
    """Yield the detections of a detection job; see `earmark.client.list_detections`."""
    request = detection.ListDetectionsRequest(detection_job_id=job_id, config=config, page_size=1000)
    while True:
        page = await client.detection.ListDetections(request)
        for each in page.detections:
            yield each
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def detect(
    client: Client,
    model_id: str,
    recording: str | Path | bytes,
    config: detection_pb2.DetectionConfig | None = None,
) -> Detections:
    """Return an active model's detections in a recording, see `earmark.client.detect`."""
    retries = Retries(None, lost_its_status)
    while True:
        reply = DetectReply()
        try:
            with Sending(detect_requests(model_id, recording, config)) as requests:
                async with responses_of(client.detection.Detect(InThread(requests))) as responses:
                    async for response in responses:
                        reply.add(response)
            return reply.complete()
        except grpc.RpcError as error:
            delay = retries.delay(error)
        await asyncio.sleep(delay)
