"""Objects by reference in a detection job: read where they are, each answered by itself."""

import uuid

import pytest

from earmark.internal.v1 import trainer_service_pb2 as pb
from tests.sounds import bursts, encoded
from tests.trainer.process import SECONDS, detection_job
from tests.trainer.service.serving import serving, settings

GOOD = encoded(bursts(4, 7)[0], "FLAC")


def reference(uri: str) -> pb.DetectFilesRequest:
    return pb.DetectFilesRequest(file={"file_id": str(uuid.uuid4()), "uri": uri})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "calls").mkdir()
    (tmp_path / "calls" / "good.flac").write_bytes(GOOD)
    (tmp_path / "calls" / "noise").write_bytes(b"not audio")
    (tmp_path / "secret.flac").write_bytes(GOOD)
    (tmp_path / "calls" / "link.flac").symlink_to("../secret.flac")
    return tmp_path / "calls"


async def answers(trainer, model, folder, uris):
    """The last answer to each of the objects, in their order."""
    requests = [pb.DetectFilesRequest(job=detection_job(model)), *map(reference, uris)]
    places = f"file://{folder}, file://{folder}-away"
    async with serving(settings(trainer, detection_sources=places)) as stub:
        async for response in stub.WatchCapacity(pb.WatchCapacityRequest(), timeout=SECONDS):
            if response.capacity.free_detection_slots:
                break
        said = {}
        async for response in stub.DetectFiles(iter(requests), timeout=SECONDS):
            answer = getattr(response, response.WhichOneof("content"))
            if hasattr(answer, "file_id"):
                said[answer.file_id] = answer
    return [said[request.file.file_id] for request in requests[1:]]


async def test_each_object_is_searched_fails_or_waits_by_itself(trainer, model, folder):
    place = f"file://{folder}"
    good, noise, gone, link, away, refused = await answers(
        trainer,
        model,
        folder,
        [
            *(f"{place}/{name}" for name in ("good.flac", "noise", "gone.flac", "link.flac")),
            *(f"{place}-away/good.flac", "file:///etc/passwd"),
        ],
    )
    assert good.duration_ms == 4000
    assert (noise.reason, "not audio" in noise.message) == ("INVALID_AUDIO", True)
    assert {gone.reason, link.reason} == {"SOURCE_OBJECT_UNUSABLE"}
    assert "does not exist" in gone.message
    assert "is a link" in link.message
    assert isinstance(away, pb.DetectFilesResponse.Waiting)
    assert away.message == f"{place}-away/ is away: the job waits for it"
    # The gateway allows more than this trainer does: another trainer may read it.
    assert isinstance(refused, pb.DetectFilesResponse.Waiting)
