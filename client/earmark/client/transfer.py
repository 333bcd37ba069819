"""Transfers of audio: upload, download, and detection in one recording."""

import hashlib
import io
import mimetypes
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc

from earmark.client.backoff import Backoff
from earmark.client.channel import Client
from earmark.client.errors import EarmarkError
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import detection_pb2, detection_service_pb2

PART_BYTES = 1024 * 1024


class IncompleteReplyError(EarmarkError):
    """A stream ended without an error, but before all of its data arrived."""


def upload(
    client: Client,
    dataset_id: str,
    path: str | Path,
    *,
    request_id: str | None = None,
    backoff: Backoff | None = None,
) -> audio.AudioFile:
    """Upload the file at `path` to a dataset and return the audio file, which is still pending.

    The gateway checks the SHA-256 that is sent with it. An upload that breaks off is repeated with the same
    `request_id` (drawn if not given), so it cannot make two files. Raises OSError if the file cannot be read,
    otherwise grpc.RpcError.
    """
    path = Path(path)
    with path.open("rb") as file:
        metadata = audio.UploadAudioRequest.Metadata(
            dataset_id=dataset_id,
            filename=path.name,
            content_type=mimetypes.guess_type(path.name)[0] or "",
            size_bytes=path.stat().st_size,
            sha256=hashlib.file_digest(file, "sha256").hexdigest(),
            request_id=request_id or str(uuid.uuid4()),
        )
    pauses = (backoff or Backoff()).pauses(contacted=False)
    while True:
        try:
            reply: audio.UploadAudioResponse = client.audio.UploadAudio(_upload_requests(metadata, path))
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE or not next(pauses, False):
                raise
        else:
            return reply.audio_file


def _upload_requests(
    metadata: audio.UploadAudioRequest.Metadata, path: Path
) -> Iterator[audio.UploadAudioRequest]:
    yield audio.UploadAudioRequest(metadata=metadata)
    offset = 0
    with path.open("rb") as file:
        while data := file.read(PART_BYTES):
            yield audio.UploadAudioRequest(part=audio.UploadAudioRequest.Part(offset=offset, data=data))
            offset += len(data)


def download(client: Client, audio_file_id: str, path: str | Path) -> Path:
    """Write an audio file's bytes, as they were uploaded, to `path` and return the path.

    Raises IncompleteReplyError, and writes nothing to `path`, unless all bytes arrive. Raises OSError and
    grpc.RpcError.
    """
    path = Path(path)
    request = audio.GetAudioFileRequest(audio_file_id=audio_file_id)
    expected = client.audio.GetAudioFile(request).audio_file
    partial = path.with_name(path.name + ".part")
    digest = hashlib.sha256()
    try:
        with partial.open("wb") as file:
            parts = client.audio.DownloadAudio(audio.DownloadAudioRequest(audio_file_id=audio_file_id))
            for part in parts:
                file.write(part.data)
                digest.update(part.data)
        if digest.hexdigest() != expected.sha256:
            raise IncompleteReplyError(
                f"the download of audio file {audio_file_id} does not match its {expected.size_bytes} bytes; "
                "try again"
            )
        return partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def detect(
    client: Client,
    model_id: str,
    recording: str | Path | bytes,
    config: detection_pb2.DetectionConfig | None = None,
) -> list[detection_pb2.Detection]:
    """Return an active model's detections in a recording, given as path or bytes, ordered by onset.

    The list is empty if the model finds nothing. Raises IncompleteReplyError if detections may be missing,
    OSError if the file cannot be read, otherwise grpc.RpcError.
    """
    if not isinstance(recording, bytes):
        recording = Path(recording)
        with recording.open("rb"):
            pass  # raises OSError now; within the call, it would become an RpcError
    start = detection_service_pb2.DetectRequest.Start(model_id=model_id, config=config)
    detections: list[detection_pb2.Detection] = []
    summary = None
    for response in client.detection.Detect(_detect_requests(start, recording)):
        if response.HasField("summary"):
            summary = response.summary
        elif response.HasField("detection"):
            detections.append(response.detection)
    if summary is None:
        raise IncompleteReplyError("the detections ended without their summary: some may be missing")
    if summary.detection_count != len(detections):
        raise IncompleteReplyError(f"{len(detections)} of {summary.detection_count} detections arrived")
    return detections


def _detect_requests(
    start: detection_service_pb2.DetectRequest.Start, recording: Path | bytes
) -> Iterator[detection_service_pb2.DetectRequest]:
    yield detection_service_pb2.DetectRequest(start=start)
    with io.BytesIO(recording) if isinstance(recording, bytes) else recording.open("rb") as file:
        while data := file.read(PART_BYTES):
            yield detection_service_pb2.DetectRequest(data=data)
