"""Exports of models, with a real trainer and with fake trainers that end the call as a test chooses."""

import asyncio
import hashlib
import io
import json
import zipfile
from uuid import UUID

import grpc
import numpy as np
import onnxruntime
import pytest
import safetensors.numpy
from grpc import aio
from uuid_utils.compat import uuid7

from earmark.internal.v1 import trainer_service_pb2, trainer_service_pb2_grpc
from earmark.storage.queries import models
from earmark.v1 import model_service_pb2 as pb
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from tests.gateway.calls import Gateway, opened, refused
from tests.gateway.model_rows import one_model
from tests.gateway.scripted_trainer import serving
from tests.gateway.untrained import KEYS, store_untrained_model, untrained_model
from tests.trainer.process import running as trainer_process

PART_BYTES = 128 << 10
PARTS = 1000  # of a fake trainer: more than fits between it and a caller that does not read


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A trainer whose object store has a model."""
    with trainer_process(
        tmp_path_factory.mktemp("trainer"), "--audio-processes", "1", "--precompile", "false"
    ) as trainer:
        store_untrained_model(trainer.objects)
        yield trainer


class Front(trainer_service_pb2_grpc.TrainerServiceServicer):
    """A fake trainer, whose export has PARTS parts; it ends with `code` after the first ones."""

    def __init__(self, code: grpc.StatusCode = grpc.StatusCode.OK) -> None:
        self._code = code
        self.sent = 0
        self.ended = asyncio.Event()

    async def WatchCapacity(self, _request, _context):
        yield trainer_service_pb2.WatchCapacityResponse(capacity=trainer_service_pb2.Capacity(device="cpu"))
        await asyncio.Event().wait()

    async def ExportModel(self, _request, context):
        try:
            file = {"size_bytes": PARTS * PART_BYTES}
            await context.write(trainer_service_pb2.ExportModelResponse(file=file))
            while self.sent < PARTS:
                if self._code is not grpc.StatusCode.OK and self.sent == 3:
                    await context.abort(self._code, "what the trainer says")
                self.sent += 1
                await context.write(trainer_service_pb2.ExportModelResponse(data=bytes(PART_BYTES)))
        finally:  # a call that is cancelled in the middle of a write has that write fail first
            self.ended.set()


def export(gateway: Gateway, model_id: str, model_format: str = "NATIVE", **fields):
    request = pb.ExportModelRequest(model_id=model_id, format=f"MODEL_FORMAT_{model_format}", **fields)
    return ModelServiceStub(gateway.channel).ExportModel(request)


async def when_a_trainer_is_available(
    gateway: Gateway, model_id: str, model_format: str = "NATIVE", **fields
):
    """The call and its first response, once the gateway has found its trainer."""
    while True:
        call = export(gateway, model_id, model_format, **fields)
        try:
            return call, await call.read()
        except aio.AioRpcError as error:
            if "no trainer answers" not in error.details():
                raise


async def exported(gateway: Gateway, model_id: str, model_format: str = "NATIVE", **fields):
    """What the file is, and its bytes."""
    call, first = await when_a_trainer_is_available(gateway, model_id, model_format, **fields)
    parts: list[bytes] = []
    while (response := await call.read()) is not aio.EOF:
        parts.append(response.data)
    assert max(map(len, parts)) <= PART_BYTES
    return first.file, b"".join(parts)


async def test_the_native_export_has_the_stored_files(real, database_url) -> None:
    model_id = await untrained_model(database_url, real.objects)
    async with opened(database_url, real.data_dir, trainers=real.address) as gateway:
        file, data = await exported(gateway, model_id)
    assert (file.filename, file.media_type) == (f"{model_id}.zip", "application/zip")
    assert (file.size_bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.namelist() == ["model.safetensors", "model.json"]
    weights, config = map(archive.read, archive.namelist())
    assert (weights, config) == tuple(map(real.objects.get, KEYS.values()))
    assert weights in data, "the archive is not compressed"
    assert safetensors.numpy.load(weights)["head/kernel/value"].shape == (8, 16)
    assert [learned["name"] for learned in json.loads(config)["artifact_types"]] == ["glitch", "echo"]


async def test_the_onnx_export_takes_pcm_at_the_rate_that_was_asked_for(real, database_url) -> None:
    model_id = await untrained_model(database_url, real.objects)
    async with opened(database_url, real.data_dir, trainers=real.address) as gateway:
        file, data = await exported(gateway, model_id, "ONNX", sample_rate_hz=22_050)
        _, default = await exported(gateway, model_id, "ONNX")
    assert (file.filename, file.media_type) == (f"{model_id}.onnx", "application/octet-stream")
    assert (file.size_bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    session = onnxruntime.InferenceSession(data)
    [scores] = session.run(["scores"], {"pcm": np.zeros(22_050, np.float32)})
    assert scores.shape == (100, 2)
    assert (scores == 0.5).all(), "this model has the same score for everything"
    rates = [rate_of(each) for each in (data, default)]
    assert rates == ["22050", "16000"]


def rate_of(data: bytes) -> str:
    return onnxruntime.InferenceSession(data).get_modelmeta().custom_metadata_map["sample_rate_hz"]


@pytest.mark.parametrize("rate", [-1, 7_975, 16_001, 48_025])
async def test_a_sample_rate_that_no_graph_takes_is_refused(gateway, rate) -> None:
    call = export(gateway, str(uuid7()), "ONNX", sample_rate_hz=rate).read()
    refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    assert list(refusal.fields) == ["sample_rate_hz"]


async def test_an_archived_and_inactive_model_is_exported(real, database_url) -> None:
    model_id = await untrained_model(database_url, real.objects)
    async with opened(database_url, real.data_dir, trainers=real.address) as gateway:
        async with gateway.database.connection() as connection:
            await models.update(connection, "default", UUID(model_id), "m", "", is_active=False)
            await models.archive(connection, "default", UUID(model_id))
        file, _ = await exported(gateway, model_id)
    assert file.filename.startswith(model_id)


async def test_a_damaged_model_is_data_loss(real, database_url) -> None:
    real.objects.put("default/jobs/cut/model.safetensors", real.objects.get(KEYS["weights"])[:-1])
    model_id = await untrained_model(
        database_url, real.objects, weights="default/jobs/cut/model.safetensors", sha256="ab" * 32
    )
    missing = await untrained_model(database_url, real.objects, weights="default/jobs/gone")
    async with opened(database_url, real.data_dir, trainers=real.address) as gateway:
        for each in (model_id, missing):
            call = when_a_trainer_is_available(gateway, each)
            refusal = await refused(call, "DATA_LOSS", "STORED_OBJECT_DAMAGED")
            assert f"model {each} are missing or damaged: train it again" in refusal.message


async def test_a_model_of_another_front_end_is_refused_with_what_to_do(real, database_url) -> None:
    config = real.objects.get(KEYS["model_config"]).replace(b'"frontend": "', b'"frontend": "made up ')
    real.objects.put("default/jobs/old/model.json", config)
    model_id = await untrained_model(database_url, real.objects, model_config="default/jobs/old/model.json")
    async with opened(database_url, real.data_dir, trainers=real.address) as gateway:
        call = when_a_trainer_is_available(gateway, model_id)
        refusal = await refused(call, "FAILED_PRECONDITION", "MODEL_OUTDATED")
    assert "front end made up" in refusal.message
    assert refusal.violations[0][:2] == ("MODEL_CURRENT", f"model/{model_id}")


async def test_nothing_is_produced_that_the_caller_does_not_read(database_url, tmp_path) -> None:
    model_id, front = await untrained_model(database_url), Front()
    async with serving(front) as trainer, opened(database_url, tmp_path, trainers=trainer) as gateway:
        call, first = await when_a_trainer_is_available(gateway, model_id)
        assert first.file.size_bytes == PARTS * PART_BYTES
        for read in range(1, 4):
            assert len((await call.read()).data) == PART_BYTES
            assert front.sent < read + PARTS / 2
        call.cancel()
        await front.ended.wait()
        assert front.sent < PARTS


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_a_trainer_that_stops_is_unavailable(database_url, tmp_path, code) -> None:
    model_id = await untrained_model(database_url)
    async with serving(Front(code)) as trainer, opened(database_url, tmp_path, trainers=trainer) as gateway:
        refusal = await refused(exported(gateway, model_id), "UNAVAILABLE", "TRAINER_UNAVAILABLE")
    assert refusal.message == "the trainer was lost during the export: begin it again"
    assert "google.rpc.RetryInfo" in refusal.details


@pytest.mark.parametrize("number", [0, 99])
async def test_a_format_that_does_not_exist_is_refused(gateway, number) -> None:
    request = pb.ExportModelRequest(model_id=str(uuid7()), format=number)
    call = ModelServiceStub(gateway.channel).ExportModel(request).read()
    refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    assert list(refusal.fields) == ["format"]


@pytest.mark.parametrize("whose", ["nobody's", "another tenant's"])
async def test_a_model_of_another_tenant_or_of_nobody_is_not_found(gateway, database_url, whose) -> None:
    model_id = str(uuid7()) if whose == "nobody's" else await one_model(database_url, tenant="other")
    refusal = await refused(export(gateway, model_id).read(), "NOT_FOUND", "NOT_FOUND")
    assert refusal.resource == ("model", model_id)


async def test_without_a_trainer_the_error_asks_for_a_retry(gateway, database_url) -> None:
    model_id = await untrained_model(database_url)
    refusal = await refused(export(gateway, model_id).read(), "UNAVAILABLE", "TRAINER_UNAVAILABLE")
    assert "google.rpc.RetryInfo" in refusal.details
