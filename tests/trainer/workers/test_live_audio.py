"""What comes is decoded as the file is, in the formats that can be decoded as they come."""

import os
import threading
from contextlib import suppress

import numpy as np
import pytest

from earmark.trainer.workers.containers.errors import UnusableAudioError
from earmark.trainer.workers.live_audio import PcmSource
from earmark.trainer.workers.sources import open_live
from tests.clips import written
from tests.sounds import RATE, encoded, speech

AUDIO = speech(3, seed=1)
FORMATS = {
    "WAV": encoded(AUDIO, "WAV"),
    "WAV of 24 bits": encoded(AUDIO, "WAV", "PCM_24"),
    "WAV of floats": encoded(AUDIO, "WAV", "FLOAT"),
    "FLAC": encoded(AUDIO, "FLAC"),
    "Vorbis": encoded(AUDIO, "OGG", "VORBIS"),
    "Opus": encoded(AUDIO, "OGG", "OPUS"),
    "MP3": encoded(AUDIO, "MP3"),
    "WebM": written(AUDIO[:, None], "webm", "libopus", 48_000),
    "AAC": written(AUDIO[:, None], "adts", "aac", RATE),
}


def coming(data, read):
    """What `read` returns of a descriptor from which these bytes come in parts."""
    ours, theirs = os.pipe()

    def write():
        # What is refused is not read to its end.
        with os.fdopen(theirs, "wb", buffering=0) as file, suppress(BrokenPipeError):
            for at in range(0, len(data), 777):
                file.write(data[at : at + 777])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        return read(ours)
    finally:
        os.close(ours)
        writer.join()


def decoded(source):
    blocks = list(source.blocks(1_000))
    return source.sample_rate, np.concatenate(blocks), len(blocks)


@pytest.mark.parametrize("name", FORMATS)
def test_what_comes_is_decoded_as_the_file_is(samples_of, name):
    rate, samples, blocks = coming(FORMATS[name], lambda descriptor: decoded(open_live(descriptor)))
    facts, whole = samples_of(FORMATS[name])
    assert rate == facts.sample_rate
    assert blocks > 10
    # Where a stream's end is not known before, the padding of its encoder may remain.
    assert 0 <= len(samples) - whole.shape[1] < rate // 10
    np.testing.assert_array_equal(samples[: whole.shape[1]].T, whole)


def test_samples_come_as_they_are_whatever_the_parts():
    values = np.arange(-3_000, 3_000, dtype="<i2").reshape(-1, 2)
    rate, samples, _ = coming(
        values.tobytes(), lambda descriptor: decoded(PcmSource(descriptor, RATE, 2, is_float=False))
    )
    assert rate == RATE
    np.testing.assert_array_equal(samples, values / np.float32(1 << 15))


@pytest.mark.parametrize("data", [b"", b"hello" * 100, encoded(AUDIO, "AIFF"), b"ID3"])
def test_what_cannot_be_decoded_as_it_comes_is_refused_in_words(data):
    with pytest.raises(UnusableAudioError) as caught:
        coming(data, open_live)
    assert len(str(caught.value)) > 30
