"""DetectionService: with a real trainer, and with trainers that end the call as a test tells them to."""

import asyncio
import io
import subprocess
import sys
from collections.abc import Iterable
from contextlib import asynccontextmanager, contextmanager

import grpc
import numpy as np
import pytest
import pytest_asyncio
import soundfile
from earmark.trainer.v1 import trainer_service_pb2, trainer_service_pb2_grpc
from earmark.v1 import detection_service_pb2 as pb
from earmark.v1.detection_service_pb2_grpc import DetectionServiceStub
from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status
from uuid_utils.compat import uuid7

from gateway.services import detection
from storage import models
from storage.database import Database
from storage.objects import ObjectStore
from tests.gateway.build_model import gateway, one_model
from trainer.checkpoints import save_model
from trainer.detect import Model
from trainer.events import EvalMetrics, Figures
from trainer.frontend import FEATURES
from trainer.job import TrainingConfig
from trainer.model import Architecture, initial_parameters

RATE = 16_000
NONE = Figures(None, None, None, 0)


def wav(seconds: float = 1.0) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.sin(np.arange(int(seconds * RATE)) / 5), RATE, format="WAV")
    return file.getvalue()


@contextmanager
def trainer_process(data_dir):
    """A real trainer and its address."""
    command = [sys.executable, "-m", "trainer", "--trainer-port", "0", "--audio-processes", "1"]
    with (data_dir / "trainer.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--data-dir", data_dir],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        with process:
            yield process, process.stdout.readline().split()[-1]
            process.terminate()


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The folder and the address of a trainer, with an untrained model for "glitch" and "echo" in its store."""
    folder = tmp_path_factory.mktemp("trainer")
    with trainer_process(folder) as (_, address):
        untrained(ObjectStore.open(str(folder / "objects")))
        yield folder, address


def untrained(objects: ObjectStore) -> None:
    types = ("glitch", "echo")
    architecture = Architecture(outputs=4, width=8, inner_width=8, inner=(1,))
    mean, deviation = np.zeros(FEATURES, np.float32), np.ones(FEATURES, np.float32)
    model = Model(architecture, types, initial_parameters(architecture, 0), mean, deviation)
    config = TrainingConfig(types, 1, 0.2, 0.001, 8, 500, 250, 0)
    save_model(objects, "untrained", model, config, 1, EvalMetrics(NONE, NONE, None))


async def untrained_model(database_url, **columns) -> str:
    keys = {"weights": "untrained/model.safetensors", "model_config": "untrained/model.json"}
    return await one_model(database_url, types=("glitch", "echo"), active=True, **keys | columns)


def start(model_id: str, **config) -> pb.DetectRequest:
    return pb.DetectRequest(start={"model_id": model_id, "config": config})


def data(content: bytes) -> pb.DetectRequest:
    return pb.DetectRequest(data=content)


async def detect(channel, requests: Iterable[pb.DetectRequest]) -> list[pb.DetectResponse]:
    """By the synchronous client, which has every status right; the asynchronous one has not (grpc #36066)."""

    def call() -> list[pb.DetectResponse]:
        with grpc.insecure_channel(channel.address) as own:
            return list(DetectionServiceStub(own).Detect(iter(requests)))

    return await asyncio.to_thread(call)


async def once_a_trainer_is_here(channel, *requests: pb.DetectRequest) -> list[pb.DetectResponse]:
    while True:
        try:
            return await detect(channel, requests)
        except grpc.RpcError as error:
            if "no trainer answers" not in error.details():
                raise


async def refused(call, code: grpc.StatusCode, *details):
    """The ErrorInfo's reason and the details of a call that must fail with this code, and its message."""
    with pytest.raises(grpc.RpcError) as error:
        await call
    assert error.value.code() is code, error.value.details()
    found = []
    for detail in (error_details_pb2.ErrorInfo, *details):
        [packed] = [any_ for any_ in rpc_status.from_call(error.value).details if any_.Is(detail.DESCRIPTOR)]
        found.append(detail())
        packed.Unpack(found[-1])
    return found[0].reason, error.value.details(), *found[1:]


class Front(trainer_service_pb2_grpc.TrainerServiceServicer):
    """Reads a recording to its end, then ends the call with `code`."""

    def __init__(self, code: grpc.StatusCode = grpc.StatusCode.OK) -> None:
        self._code = code
        self.received = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def WatchCapacity(self, _request, _context):
        yield trainer_service_pb2.WatchCapacityResponse(capacity=trainer_service_pb2.Capacity(device="cpu"))
        await asyncio.Event().wait()

    async def Detect(self, requests, context):
        try:
            async for _ in requests:
                self.received.set()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self._code is not grpc.StatusCode.OK:
            await context.abort(self._code, "what the trainer says")
        yield trainer_service_pb2.DetectResponse(summary={"duration_ms": 7})


@asynccontextmanager
async def serving(front: Front):
    server = aio.server()
    trainer_service_pb2_grpc.add_TrainerServiceServicer_to_server(front, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@pytest_asyncio.fixture
async def alone(database_url, tmp_path):
    """A gateway without a trainer."""
    async with gateway(database_url, tmp_path) as channel:
        yield channel


async def test_a_real_trainer_detects(real, database_url) -> None:
    folder, trainer = real
    model_id = await untrained_model(database_url)
    async with gateway(database_url, folder, trainer) as channel:
        audio, config = wav(seconds=1.5), {"threshold": 1, "thresholds": {"glitch": 0}}
        replies = await once_a_trainer_is_here(
            channel, start(model_id, **config), data(audio[:1000]), data(audio[1000:])
        )
    *found, last = replies
    assert [(d.detection.artifact_type, d.detection.start_ms, d.detection.end_ms) for d in found] == [
        ("glitch", 0, 1500)
    ]
    assert (last.summary.duration_ms, last.summary.detection_count) == (1500, 1)


async def test_no_detection_is_no_error(real, database_url) -> None:
    folder, trainer = real
    model_id = await untrained_model(database_url)
    async with gateway(database_url, folder, trainer) as channel:
        [only] = await once_a_trainer_is_here(channel, start(model_id, threshold=1), data(wav()))
    assert (only.summary.duration_ms, only.summary.detection_count) == (1000, 0)


async def test_what_cannot_be_decoded_is_invalid_audio(real, database_url) -> None:
    folder, trainer = real
    model_id = await untrained_model(database_url)
    async with gateway(database_url, folder, trainer) as channel:
        call = once_a_trainer_is_here(channel, start(model_id), data(b"no audio at all"))
        reason, _, wrong = await refused(call, grpc.StatusCode.INVALID_ARGUMENT, error_details_pb2.BadRequest)
    assert (reason, [v.field for v in wrong.field_violations]) == ("INVALID_AUDIO", ["data"])


async def test_a_model_whose_objects_are_gone_is_a_fault_of_ours(real, database_url) -> None:
    folder, trainer = real
    model_id = await untrained_model(database_url, weights="gone")
    async with gateway(database_url, folder, trainer) as channel:
        call = once_a_trainer_is_here(channel, start(model_id), data(wav()))
        reason, message = await refused(call, grpc.StatusCode.INTERNAL)
    assert reason == "INTERNAL"
    assert "gone" not in message


async def test_a_trainer_killed_while_it_receives_is_unavailable(database_url, tmp_path) -> None:
    model_id = await untrained_model(database_url)
    with trainer_process(tmp_path) as (process, trainer):
        async with gateway(database_url, tmp_path, trainer) as channel:
            await refused(
                once_a_trainer_is_here(channel, start(model_id), data(b"x")),
                grpc.StatusCode.INVALID_ARGUMENT,
            )

            def requests():
                yield start(model_id)
                yield data(wav()[:1000])
                process.kill()
                process.wait()
                yield data(wav()[1000:])

            reason, message, retry = await refused(
                detect(channel, requests()), grpc.StatusCode.UNAVAILABLE, error_details_pb2.RetryInfo
            )
    assert reason == "TRAINER_UNAVAILABLE"
    assert trainer in message
    assert retry.retry_delay.ToTimedelta().total_seconds() > 0


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_a_trainer_that_stops_is_unavailable(database_url, tmp_path, code) -> None:
    model_id = await untrained_model(database_url)
    async with serving(Front(code)) as trainer, gateway(database_url, tmp_path, trainer) as channel:
        call = once_a_trainer_is_here(channel, start(model_id), data(b"x"))
        reason, message, _ = await refused(call, grpc.StatusCode.UNAVAILABLE, error_details_pb2.RetryInfo)
    assert reason == "TRAINER_UNAVAILABLE"
    assert "what the trainer says" in message


async def test_a_client_that_cancels_cancels_the_trainer(database_url, tmp_path) -> None:
    model_id, front = await untrained_model(database_url), Front()
    async with serving(front) as trainer, gateway(database_url, tmp_path, trainer) as channel:
        await once_a_trainer_is_here(channel, start(model_id), data(b"x"))
        front.received.clear()
        call = DetectionServiceStub(channel).Detect()
        await call.write(start(model_id))
        await front.received.wait()
        call.cancel()
        await front.cancelled.wait()


async def test_no_data_is_refused_and_cancels_the_trainer(database_url, tmp_path) -> None:
    model_id, front = await untrained_model(database_url), Front()
    async with serving(front) as trainer, gateway(database_url, tmp_path, trainer) as channel:
        call = once_a_trainer_is_here(channel, start(model_id), data(b""))
        reason, message = await refused(call, grpc.StatusCode.INVALID_ARGUMENT)
        await front.cancelled.wait()
    assert (reason, message) == (
        "INVALID_FIELD",
        "data: the stream ended without any: send the recording's bytes after start",
    )


async def test_too_much_data_is_refused(database_url, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(detection, "MAX_BYTES", 1000)
    model_id = await untrained_model(database_url)
    async with serving(Front()) as trainer, gateway(database_url, tmp_path, trainer) as channel:
        [only] = await once_a_trainer_is_here(channel, start(model_id), data(bytes(999)), data(b"x"))
        assert only.summary.duration_ms == 7
        call = detect(channel, [start(model_id), data(bytes(1000)), data(b"x")])
        _, message = await refused(call, grpc.StatusCode.INVALID_ARGUMENT)
    assert message == "data: is larger than 1,000 bytes: split the recording"


async def test_start_may_come_once(database_url, tmp_path) -> None:
    model_id = await untrained_model(database_url)
    async with serving(Front()) as trainer, gateway(database_url, tmp_path, trainer) as channel:
        call = once_a_trainer_is_here(channel, start(model_id), start(model_id))
        _, message = await refused(call, grpc.StatusCode.INVALID_ARGUMENT)
    assert message == "start: start was sent again: every message after the first must be data"


async def test_start_must_come_first(alone) -> None:
    _, message = await refused(detect(alone, [data(b"x")]), grpc.StatusCode.INVALID_ARGUMENT)
    assert message == "start: the first message must be start, not data"
    _, message = await refused(detect(alone, []), grpc.StatusCode.INVALID_ARGUMENT)
    assert message == "start: the stream has no message: the first must be start, then the data"


async def test_thresholds_for_types_that_the_model_lacks_are_all_named(alone, database_url) -> None:
    model_id = await untrained_model(database_url)
    thresholds = {"glitch": 0.1, "static": 0.1, "dropout": 0.1}
    _, _, wrong = await refused(
        detect(alone, [start(model_id, thresholds=thresholds)]),
        grpc.StatusCode.INVALID_ARGUMENT,
        error_details_pb2.BadRequest,
    )
    assert {v.field for v in wrong.field_violations} == {
        "start.config.thresholds['static']",
        "start.config.thresholds['dropout']",
    }
    assert all("it has glitch, echo" in v.description for v in wrong.field_violations)


@pytest.mark.parametrize(("state", "remedy"), [("inactive", "UpdateModel"), ("archived", "UndeleteModel")])
async def test_only_an_active_model_that_is_not_archived_detects(alone, database_url, state, remedy) -> None:
    model_id = await one_model(database_url, active=state == "archived")
    if state == "archived":
        async with Database(database_url) as database, database.connection() as connection:
            await models.archive(connection, "default", model_id)
    reason, message, _ = await refused(
        detect(alone, [start(model_id)]),
        grpc.StatusCode.FAILED_PRECONDITION,
        error_details_pb2.PreconditionFailure,
    )
    assert reason == "WRONG_STATE"
    assert f"model {model_id}" in message
    assert remedy in message


@pytest.mark.parametrize("whose", ["nobody's", "another tenant's"])
async def test_a_model_that_is_not_ones_own_does_not_exist(alone, database_url, whose) -> None:
    model_id = str(uuid7()) if whose == "nobody's" else await one_model(database_url, tenant="other")
    reason, _ = await refused(detect(alone, [start(model_id)]), grpc.StatusCode.NOT_FOUND)
    assert reason == "NOT_FOUND"


async def test_without_a_trainer_the_call_may_be_repeated(alone, database_url) -> None:
    model_id = await untrained_model(database_url)
    reason, message, _ = await refused(
        detect(alone, [start(model_id)]), grpc.StatusCode.UNAVAILABLE, error_details_pb2.RetryInfo
    )
    assert reason == "TRAINER_UNAVAILABLE"
    assert "no trainer answers" in message
