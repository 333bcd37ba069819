"""Live audio through a gateway to a real trainer, and to fake ones that stall or end the call."""

import asyncio
import hashlib
import threading

import grpc
import numpy as np
import pytest
from grpc import aio

from earmark.client import connect, detect_live
from earmark.internal.v1 import trainer_service_pb2
from earmark.v1 import detection_pb2
from earmark.v1.detection_service_pb2_grpc import DetectionServiceStub
from tests.gateway.services.test_detection import (
    Front,
    data,
    detect_when_a_trainer_is_available,
    gateway_with,
    refused,
    serving,
    start,
)
from tests.gateway.untrained import LOUD_KEYS, loud_model, store_loud_model, untrained_model
from tests.sounds import encoded
from tests.trainer.process import failure
from tests.trainer.process import running as trainer_process

RATE = 8_000
SECONDS = 60
AUDIO = "earmark.trainer.workers.audio"
PCM = {"sample_rate_hz": RATE, "channels": 1, "encoding": "PCM_ENCODING_S16LE"}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    flags = ("--heartbeat-seconds", "0.2", "--precompile", "false")
    with trainer_process(tmp_path_factory.mktemp("trainer"), *flags) as trainer:
        store_loud_model(trainer.objects)
        yield trainer


def live_start(model_id, *, start_ms=0, **config):
    request = start(model_id, **config)
    request.start.live.CopyFrom(detection_pb2.LiveAudio(pcm=PCM, start_ms=start_ms))
    return request


def glitches(seconds, *at_ms):
    """The bytes of quiet noise that is loud for 300 ms at these times."""
    audio = np.random.default_rng(0).normal(0, 0.001, seconds * RATE)
    for start_ms in at_ms:
        first = start_ms * RATE // 1000
        audio[first : first + RATE * 3 // 10] *= 300
    return np.round(audio.clip(-1, 1) * 32_767).astype("<i2").tobytes()


def parts(audio):
    return [data(audio[at : at + 3_333]) for at in range(0, len(audio), 3_333)]


async def test_detections_and_heartbeats_come_while_the_stream_is_open(real, database_url) -> None:
    model_id = await loud_model(database_url, real.objects)
    came = threading.Event()

    def call(address):
        def requests():
            yield from [live_start(model_id, start_ms=5_000), *parts(glitches(6, 1_000, 3_000))]
            assert came.wait(SECONDS)

        with grpc.insecure_channel(address) as channel:
            responses = DetectionServiceStub(channel).Detect(requests(), timeout=SECONDS)
            seen = []
            while not any(response.HasField("detection") for response in seen):
                seen.append(next(responses))
            came.set()
            return seen + list(responses)

    async with gateway_with(real.address, database_url, real.data_dir) as address:
        await detect_when_a_trainer_is_available(address, live_start(model_id), *parts(glitches(1)))
        *seen, last = await asyncio.to_thread(call, address)
    found = [response.detection for response in seen if response.HasField("detection")]
    assert [d.artifact_type for d in found] == ["glitch", "glitch"]
    assert np.abs(np.array([d.start_ms for d in found]) - [6_000, 8_000]).max() <= 40
    assert np.abs(np.array([d.end_ms for d in found]) - [6_300, 8_300]).max() <= 40
    judged = [r.heartbeat.judged_until_ms for r in seen if r.HasField("heartbeat")]
    assert judged == sorted(judged)
    assert 5_000 <= judged[0] <= judged[-1] <= 11_000
    assert (last.summary.duration_ms, last.summary.detection_count) == (6_000, 2)


class Stalled(Front):
    """Takes the start of each stream, and then reads nothing more of the first."""

    async def Detect(self, requests, context):
        if self.received.is_set():
            async for response in super().Detect(requests, context):
                yield response
            return
        self.start = (await anext(requests)).start
        self.received.set()
        yield trainer_service_pb2.DetectResponse(heartbeat={"judged_until_ms": 1})
        await asyncio.Event().wait()


async def test_a_stream_whose_trainer_does_not_read_waits_and_no_other_does(database_url, tmp_path) -> None:
    """A bounded amount is on the way, however much there is to send."""
    model_id, sent, before = await untrained_model(database_url), 0, -1

    async def send(call):
        nonlocal sent
        while sent < 64 << 20:
            await call.write(data(bytes(1 << 16)))
            sent += 1 << 16

    async with (
        serving(Stalled()) as trainer,
        gateway_with(trainer, database_url, tmp_path) as address,
        aio.insecure_channel(address) as channel,
    ):
        call, first = await begun(channel, model_id)
        assert first.heartbeat.judged_until_ms == 1
        sending = asyncio.ensure_future(send(call))
        while sent != before:
            before = sent
            for _ in range(10):
                await detect_when_a_trainer_is_available(address, live_start(model_id), data(bytes(1 << 20)))
        assert not sending.done()
        sending.cancel()
        call.cancel()
        await asyncio.wait({sending})


async def begun(channel, model_id):
    """A call that has reached the trainer, and its first response."""
    while True:
        call = DetectionServiceStub(channel).Detect()
        await call.write(live_start(model_id))
        try:
            return call, await anext(aiter(call))
        except aio.AioRpcError as error:
            assert "no trainer answers" in error.details()  # noqa: PT017 it is not there yet


async def test_a_trainer_that_ends_a_live_stream_is_unavailable(database_url, tmp_path) -> None:
    model_id = await untrained_model(database_url)
    async with (
        serving(Front(grpc.StatusCode.UNAVAILABLE)) as trainer,
        gateway_with(trainer, database_url, tmp_path) as address,
    ):
        call = detect_when_a_trainer_is_available(address, live_start(model_id), data(b"x"))
        refusal = await refused(call, "UNAVAILABLE", "TRAINER_UNAVAILABLE")
    assert "position that the last heartbeat had" in refusal.message
    assert refusal.details["google.rpc.RetryInfo"].retry_delay.ToTimedelta().total_seconds() > 0


async def test_live_audio_may_be_longer_than_a_file(database_url, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("earmark.gateway.services.detection.MAX_BYTES", 1000)
    model_id = await untrained_model(database_url)
    async with serving(Front()) as trainer, gateway_with(trainer, database_url, tmp_path) as address:
        [only] = await detect_when_a_trainer_is_available(
            address, live_start(model_id), data(bytes(999)), data(bytes(999))
        )
    assert only.summary.duration_ms == 7


@pytest.mark.parametrize(
    ("pcm", "field"),
    [
        ({"sample_rate_hz": 7_999, "channels": 1, "encoding": 1}, "sample_rate_hz"),
        ({"sample_rate_hz": RATE, "channels": 9, "encoding": 1}, "channels"),
        ({"sample_rate_hz": RATE, "channels": 1}, "encoding"),
    ],
)
async def test_audio_of_a_kind_that_is_not_supported_is_refused(database_url, tmp_path, pcm, field) -> None:
    request = live_start(await untrained_model(database_url))
    request.start.live.pcm.CopyFrom(detection_pb2.LiveAudio.Pcm(**pcm))
    async with gateway_with("", database_url, tmp_path) as address:
        call = detect_when_a_trainer_is_available(address, request)
        refusal = await refused(call, "INVALID_ARGUMENT", "INVALID_FIELD")
    assert set(refusal.fields) == {f"start.live.pcm.{field}"}


@pytest.mark.parametrize("is_file", [False, True], ids=["samples", "file"])
async def test_a_stream_whose_trainer_is_killed_goes_on_elsewhere_with_the_same_detections(
    database_url, tmp_path, is_file
) -> None:
    audio = glitches(60, *range(1_500, 59_000, 3_000))
    sent = encoded(np.frombuffer(audio, "<i2"), "FLAC", rate=RATE) if is_file else audio
    first = len(sent) * 2 // 3
    cold = ("--precompile", "false")
    with trainer_process(tmp_path, *cold) as one, trainer_process(tmp_path, *cold) as other:
        store_loud_model(one.objects)
        model_id = await loud_model(database_url, one.objects)
        lost = threading.Event()

        def pieces():
            yield from (part.data for part in parts(sent[:first]))
            assert lost.wait(SECONDS)
            yield from (part.data for part in parts(sent[first:]))

        def found(address):
            with connect(address) as client:
                result = []
                pcm = None if is_file else detection_pb2.LiveAudio.Pcm(**PCM)
                for detection in detect_live(client, model_id, pieces(), pcm):
                    result.append(detection)
                    if not lost.is_set() and detection.start_ms > 30_000:
                        # One process has the stream, and another waits for the next.
                        (using,) = (t for t in (one, other) if len(t.children(AUDIO)) == 2)
                        using.process.kill()
                        lost.set()
                return result

        async with gateway_with(f"{one.address},{other.address}", database_url, tmp_path) as address:
            responses = await detect_when_a_trainer_is_available(address, live_start(model_id), *parts(audio))
            whole = [response.detection for response in responses if response.HasField("detection")]
            resumed = await asyncio.to_thread(found, address)
    assert len(whole) == 20
    assert [(d.start_ms, d.end_ms) for d in resumed] == [(d.start_ms, d.end_ms) for d in whole]
    np.testing.assert_allclose([d.confidence for d in resumed], [d.confidence for d in whole], atol=1e-4)


def test_a_trainer_that_stops_ends_its_live_streams_at_once_so_that_they_go_on_elsewhere(tmp_path) -> None:
    ended = threading.Event()
    with trainer_process(tmp_path, "--precompile", "false") as trainer:
        store_loud_model(trainer.objects)
        sha256 = hashlib.sha256(trainer.objects.get(LOUD_KEYS["weights"])).hexdigest()
        first = trainer_service_pb2.DetectRequest(start={**LOUD_KEYS, "sha256": sha256, "live": {"pcm": PCM}})

        def requests():
            yield first
            yield trainer_service_pb2.DetectRequest(data=glitches(3))
            ended.wait(SECONDS)

        call = trainer.stub.Detect(requests(), timeout=SECONDS)
        next(call)
        trainer.process.terminate()
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        ended.set()
    assert failure(caught.value) == (grpc.StatusCode.UNAVAILABLE, "STOPPING")
