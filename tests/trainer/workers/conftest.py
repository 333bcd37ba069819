from contextlib import ExitStack

import pytest

from earmark.trainer.service import audio_pool
from earmark.trainer.service.decoding import AudioFiles
from earmark.trainer.settings import TrainerSettings
from earmark.trainer.workers.audio import process_file
from earmark.trainer.workers.decoding import DecodeFiles, decode
from earmark.trainer.workers.limits import limit_cpu
from earmark.trainer.workers.wire import DecodeRequest

ANY_LENGTH = DecodeRequest(long=True)
LIMITS = audio_pool.decode_limits(TrainerSettings())


@pytest.fixture
def paths(tmp_path):
    return AudioFiles(tmp_path)


@pytest.fixture
def files_for(paths):
    """Descriptors of the files of a source with these bytes."""
    with ExitStack() as stack:

        def write(data):
            paths.source.write_bytes(data)
            return DecodeFiles(*stack.enter_context(paths.opened(stores_audio=True)))

        yield write
    limit_cpu(None)


@pytest.fixture
def samples_of(files_for):
    """What is decoded from these bytes: the facts, and (channels, samples)."""
    return lambda data: decode(ANY_LENGTH, files_for(data), LIMITS)


@pytest.fixture
def duration_of(samples_of):
    """How long the audio of these bytes is, in ms."""
    return lambda data: samples_of(data)[0].duration_ms


@pytest.fixture
def failure_of(files_for):
    """Why these bytes cannot be decoded."""

    def fail(data):
        (outcome,) = process_file(ANY_LENGTH, files_for(data), LIMITS)
        assert outcome.reason == "INVALID_AUDIO"
        return outcome.message

    return fail
