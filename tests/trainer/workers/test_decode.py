import struct

import numpy as np
import pytest
import soundfile

from earmark.trainer.workers.audio import decode, limit_cpu, process_file
from earmark.trainer.workers.formats import UnusableAudioError
from earmark.trainer.workers.wire import DecodeRequest, Failed
from tests.sounds import RATE, bursts, encoded

AUDIO = bursts(3, seed=5)[0]
WAV = encoded(AUDIO, "WAV")
FLAC = encoded(AUDIO, "FLAC")
OGG = encoded(AUDIO, "OGG")
MP3 = encoded(AUDIO, "MP3")


@pytest.fixture
def request_for(tmp_path):
    def write(data):
        (tmp_path / "source").write_bytes(data)
        return DecodeRequest(tmp_path / "source", tmp_path)

    yield write
    limit_cpu(None)


def patched(data, marker, value):
    """Replaces the four bytes behind `marker`."""
    at = data.index(marker) + len(marker)
    return data[:at] + struct.pack("<I", value) + data[at + 4 :]


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "PCM_U8"),
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "FLOAT"),
        ("WAV", "ULAW"),
        ("WAVEX", "PCM_16"),
        ("RF64", "PCM_16"),
        ("FLAC", "PCM_24"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", None),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_is_decoded_at_its_own_rate(request_for, container, subtype, channels):
    tone = 0.5 * np.sin(2 * np.pi * 440 / RATE * np.arange(3 * RATE)[:, None] * [1, 2])
    audio = tone[:, :channels]
    request = request_for(encoded(audio, container, subtype))
    decoded, samples = decode(request)
    assert (decoded.duration_ms, decoded.sample_rate, decoded.channels) == (3000, RATE, channels)
    assert samples.shape == (channels, len(audio))
    assert np.corrcoef(samples.ravel(), audio.T.ravel())[0, 1] > 0.98


@pytest.mark.parametrize(
    ("subtype", "stored"), [("PCM_16", "PCM_16"), ("PCM_24", "PCM_24"), ("FLOAT", "PCM_24")]
)
def test_audio_is_stored_at_the_resolution_of_its_source(request_for, subtype, stored):
    request = request_for(encoded(AUDIO, "WAV", subtype))
    _, samples = decode(request)
    written, _ = soundfile.read(request.audio, dtype="float32", always_2d=True)
    assert soundfile.info(request.audio).subtype == stored
    np.testing.assert_allclose(written.T, samples, atol=0 if subtype.startswith("PCM") else 2**-23)


def test_a_float_file_beyond_full_scale_is_stored_clipped_not_wrapped(request_for):
    request = request_for(encoded(AUDIO * 4, "WAV", "FLOAT"))
    decode(request)
    written, _ = soundfile.read(request.audio, dtype="float32")
    np.testing.assert_allclose(written, (AUDIO * 4).clip(-1, 1), atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_mp3_does_not_shift_time(request_for, rate):
    """LAME prepends 576 samples and its decoder 529; the decoder must remove as many as the header states."""
    audio = np.random.default_rng(0).normal(0, 0.005, 2 * rate)
    audio[rate : rate + 40] += 0.8 * np.sin(np.arange(40) * 0.5)
    _, samples = decode(request_for(encoded(audio, "MP3", rate=rate)))
    assert samples.shape[1] == len(audio)
    lags = np.correlate(samples[0, rate - 2000 : rate + 2040], audio[rate : rate + 40], "valid")
    assert abs(int(np.argmax(lags)) - 2000) <= 1


def test_a_streamed_wav_without_a_length_is_read_to_its_end(request_for):
    decoded, _ = decode(request_for(patched(WAV, b"data", 0xFFFFFFFF)))
    assert decoded.duration_ms == 3000


def test_tags_before_and_after_the_audio_are_skipped(request_for):
    tag = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)
    for data in (tag + MP3, MP3 + b"TAG" + bytes(125)):
        assert decode(request_for(data))[0].duration_ms == 3000


UNUSABLE = {
    "empty": (b"", "empty (0 bytes)"),
    "text": (b"Dear Sir or Madam", "not audio in a known format (its 17 bytes begin with 44 65 61"),
    "one byte": (b"\xff", "not audio in a known format"),
    "mp4": (b"\0\0\0\x20ftypM4A \0\0\0\0", "MP4/M4A is not yet supported, only WAV, FLAC, MP3 and OGG"),
    "webm": (b"\x1aE\xdf\xa3" + bytes(60), "WebM/Matroska is not yet supported"),
    "aac": (b"\xff\xf1\x50\x80" + bytes(60), "AAC is not yet supported"),
    "aiff": (encoded(AUDIO, "AIFF"), "AIFF is not yet supported"),
    "theora": (b"OggS" + bytes(24) + b"\x80theora" + bytes(60), "begins like OGG but cannot be read"),
    "wav cut short": (
        WAV[:20_000],
        "cut short: its header announces 96,000 bytes of audio, 19,956 are there",
    ),
    "wav cut in its header": (WAV[:30], "ends before its audio begins"),
    "wav never finished": (patched(WAV, b"data", 0), "announces no audio but 96,000 bytes follow"),
    "flac cut short": (FLAC[: len(FLAC) // 2], "the file is damaged"),
    "ogg cut short": (OGG[: len(OGG) // 2], "ends in the middle of an OGG page"),
    "mp3 cut short": (MP3[: len(MP3) // 2], "its header announces 3.00 s of audio"),
    "mp3 joined": (MP3 * 20, "several MP3 streams are joined"),
    "no samples": (encoded(AUDIO[:0], "WAV"), "contains no audio (0 samples)"),
    "short": (encoded(AUDIO[: RATE // 20], "WAV"), "50 ms long, at least 100 ms"),
    "channels": (encoded(np.zeros((RATE, 9)), "WAV"), "9 channels, 1 to 8 are supported"),
    "low rate": (encoded(AUDIO, "WAV", rate=7_999), "7,999 Hz; 8,000 to 192,000 Hz"),
    "odd rate": (encoded(AUDIO, "WAV", rate=96_001), "96,001 Hz"),
    "not finite": (encoded(np.append(AUDIO, np.nan), "WAV", "FLOAT"), "at 3.000 s is not a finite number"),
    "integers": (encoded(AUDIO * 32768, "WAV", "FLOAT"), "integers stored as floating point"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_an_unusable_file_is_described(request_for, case):
    data, message = UNUSABLE[case]
    outcome = process_file(request_for(data), connection=None)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "INVALID_AUDIO"
    assert message in outcome.message


def test_a_header_that_announces_hours_is_refused_before_anything_is_allocated(request_for):
    silence = encoded(np.zeros(60 * 8_000, np.int16), "FLAC", rate=8_000)
    hours = 7 * 3600 * 8_000
    at = silence.index(b"fLaC") + 8 + 10  # STREAMINFO: 20 bits rate, 3 channels, 5 depth, 36 samples
    fields = int.from_bytes(silence[at : at + 8])
    announced = (fields >> 36 << 36 | hours).to_bytes(8)
    with pytest.raises(UnusableAudioError, match=r"7\.0 hours"):
        decode(request_for(silence[:at] + announced + silence[at + 8 :]))
