"""Upload, download and detection: complete, or an error."""

import hashlib
from pathlib import Path

import pytest

from earmark.client import IncompleteReplyError
from earmark.v1 import detection_pb2
from earmark.v1.model_service_pb2 import MODEL_FORMAT_ONNX
from tests.client.both import Reach
from tests.client.small_gateway import CONTENT, QUICK, Exporter, Finder, Store, cut, unavailable


def test_an_upload_sends_metadata_and_parts(reach: Reach, recording: Path) -> None:
    store = Store()

    file = reach(store).result(lambda api, client: api.upload(client, "dataset", recording, group="Ana"))

    assert file.id == "new"

    metadata, *parts = store.uploads[0]
    assert metadata.metadata.filename == "call.wav"
    assert metadata.metadata.group == "Ana"
    assert metadata.metadata.content_type in {"audio/x-wav", "audio/wav", "audio/vnd.wave"}
    assert metadata.metadata.size_bytes == len(CONTENT)
    assert metadata.metadata.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert [part.part.offset for part in parts] == [0, 1024 * 1024, 2 * 1024 * 1024]
    assert b"".join(part.part.data for part in parts) == CONTENT


def test_an_upload_that_breaks_off_is_repeated_with_the_same_request_id(
    reach: Reach, recording: Path
) -> None:
    store = Store(unavailable, cut)

    reach(store).result(lambda api, client: api.upload(client, "dataset", recording, backoff=QUICK))

    assert len(store.uploads) == 3
    assert len({requests[0].metadata.request_id for requests in store.uploads}) == 1


def test_a_missing_file_makes_no_call(reach: Reach, tmp_path: Path) -> None:
    store = Store()
    with pytest.raises(FileNotFoundError):
        reach(store).result(lambda api, client: api.upload(client, "dataset", tmp_path / "none.wav"))
    assert store.uploads == []


def test_a_download_is_complete(reach: Reach, tmp_path: Path) -> None:
    path = tmp_path / "back.wav"

    assert reach(Store()).result(lambda api, client: api.download(client, "file", path)) == path

    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]


def test_an_incomplete_download_leaves_no_file(reach: Reach, tmp_path: Path) -> None:
    short = Store(sent_back=CONTENT[:-1])
    with pytest.raises(IncompleteReplyError, match="2560000 bytes"):
        reach(short).result(lambda api, client: api.download(client, "file", tmp_path / "back.wav"))
    assert list(tmp_path.iterdir()) == []


def test_an_export_is_complete(reach: Reach, tmp_path: Path) -> None:
    exporter, path = Exporter(), tmp_path / "model.onnx"

    written = reach(exporter).result(
        lambda api, client: api.export(
            client, "model", path, model_format=MODEL_FORMAT_ONNX, sample_rate_hz=22_050
        )
    )

    assert written == path
    assert path.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [path]
    [request] = exporter.requests
    assert (request.model_id, request.format, request.sample_rate_hz) == ("model", MODEL_FORMAT_ONNX, 22_050)


def test_an_incomplete_export_leaves_no_file(reach: Reach, tmp_path: Path) -> None:
    short = Exporter(CONTENT[:-1])
    with pytest.raises(IncompleteReplyError, match="the export of model 1 does not match its 2560000 bytes"):
        reach(short).result(lambda api, client: api.export(client, "1", tmp_path / "model.zip"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("as_bytes", [True, False])
def test_detect_sends_all_bytes_and_returns_detections(
    reach: Reach, recording: Path, *, as_bytes: bool
) -> None:
    finder = Finder()
    config = detection_pb2.DetectionConfig(threshold=0.7)

    detections = reach(finder).result(
        lambda api, client: api.detect(client, "model", CONTENT if as_bytes else recording, config)
    )

    assert [(one.artifact_type, one.start_ms) for one in detections] == [("dropout", 1200)]
    assert detections.model_id == "model"
    assert finder.requests[0].start.config.threshold == 0.7
    assert b"".join(request.data for request in finder.requests[1:]) == CONTENT


@pytest.mark.parametrize("count", [None, 2])
def test_incomplete_detections_are_an_error(reach: Reach, count: int | None) -> None:
    with pytest.raises(IncompleteReplyError):
        reach(Finder(count)).result(lambda api, client: api.detect(client, "model", b"audio"))


def test_a_file_that_cannot_be_read_to_its_end_is_an_error(reach: Reach) -> None:
    """The memory of this process can be opened as a file, but its first page cannot be read."""
    with pytest.raises(OSError, match="Input/output error"):
        reach(Finder()).result(lambda api, client: api.detect(client, "model", "/proc/self/mem"))
