"""Upload, download and detection: whole, or an error."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from earmark.client import Client, IncompleteReplyError, detect, download, upload
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import (
    audio_service_pb2_grpc,
    detection_pb2,
    detection_service_pb2_grpc,
)
from earmark.v1 import detection_service_pb2 as detection

from tests.client.small_gateway import QUICK, refuse

Serve = Callable[..., Client]
CONTENT = bytes(range(256)) * 10_000


class Store(audio_service_pb2_grpc.AudioServiceServicer):
    """Keeps what is uploaded; the first `failures` uploads break off."""

    def __init__(self, failures: int = 0, sent_back: bytes = CONTENT) -> None:
        self.failures = failures
        self.sent_back = sent_back
        self.uploads: list[list[audio.UploadAudioRequest]] = []

    def UploadAudio(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        self.uploads.append(list(requests))
        if len(self.uploads) <= self.failures:
            refuse(context, "UNAVAILABLE", "stopping", "STOPPING")
        return audio.UploadAudioResponse(audio_file=audio.AudioFile(id="new"))

    def GetAudioFile(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        sha256 = hashlib.sha256(CONTENT).hexdigest()
        return audio.GetAudioFileResponse(audio_file=audio.AudioFile(sha256=sha256, size_bytes=len(CONTENT)))

    def DownloadAudio(self, _request: Any, _context: grpc.ServicerContext) -> Iterator[Any]:
        for offset in range(0, len(self.sent_back), 100_000):
            yield audio.DownloadAudioResponse(offset=offset, data=self.sent_back[offset : offset + 100_000])


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "call.wav"
    path.write_bytes(CONTENT)
    return path


def test_an_upload_sends_facts_and_parts(serve: Serve, recording: Path) -> None:
    store = Store()

    assert upload(serve(store), "dataset", recording).id == "new"

    metadata, *parts = store.uploads[0]
    assert metadata.metadata.filename == "call.wav"
    assert metadata.metadata.content_type in {"audio/x-wav", "audio/wav", "audio/vnd.wave"}
    assert metadata.metadata.size_bytes == len(CONTENT)
    assert metadata.metadata.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert [part.part.offset for part in parts] == [0, 1024 * 1024, 2 * 1024 * 1024]
    assert b"".join(part.part.data for part in parts) == CONTENT


def test_an_upload_that_breaks_off_is_made_again(serve: Serve, recording: Path) -> None:
    store = Store(failures=2)

    upload(serve(store), "dataset", recording, backoff=QUICK)

    assert len(store.uploads) == 3
    assert len({requests[0].metadata.request_id for requests in store.uploads}) == 1


def test_a_missing_file_is_no_call(serve: Serve, tmp_path: Path) -> None:
    store = Store()
    with pytest.raises(FileNotFoundError):
        upload(serve(store), "dataset", tmp_path / "none.wav")
    assert store.uploads == []


def test_a_download_is_whole(serve: Serve, tmp_path: Path) -> None:
    path = download(serve(Store()), "file", tmp_path / "back.wav")

    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]


def test_a_download_that_is_not_whole_leaves_nothing(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(IncompleteReplyError, match="2560000 bytes"):
        download(serve(Store(sent_back=CONTENT[:-1])), "file", tmp_path / "back.wav")
    assert list(tmp_path.iterdir()) == []


class Finder(detection_service_pb2_grpc.DetectionServiceServicer):
    """Finds one dropout, and says in its summary that there are `count`."""

    def __init__(self, count: int | None = 1) -> None:
        self.count = count
        self.requests: list[detection.DetectRequest] = []

    def Detect(self, requests: Iterator[Any], _context: grpc.ServicerContext) -> Iterator[Any]:
        self.requests = list(requests)
        found = detection_pb2.Detection(artifact_type="dropout", start_ms=1200, end_ms=1350, confidence=0.9)
        yield detection.DetectResponse(detection=found)
        if self.count is not None:
            yield detection.DetectResponse(
                summary=detection.DetectResponse.Summary(detection_count=self.count)
            )


@pytest.mark.parametrize("as_bytes", [True, False])
def test_detections_come_back(serve: Serve, recording: Path, as_bytes: bool) -> None:  # noqa: FBT001
    finder = Finder()
    config = detection_pb2.DetectionConfig(threshold=0.7)

    found = detect(serve(finder), "model", CONTENT if as_bytes else recording, config)

    assert [(one.artifact_type, one.start_ms) for one in found] == [("dropout", 1200)]
    assert finder.requests[0].start.config.threshold == 0.7
    assert b"".join(request.data for request in finder.requests[1:]) == CONTENT


@pytest.mark.parametrize("count", [None, 2])
def test_detections_cut_short_are_an_error(serve: Serve, count: int | None) -> None:
    with pytest.raises(IncompleteReplyError):
        detect(serve(Finder(count)), "model", b"audio")
