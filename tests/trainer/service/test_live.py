"""Live audio, from the trainer's rpc to its processes."""

import threading

import grpc
import numpy as np
import pytest

from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.v1 import detection_pb2
from tests.sounds import RATE, bursts, encoded
from tests.trainer.process import SECONDS, detection_start, failure

S16 = detection_pb2.PCM_ENCODING_S16LE
F32 = detection_pb2.PCM_ENCODING_F32LE


def pcm(audio):
    """(samples,) or (samples, channels) float to the bytes of 16-bit samples."""
    return np.round(audio * 32_767).astype("<i2").tobytes()


def live_start(model, *, rate=RATE, channels=1, encoding=S16, start_ms=0, silent=(), **config):
    start = detection_start(model, **config)
    start.live.pcm.CopyFrom(
        detection_pb2.LiveAudio.Pcm(sample_rate_hz=rate, channels=channels, encoding=encoding)
    )
    start.live.start_ms = start_ms
    start.live.silent_channels.extend(silent)
    return pb.DetectRequest(start=start)


def parts(data, size=7_001):
    return [pb.DetectRequest(data=data[at : at + size]) for at in range(0, len(data), size)]


def judged(trainer, start, data):
    """The detections, the positions of the heartbeats, and the summary."""
    responses = list(trainer.stub.Detect(iter([start, *parts(data)]), timeout=2 * SECONDS))
    found = [response.detection for response in responses if response.HasField("detection")]
    beats = [response.heartbeat for response in responses if response.HasField("heartbeat")]
    return found, beats, responses[-1].summary


def facts(detections):
    return [(d.artifact_type, d.start_ms, d.end_ms, tuple(d.channels)) for d in detections]


@pytest.fixture(scope="module")
def recording():
    return bursts(12, seed=99)[0]


def test_live_audio_has_the_detections_of_the_file(trainer, model, recording):
    whole = [r.detection for r in trainer.detect(encoded(recording, "WAV"), model)[:-1]]
    found, beats, summary = judged(trainer, live_start(model), pcm(recording))
    assert len(found) > 3
    assert facts(found) == facts(whole)
    np.testing.assert_allclose([d.confidence for d in found], [d.confidence for d in whole], atol=1e-4)
    assert summary.duration_ms == 12_000
    positions = [beat.judged_until_ms for beat in beats]
    assert positions == sorted(positions)
    assert positions[-1] > 8_000


@pytest.mark.parametrize("container", ["FLAC", "WAV", "OGG"])
def test_a_format_that_can_be_decoded_as_it_comes_has_the_detections_of_the_file(
    trainer, model, recording, container
):
    data, start = encoded(recording, container), live_start(model)
    start.start.live.ClearField("pcm")
    start.start.live.SetInParent()
    whole = [r.detection for r in trainer.detect(data, model)[:-1]]
    found, _, summary = judged(trainer, start, data)
    assert facts(found) == facts(whole)
    assert summary.duration_ms == 12_000


def test_a_detection_comes_while_its_stream_is_open(trainer, model, recording):
    """The end of the stream is sent once the first detection has come."""
    came = threading.Event()

    def requests():
        yield from [live_start(model), *parts(pcm(recording))]
        assert came.wait(SECONDS)

    responses = trainer.stub.Detect(requests(), timeout=2 * SECONDS)
    first = next(response.detection for response in responses if response.HasField("detection"))
    came.set()
    assert first.start_ms < 1000
    assert list(responses)[-1].HasField("summary")


def test_a_stream_that_goes_on_has_the_same_detections_after_its_context(trainer, model):
    recording = bursts(40, seed=5)[0]
    (whole, beats, _) = judged(trainer, live_start(model), pcm(recording))
    assert list(beats[-1].silent_channels) == []
    rest = live_start(model, start_ms=10_000)
    resumed = judged(trainer, rest, pcm(recording[10 * RATE :]))[0]
    assert facts(d for d in resumed if d.start_ms >= 30_000) == facts(
        d for d in whole if d.start_ms >= 30_000
    )


def test_each_channel_is_judged_and_a_silent_one_does_not_count(trainer, model, recording):
    silence, late = np.zeros_like(recording), np.where(np.arange(len(recording)) < 2 * RATE, 0, recording)
    audio = np.stack([recording, silence, late], axis=1).astype("<f4")
    start = live_start(model, channels=3, encoding=F32)
    found, beats, _ = judged(trainer, start, audio.tobytes())
    whole = trainer.detect(encoded(audio, "WAV", "FLOAT"), model)[:-1]
    assert facts(found) == facts(response.detection for response in whole)
    assert {tuple(d.channels) for d in found if d.start_ms < 2_000} == {(0,)}
    assert (0, 2) in {tuple(d.channels) for d in found}
    assert beats
    for beat in beats:
        silent = {1, 2} if beat.judged_until_ms <= 2_000 else {1}
        assert set(beat.silent_channels) - ({0} if beat.judged_until_ms == 0 else set()) == silent


def test_audio_that_is_none_is_an_invalid_argument(trainer, model):
    for data, words in ((np.full(RATE, np.nan, "<f4").tobytes(), "not a finite number"), (b"", "no audio")):
        with pytest.raises(grpc.RpcError) as caught:
            judged(trainer, live_start(model, encoding=F32), data)
        assert failure(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_AUDIO")
        assert words in caught.value.details()


def test_a_second_start_is_refused_and_a_stream_that_is_cancelled_leaves_no_process(
    trainer, model, recording
):
    with pytest.raises(grpc.RpcError) as caught:
        list(trainer.stub.Detect(iter([live_start(model), live_start(model)]), timeout=SECONDS))
    assert failure(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    call = trainer.stub.Detect(iter([live_start(model), *parts(pcm(recording))]), timeout=SECONDS)
    next(call)
    call.cancel()
    assert judged(trainer, live_start(model), pcm(recording))[0]
