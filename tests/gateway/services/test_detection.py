"""DetectionService, with a real trainer and with fake trainers that end the call as a test chooses."""

import asyncio
import io
import subprocess
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import asynccontextmanager
from uuid import UUID

import grpc
import numpy as np
import pytest
import pytest_asyncio
import soundfile
from grpc import aio
from uuid_utils.compat import uuid7

from earmark.gateway.server import running
from earmark.gateway.services import detection
from earmark.gateway.settings import GatewaySettings
from earmark.internal.v1 import trainer_service_pb2, trainer_service_pb2_grpc
from earmark.storage.database import Database
from earmark.storage.queries import models
from earmark.v1 import detection_service_pb2 as pb
from earmark.v1.detection_service_pb2_grpc import DetectionServiceStub
from tests.gateway.calls import Refusal, refusal_of
from tests.gateway.model_rows import one_model
from tests.gateway.scripted_trainer import serving
from tests.gateway.untrained import KEYS, store_untrained_model, untrained_model
from tests.trainer.process import running as trainer_process

RATE = 16_000


def wav(seconds: float = 1.0) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.sin(np.arange(int(seconds * RATE)) / 5), RATE, format="WAV")
    return file.getvalue()


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A trainer whose object store has a model for "glitch" and "echo" with the score 0.5 everywhere."""
    with trainer_process(
        tmp_path_factory.mktemp("trainer"), "--audio-processes", "1", "--precompile", "false"
    ) as trainer:
        store_untrained_model(trainer.objects)
        yield trainer


def start(model_id: str, **config) -> pb.DetectRequest:
    return pb.DetectRequest(start={"model_id": model_id, "config": config})


def data(content: bytes) -> pb.DetectRequest:
    return pb.DetectRequest(data=content)


async def detect(address: str, requests: Iterable[pb.DetectRequest]) -> list[pb.DetectResponse]:
    """Uses the synchronous client, because the asynchronous one can return a wrong status (grpc #36066)."""

    def call() -> list[pb.DetectResponse]:
        with grpc.insecure_channel(address) as channel:
            return list(DetectionServiceStub(channel).Detect(iter(requests)))

    return await asyncio.to_thread(call)


async def detect_when_a_trainer_is_available(
    address: str, *requests: pb.DetectRequest
) -> list[pb.DetectResponse]:
    while True:
        try:
            return await detect(address, requests)
        except grpc.RpcError as error:
            if "no trainer answers" not in error.details():
                raise


async def refused(call: Awaitable[object], code: str, reason: str) -> Refusal:
    """Like tests.gateway.calls.refused, for the synchronous client."""
    with pytest.raises(grpc.RpcError) as caught:
        await call
    refusal = refusal_of(caught.value)
    assert (refusal.code.name, refusal.info.reason) == (code, reason), refusal
    return refusal


@asynccontextmanager
async def gateway_with(trainer: str, database_url, data_dir):
    """Runs a gateway with this trainer inside the block and yields its address."""
    settings = GatewaySettings(
        host="127.0.0.1", port=0, database_url=database_url, data_dir=data_dir, trainers=trainer
    )
    async with running(settings) as port:
        yield f"127.0.0.1:{port}"


class Front(trainer_service_pb2_grpc.TrainerServiceServicer):
    """A fake trainer: reads a whole recording, then ends the call with `code`, or never if it `hangs`."""

    def __init__(self, code: grpc.StatusCode = grpc.StatusCode.OK, *, hangs: bool = False) -> None:
        self._code = code
        self.hangs = hangs
        self.start = trainer_service_pb2.DetectRequest.Start()
        self.received = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def WatchCapacity(self, _request, _context):
        yield trainer_service_pb2.WatchCapacityResponse(capacity=trainer_service_pb2.Capacity(device="cpu"))
        await asyncio.Event().wait()

    async def Detect(self, requests, context):
        try:
            async for request in requests:
                if request.HasField("start"):
                    self.start = request.start
                self.received.set()
            if self.hangs:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self._code is not grpc.StatusCode.OK:
            await context.abort(self._code, "what the trainer says")
        yield trainer_service_pb2.DetectResponse(summary={"duration_ms": 7})


@pytest_asyncio.fixture
async def without_trainer(database_url, tmp_path):
    """The address of a gateway that has no trainer."""
    async with gateway_with("", database_url, tmp_path) as address:
        yield address


async def test_a_real_trainer_detects(real, database_url) -> None:
    model_id, audio = await untrained_model(database_url, real.objects), wav(seconds=1.5)
    first = start(model_id, threshold=1, thresholds={"glitch": 0})
    async with gateway_with(real.address, database_url, real.data_dir) as address:
        *detections, last = await detect_when_a_trainer_is_available(
            address, first, data(audio[:1000]), data(audio[1000:])
        )
    [detection] = [response.detection for response in detections]
    assert (detection.artifact_type, detection.start_ms, detection.end_ms) == ("glitch", 0, 1500)
    assert list(detection.channels) == [0]
    assert (last.summary.duration_ms, last.summary.detection_count) == (1500, 1)


SETTINGS = {
    "threshold": 0.25,
    "thresholds": {"glitch": 0.75},
    "merge_window_ms": 0,
    "merge_windows_ms": {"glitch": 20, "echo": 0},
    "min_duration_ms": 0,
    "min_durations_ms": {"echo": 30},
}


async def test_the_trainer_is_sent_every_setting(database_url, tmp_path) -> None:
    first, front = start(await untrained_model(database_url), **SETTINGS), Front()
    async with serving(front) as trainer, gateway_with(trainer, database_url, tmp_path) as address:
        await detect_when_a_trainer_is_available(address, first, data(b"x"))
    assert {field.name for field, _ in front.start.config.ListFields()} == set(SETTINGS)
    assert front.start.config == first.start.config
    assert front.start.sha256 == "ab" * 32


async def test_a_real_trainer_drops_what_is_too_short_for_its_type(real, database_url) -> None:
    model_id = await untrained_model(database_url, real.objects)
    by_type = {"min_duration_ms": 1000, "min_durations_ms": {"glitch": 0}}
    async with gateway_with(real.address, database_url, real.data_dir) as address:
        [found, last] = await detect_when_a_trainer_is_available(
            address, start(model_id, **by_type), data(wav(seconds=0.5))
        )
    assert (found.detection.artifact_type, last.summary.detection_count) == ("glitch", 1)


async def test_a_recording_without_detections_is_not_an_error(real, database_url) -> None:
    model_id = await untrained_model(database_url, real.objects)
    async with gateway_with(real.address, database_url, real.data_dir) as address:
        [only] = await detect_when_a_trainer_is_available(address, start(model_id, threshold=1), data(wav()))
    assert (only.summary.duration_ms, only.summary.detection_count) == (1000, 0)


async def test_data_that_cannot_be_decoded_is_invalid_audio(real, database_url) -> None:
    model_id = await untrained_model(database_url, real.objects)
    async with gateway_with(real.address, database_url, real.data_dir) as address:
        call = detect_when_a_trainer_is_available(address, start(model_id), data(b"no audio at all"))
        refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_AUDIO")
    assert list(refusal.fields) == ["data"]


async def test_a_model_whose_objects_are_missing_is_data_loss(real, database_url) -> None:
    model_id = await untrained_model(database_url, weights="default/jobs/gone")
    async with gateway_with(real.address, database_url, real.data_dir) as address:
        call = detect_when_a_trainer_is_available(address, start(model_id), data(wav()))
        refusal = await refused(call, "DATA_LOSS", "STORED_OBJECT_DAMAGED")
    assert "gone" not in refusal.message


async def test_a_model_of_another_front_end_is_refused_with_what_to_do(real, database_url) -> None:
    config = real.objects.get(KEYS["model_config"]).replace(b'"frontend": "', b'"frontend": "made up ')
    real.objects.put("default/jobs/old/model.json", config)
    model_id = await untrained_model(database_url, real.objects, model_config="default/jobs/old/model.json")
    async with gateway_with(real.address, database_url, real.data_dir) as address:
        call = detect_when_a_trainer_is_available(address, start(model_id), data(wav()))
        refusal = await refused(call, "FAILED_PRECONDITION", "MODEL_OUTDATED")
    assert all(part in refusal.message for part in (model_id, "front end made up", "train it again, with"))


@pytest.mark.parametrize(
    ("damaged", "before", "after"),
    [("weights", b"\0\0\0\0", b"\0\0\0\x40"), ("model_config", b'"offset": 0.0', b'"offset": 9.0')],
)
async def test_a_damaged_model_is_data_loss_and_never_wrong_detections(
    real, database_url, damaged, before, after
) -> None:
    original = real.objects.get(KEYS[damaged])
    at = original.rindex(before)
    real.objects.put(f"default/jobs/damaged/{damaged}", original[:at] + after + original[at + len(before) :])
    model_id = await untrained_model(
        database_url, real.objects, **{damaged: f"default/jobs/damaged/{damaged}"}
    )
    async with gateway_with(real.address, database_url, real.data_dir) as address:
        call = detect_when_a_trainer_is_available(address, start(model_id, threshold=0), data(wav()))
        refusal = await refused(call, "DATA_LOSS", "STORED_OBJECT_DAMAGED")
    assert f"model {model_id} are missing or damaged: train it again" in refusal.message


async def test_a_trainer_killed_while_it_receives_is_unavailable(database_url, tmp_path) -> None:
    model_id = await untrained_model(database_url)

    def requests(trainer: subprocess.Popen[str]) -> Iterator[pb.DetectRequest]:
        yield start(model_id)
        yield data(wav()[:1000])
        trainer.kill()
        trainer.wait()
        yield data(wav()[1000:])

    with trainer_process(tmp_path, "--audio-processes", "1", "--precompile", "false") as trainer:
        async with gateway_with(trainer.address, database_url, tmp_path) as address:
            call = detect_when_a_trainer_is_available(address, start(model_id), data(b"x"))
            await refused(call, "INVALID_ARGUMENT", "INVALID_AUDIO")
            call = detect(address, requests(trainer.process))
            refusal = await refused(call, "UNAVAILABLE", "TRAINER_UNAVAILABLE")
    assert trainer.address not in refusal.message
    assert refusal.details["google.rpc.RetryInfo"].retry_delay.ToTimedelta().total_seconds() > 0


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_a_trainer_that_stops_is_unavailable(database_url, tmp_path, code) -> None:
    model_id = await untrained_model(database_url)
    async with serving(Front(code)) as trainer, gateway_with(trainer, database_url, tmp_path) as address:
        call = detect_when_a_trainer_is_available(address, start(model_id), data(b"x"))
        refusal = await refused(call, "UNAVAILABLE", "TRAINER_UNAVAILABLE")
    assert "what the trainer says" not in refusal.message


async def test_a_client_that_cancels_cancels_the_trainer(database_url, tmp_path) -> None:
    model_id, front = await untrained_model(database_url), Front()
    async with serving(front) as trainer, gateway_with(trainer, database_url, tmp_path) as address:
        await detect_when_a_trainer_is_available(address, start(model_id), data(b"x"))
        front.received.clear()
        front.hangs = True
        async with aio.insecure_channel(address) as channel:
            call = DetectionServiceStub(channel).Detect()
            await call.write(start(model_id))
            await front.received.wait()
            call.cancel()
            await front.cancelled.wait()


async def test_no_data_is_refused_and_cancels_the_trainer(database_url, tmp_path) -> None:
    model_id, front = await untrained_model(database_url), Front(hangs=True)
    async with serving(front) as trainer, gateway_with(trainer, database_url, tmp_path) as address:
        call = detect_when_a_trainer_is_available(address, start(model_id), data(b""))
        refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
        await front.cancelled.wait()
    assert refusal.fields == {"data": "the stream ended without any: send the recording's bytes after start"}


async def test_too_much_data_is_refused(database_url, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(detection, "MAX_BYTES", 1000)
    model_id = await untrained_model(database_url)
    async with serving(Front()) as trainer, gateway_with(trainer, database_url, tmp_path) as address:
        [only] = await detect_when_a_trainer_is_available(
            address, start(model_id), data(bytes(999)), data(b"x")
        )
        assert only.summary.duration_ms == 7
        call = detect(address, [start(model_id), data(bytes(1000)), data(b"x")])
        refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == {"data": "is larger than 1,000 bytes: split the recording"}


async def test_a_second_start_is_refused(database_url, tmp_path) -> None:
    model_id = await untrained_model(database_url)
    async with serving(Front()) as trainer, gateway_with(trainer, database_url, tmp_path) as address:
        call = detect_when_a_trainer_is_available(address, start(model_id), start(model_id))
        refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == {"start": "start was sent again: every message after the first must be data"}


async def test_a_call_that_does_not_begin_with_start_is_refused(without_trainer) -> None:
    refusal = await refused(detect(without_trainer, [data(b"x")]), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == {"start": "the first message must be start, not data"}
    refusal = await refused(detect(without_trainer, []), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert refusal.fields == {"start": "the stream has no message: the first must be start, then the data"}


async def test_types_that_the_model_lacks_are_all_named(without_trainer, database_url) -> None:
    first = start(
        await untrained_model(database_url),
        thresholds={"glitch": 0.1, "static": 0.1, "dropout": 0.1},
        merge_windows_ms={"glitch": 0, "static": 0},
        min_durations_ms={"dropout": 0, "echo": 0},
    )
    refusal = await refused(detect(without_trainer, [first]), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert set(refusal.fields) == {
        "start.config.thresholds['static']",
        "start.config.thresholds['dropout']",
        "start.config.merge_windows_ms['static']",
        "start.config.min_durations_ms['dropout']",
    }
    assert all("it has glitch, echo" in description for description in refusal.fields.values())


OUT_OF_RANGE = [
    *(("threshold", value) for value in (-0.01, 1.01, float("nan"))),
    *(("merge_window_ms", value) for value in (-1, 5001)),
    *(("min_duration_ms", value) for value in (-1, 1001)),
    *(("thresholds", {"glitch": value}) for value in (-0.01, 1.01)),
    *(("merge_windows_ms", {"glitch": value}) for value in (-1, 5001)),
    *(("min_durations_ms", {"glitch": value}) for value in (-1, 1001)),
]


@pytest.mark.parametrize(("field", "value"), OUT_OF_RANGE)
async def test_a_setting_out_of_range_is_refused_by_name(without_trainer, database_url, field, value) -> None:
    first = start(await untrained_model(database_url), **{field: value})
    refusal = await refused(detect(without_trainer, [first]), "INVALID_ARGUMENT", "INVALID_FIELD")
    (name,) = refusal.fields
    assert name.removesuffix("['glitch']") == f"start.config.{field}"


@pytest.mark.parametrize("field", ["thresholds", "merge_windows_ms", "min_durations_ms"])
async def test_more_than_200_types_are_refused(without_trainer, database_url, field) -> None:
    first = start(await untrained_model(database_url), **{field: {f"t{number}": 1 for number in range(201)}})
    refusal = await refused(detect(without_trainer, [first]), "INVALID_ARGUMENT", "INVALID_FIELD")
    assert set(refusal.fields) == {f"start.config.{field}"}


async def test_settings_at_their_limits_are_accepted(real, database_url) -> None:
    model_id = await untrained_model(database_url, real.objects)
    lowest = {"threshold": 0, "merge_window_ms": 0, "min_duration_ms": 0}
    lowest |= {"merge_windows_ms": {"glitch": 0}, "min_durations_ms": {"glitch": 0}}
    highest = {"threshold": 1, "merge_window_ms": 5000, "min_duration_ms": 1000}
    highest |= {"merge_windows_ms": {"glitch": 5000}, "min_durations_ms": {"glitch": 1000}}
    async with gateway_with(real.address, database_url, real.data_dir) as address:
        *detections, _ = await detect_when_a_trainer_is_available(
            address, start(model_id, **lowest), data(wav())
        )
        *none, _ = await detect(address, [start(model_id, **highest), data(wav())])
    assert (len(detections), none) == (2, [])


@pytest.mark.parametrize(("state", "remedy"), [("inactive", "UpdateModel"), ("archived", "UndeleteModel")])
async def test_only_an_active_model_that_is_not_archived_detects(
    without_trainer, database_url, state, remedy
) -> None:
    model_id = await one_model(database_url, active=state == "archived")
    if state == "archived":
        async with Database(database_url) as database, database.connection() as connection:
            await models.archive(connection, "default", UUID(model_id))
    refusal = await refused(detect(without_trainer, [start(model_id)]), "FAILED_PRECONDITION", "WRONG_STATE")
    assert refusal.info.metadata["state"] == state
    assert f"model {model_id}" in refusal.message
    assert remedy in refusal.message


@pytest.mark.parametrize("whose", ["nobody's", "another tenant's"])
async def test_a_model_of_another_tenant_or_of_nobody_is_not_found(
    without_trainer, database_url, whose
) -> None:
    model_id = str(uuid7()) if whose == "nobody's" else await one_model(database_url, tenant="other")
    refusal = await refused(detect(without_trainer, [start(model_id)]), "NOT_FOUND", "NOT_FOUND")
    assert refusal.resource == ("model", model_id)


async def test_without_a_trainer_the_error_asks_for_a_retry(without_trainer, database_url) -> None:
    call = detect(without_trainer, [start(await untrained_model(database_url))])
    refusal = await refused(call, "UNAVAILABLE", "TRAINER_UNAVAILABLE")
    assert "no trainer answers" in refusal.message
    assert "google.rpc.RetryInfo" in refusal.details
