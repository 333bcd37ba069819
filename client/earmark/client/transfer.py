"""Transfers: upload and download of audio, export of a model, and detection in one recording."""

import time
from collections.abc import Generator
from pathlib import Path

import grpc

from earmark.client.backoff import Backoff, Retries, was_cut_off
from earmark.client.channel import Client
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


def upload(
    client: Client,
    dataset_id: str,
    path: str | Path,
    *,
    group: str = "",
    request_id: str | None = None,
    backoff: Backoff | None = None,
) -> audio.AudioFile:
    """Upload the file at `path` to a dataset and return the audio file, which is still pending.

    Files of one `group`, such as those of one speaker, lie on the same side of the split for validation. The
    gateway checks the SHA-256 that is sent with the file. An upload that breaks off is repeated with the same
    `request_id` (drawn if not given), so it cannot make two files. Raises OSError if the file cannot be read,
    otherwise grpc.RpcError.
    """
    metadata = upload_metadata(dataset_id, Path(path), request_id, group)
    retries = Retries(backoff, was_cut_off)
    while True:
        try:
            with Sending(upload_requests(metadata, Path(path))) as requests:
                return client.audio.UploadAudio(requests).audio_file
        except grpc.RpcError as error:
            delay = retries.delay(error)
        time.sleep(delay)


def download(client: Client, audio_file_id: str, path: str | Path) -> Path:
    """Write an audio file's bytes, as they were uploaded, to `path` and return the path.

    Raises IncompleteReplyError, and writes nothing to `path`, unless all bytes arrive. Raises OSError and
    grpc.RpcError.
    """
    request = audio.GetAudioFileRequest(audio_file_id=audio_file_id)
    expected = client.audio.GetAudioFile(request).audio_file
    with partial_download(path, expected) as file:
        for part in client.audio.DownloadAudio(audio.DownloadAudioRequest(audio_file_id=audio_file_id)):
            file.write(part.data)
        return file.complete()


def export(
    client: Client,
    model_id: str,
    path: str | Path,
    *,
    model_format: models.ModelFormat = models.MODEL_FORMAT_NATIVE,
    sample_rate_hz: int = 0,
) -> Path:
    """Write a file with which a model can be run elsewhere to `path` and return the path; see docs/export.md.

    `sample_rate_hz` is that of the PCM which the ONNX form takes; 0 means 16,000. Raises
    IncompleteReplyError, and writes nothing to `path`, unless all bytes arrive. Raises OSError and
    grpc.RpcError.
    """
    request = models.ExportModelRequest(model_id=model_id, format=model_format, sample_rate_hz=sample_rate_hz)
    with partial_export(path, request) as file:
        for response in client.models.ExportModel(request):
            file.add(response)
        return file.complete()


def upload_recording(
    client: Client, path: str | Path, *, request_id: str | None = None, backoff: Backoff | None = None
) -> detection.Recording:
    """Upload the file at `path` for detection jobs and return the recording. See `upload`."""
    metadata = recording_metadata(Path(path), request_id)
    retries = Retries(backoff, was_cut_off)
    while True:
        try:
            with Sending(recording_requests(metadata, Path(path))) as requests:
                return client.detection.UploadRecording(requests).recording
        except grpc.RpcError as error:
            delay = retries.delay(error)
        time.sleep(delay)


def list_detections(
    client: Client, job_id: str, config: detection_pb2.DetectionConfig | None = None
) -> Generator[detection.JobDetection, None, None]:
    """Yield the detections of a detection job by file and onset; with `config`, those of other settings.

    Raises grpc.RpcError.
    """
    request = detection.ListDetectionsRequest(detection_job_id=job_id, config=config, page_size=1000)
    while True:
        page = client.detection.ListDetections(request)
        yield from page.detections
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def detect(
    client: Client,
    model_id: str,
    recording: str | Path | bytes,
    config: detection_pb2.DetectionConfig | None = None,
) -> Detections:
    """Return an active model's detections in a recording, given as path or bytes, ordered by onset.

    `model_id` may be an alias; the result's `model_id` is the model that answered. The list is empty if the
    model finds nothing. Raises IncompleteReplyError if detections may be missing,
    OSError if the file cannot be read, otherwise grpc.RpcError.
    """
    reply = DetectReply()
    with Sending(detect_requests(model_id, recording, config)) as requests:
        for response in client.detection.Detect(requests):
            reply.add(response)
    return reply.complete()
