"""Files in parts: the requests that send a recording, and what is made of the parts of a reply.

None of this makes a call, so the sync and the asyncio client share it.
"""

import hashlib
import io
import mimetypes
import threading
import uuid
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from earmark.client.errors import EarmarkError
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import detection_pb2
from earmark.v1.detection_service_pb2 import DetectRequest, DetectResponse, UploadRecordingRequest
from earmark.v1.model_service_pb2 import ExportModelRequest, ExportModelResponse

Message = TypeVar("Message")
_PART_BYTES = 1024 * 1024


class IncompleteReplyError(EarmarkError):
    """A stream ended without an error, but before all of its data arrived."""


class Sending(Iterator[Message], Generic[Message]):
    """The requests of a call, made while they are sent, as a context manager around the call.

    If making them fails, the block raises that OSError. gRPC itself does not pass it on: the call ends as
    UNKNOWN, in asyncio as cancelled.
    """

    def __init__(self, requests: Generator[Message, None, None]) -> None:
        self._requests = requests
        self._failure: OSError | None = None
        # A thread may still make the next request when the call has ended.
        self._lock = threading.Lock()

    def __next__(self) -> Message:
        with self._lock:
            try:
                return next(self._requests)
            except OSError as error:
                self._failure = error
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._requests.close()
        if self._failure is not None:
            raise self._failure from None


def upload_metadata(
    dataset_id: str, path: Path, request_id: str | None, group: str
) -> audio.UploadAudioRequest.Metadata:
    """Return the metadata of an upload of the file at `path`, which is read for its SHA-256."""
    with path.open("rb") as file:
        return audio.UploadAudioRequest.Metadata(
            dataset_id=dataset_id,
            filename=path.name,
            content_type=mimetypes.guess_type(path.name)[0] or "",
            size_bytes=path.stat().st_size,
            sha256=hashlib.file_digest(file, "sha256").hexdigest(),
            request_id=request_id or str(uuid.uuid4()),
            group=group,
        )


def recording_metadata(path: Path, request_id: str | None) -> UploadRecordingRequest.Metadata:
    """Return the metadata of a recording for detection jobs; the file at `path` is read for its SHA-256."""
    with path.open("rb") as file:
        return UploadRecordingRequest.Metadata(
            filename=path.name,
            size_bytes=path.stat().st_size,
            sha256=hashlib.file_digest(file, "sha256").hexdigest(),
            request_id=request_id or str(uuid.uuid4()),
        )


def recording_requests(
    metadata: UploadRecordingRequest.Metadata, path: Path
) -> Generator[UploadRecordingRequest, None, None]:
    """Yield the metadata and the parts of the recording at `path`."""
    yield UploadRecordingRequest(metadata=metadata)
    for offset, data in _parts(path):
        yield UploadRecordingRequest(part=UploadRecordingRequest.Part(offset=offset, data=data))


def upload_requests(
    metadata: audio.UploadAudioRequest.Metadata, path: Path
) -> Generator[audio.UploadAudioRequest, None, None]:
    """Yield the metadata and the parts of the file at `path`."""
    yield audio.UploadAudioRequest(metadata=metadata)
    for offset, data in _parts(path):
        yield audio.UploadAudioRequest(part=audio.UploadAudioRequest.Part(offset=offset, data=data))


def _parts(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the file's bytes in parts, each with the number of bytes before it."""
    offset = 0
    with path.open("rb") as file:
        while data := file.read(_PART_BYTES):
            yield offset, data
            offset += len(data)


class PartialFile:
    """A file that is written under another name, and gets its own only if all of its bytes have arrived."""

    def __init__(self, path: Path, content: str) -> None:
        """`content`: what the file has, in words."""
        self._path = path
        self._partial = path.with_name(path.name + ".part")
        self._content = content
        self._size_bytes, self._sha256 = 0, ""
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        self._file = self._partial.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def expect(self, size_bytes: int, sha256: str) -> None:
        """Set the size and the digest, in hex, that the whole file must have."""
        self._size_bytes, self._sha256 = size_bytes, sha256

    def write(self, data: bytes) -> None:
        """Append the bytes of a part."""
        self._file.write(data)
        self._digest.update(data)

    def complete(self) -> Path:
        """Give the file its name and return its path. Raises IncompleteReplyError if bytes are missing."""
        if self._digest.hexdigest() != self._sha256:
            raise IncompleteReplyError(
                f"{self._content} does not match its {self._size_bytes} bytes; try again"
            )
        self._file.close()
        return self._partial.replace(self._path)

    def add(self, response: ExportModelResponse) -> None:
        """Add a response of an export: what the file is, or its next bytes."""
        if response.HasField("file"):
            self.expect(response.file.size_bytes, response.file.sha256)
        else:
            self.write(response.data)


def partial_download(path: str | Path, file: audio.AudioFile) -> PartialFile:
    """Return the file that the download of an audio file writes."""
    partial = PartialFile(Path(path), f"the download of audio file {file.id}")
    partial.expect(file.size_bytes, file.sha256)
    return partial


def partial_export(path: str | Path, request: ExportModelRequest) -> PartialFile:
    """Return the file that an export writes, whose responses say its size and digest."""
    return PartialFile(Path(path), f"the export of model {request.model_id}")


def detect_requests(
    model_id: str, recording: str | Path | bytes, config: detection_pb2.DetectionConfig | None
) -> Generator[DetectRequest, None, None]:
    """Return the requests that send a recording. Raises OSError if there is no such file."""
    if not isinstance(recording, bytes):
        with Path(recording).open("rb"):
            pass
    start = DetectRequest.Start(model_id=model_id, config=config)
    return _detect_requests(start, recording)


def _detect_requests(
    start: DetectRequest.Start, recording: str | Path | bytes
) -> Generator[DetectRequest, None, None]:
    yield DetectRequest(start=start)
    with io.BytesIO(recording) if isinstance(recording, bytes) else Path(recording).open("rb") as file:
        while data := file.read(_PART_BYTES):
            yield DetectRequest(data=data)


class Detections(list[detection_pb2.Detection]):
    """The detections in a recording, ordered by onset. `model_id`: the model that answered."""

    def __init__(self, found: Iterable[detection_pb2.Detection], model_id: str) -> None:
        super().__init__(found)
        self.model_id = model_id


class DetectReply:
    """Collects the detections of a reply and checks them against its summary."""

    def __init__(self) -> None:
        self._received: list[detection_pb2.Detection] = []
        self._summary: DetectResponse.Summary | None = None

    def add(self, response: DetectResponse) -> None:
        """Add a response."""
        if response.HasField("summary"):
            self._summary = response.summary
        elif response.HasField("detection"):
            self._received.append(response.detection)

    def complete(self) -> Detections:
        """Return all detections. Raises IncompleteReplyError if some may be missing."""
        if self._summary is None:
            raise IncompleteReplyError("the detections ended without their summary: some may be missing")
        if self._summary.detection_count != len(self._received):
            raise IncompleteReplyError(
                f"{len(self._received)} of {self._summary.detection_count} detections arrived"
            )
        return Detections(self._received, self._summary.model_id)
