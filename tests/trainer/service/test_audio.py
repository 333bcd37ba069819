import io
import os
import signal

import numpy as np
import pytest
import soundfile

from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.trainer.features.stored import file_features, unpack_features
from earmark.trainer.features.version import FRONTEND_VERSION
from earmark.trainer.workers.views import VIEWS
from tests.sounds import RATE, bursts, encoded
from tests.trainer.process import SECONDS, audio_request


def states(responses):
    return [response.WhichOneof("content") for response in responses]


def test_a_file_passes_through_its_states_and_is_stored(trainer):
    audio = np.stack([bursts(2, 1)[0], bursts(2, 2)[0]], axis=1)
    responses = trainer.process_audio(encoded(audio, "WAV"))
    assert states(responses) == ["normalizing", "embedding", "ready"]
    embedding = responses[1].embedding
    assert (embedding.duration_ms, embedding.sample_rate_hz, embedding.channels) == (2000, RATE, 2)

    stored, rate = soundfile.read(io.BytesIO(trainer.objects.get("default/audio/one/audio")), dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(stored, audio, atol=1 / 32767)
    expected = file_features(np.ascontiguousarray(stored.T), rate, views=VIEWS)
    values = unpack_features(trainer.objects.get("default/audio/one/features"))
    np.testing.assert_array_equal(values.tracks, expected.tracks)
    assert values.channels == ((0,), (1,))
    assert values.views.shape == expected.views.shape


def test_without_a_key_for_the_audio_only_the_features_are_stored_again(trainer):
    name = "again"
    trainer.process_audio(encoded(bursts(2, 1)[0], "WAV"), name)
    computed = trainer.objects.get(f"default/audio/{name}/features")
    trainer.objects.put(f"default/audio/{name}/features", b"of an older front end")
    trainer.objects.put(f"default/audio/{name}/source", b"gone")
    audio = trainer.objects.get(f"default/audio/{name}/audio")
    keys = {"source": f"default/audio/{name}/audio", "features": f"default/audio/{name}/features"}
    request = pb.ProcessAudioRequest(audio_file_id=name, **keys)
    *_, last = trainer.stub.ProcessAudio(request, timeout=SECONDS)
    assert last.ready.frontend == trainer.capacity().frontend == FRONTEND_VERSION
    assert trainer.objects.get(f"default/audio/{name}/features") == computed
    assert trainer.objects.get(f"default/audio/{name}/audio") == audio


def test_a_bad_file_ends_in_failed_and_its_process_survives(trainer):
    trainer.process_audio(encoded(bursts(1, 1)[0], "WAV"))
    before = trainer.children("earmark.trainer.workers.audio")
    responses = trainer.process_audio(b"<html>404</html>")
    assert states(responses) == ["normalizing", "failed"]
    assert "not audio in a known format" in responses[-1].failed.error_message
    assert states(trainer.process_audio(encoded(bursts(1, 1)[0], "WAV")))[-1] == "ready"
    assert trainer.children("earmark.trainer.workers.audio") == before


def test_a_file_whose_bytes_are_gone_ends_in_failed(trainer):
    responses = list(trainer.stub.ProcessAudio(audio_request("nowhere")))
    assert states(responses) == ["normalizing", "failed"]
    assert "upload the file again" in responses[-1].failed.error_message


def test_a_file_that_crashes_its_process_fails_alone(trainer):
    quiet = np.zeros((120 * 48_000, 2), np.int16)
    quiet[::100] = 1000
    trainer.objects.put("default/audio/long/source", encoded(quiet, "FLAC", rate=48_000))
    call = trainer.stub.ProcessAudio(audio_request("long"))
    assert states([next(call), next(call)]) == ["normalizing", "embedding"]
    for pid in trainer.children("earmark.trainer.workers.audio"):
        os.kill(pid, signal.SIGSEGV)
    assert "was killed by SIGSEGV" in next(call).failed.error_message
    assert states(trainer.process_audio(encoded(bursts(1, 1)[0], "WAV")))[-1] == "ready"


def test_a_cancelled_file_frees_its_slot(trainer):
    quiet = encoded(np.zeros((600 * 48_000, 2), np.int16), "FLAC", rate=48_000)
    trainer.objects.put("default/audio/long/source", quiet)
    call = trainer.stub.ProcessAudio(audio_request("long"))
    trainer.wait_for(lambda capacity: capacity.free_audio_slots == 2)
    call.cancel()
    assert trainer.wait_for(lambda capacity: capacity.free_audio_slots == 3)


@pytest.mark.parametrize("files", [5])
def test_more_files_than_processes_wait_their_turn(trainer, files):
    for number in range(files):
        trainer.objects.put(f"default/audio/many-{number}/source", encoded(bursts(1, number)[0], "OGG"))
    calls = [trainer.stub.ProcessAudio(audio_request(f"many-{number}")) for number in range(files)]
    assert all(states(list(call))[-1] == "ready" for call in calls)
    assert len(trainer.children("earmark.trainer.workers.audio")) <= 3
