import struct
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from earmark.trainer.workers.audio import process_file
from earmark.trainer.workers.containers.errors import UnusableAudioError
from earmark.trainer.workers.decoding import LONG_SAMPLES, DecodeFiles, decode
from earmark.trainer.workers.limits import limit_cpu
from earmark.trainer.workers.wire import Decoded, DecodeFailed, DecodeRequest, Featured, Long
from tests.clips import with_total, written
from tests.sounds import RATE, bursts, encoded
from tests.trainer.workers.conftest import ANY_LENGTH, LIMITS

AUDIO = bursts(3, seed=5)[0]
WAV = encoded(AUDIO, "WAV")
FLAC = encoded(AUDIO, "FLAC")
OGG = encoded(AUDIO, "OGG")
MP3 = encoded(AUDIO, "MP3")

SHORT_ONLY = DecodeRequest(long=False)


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
def test_every_format_is_decoded_at_its_own_rate(files_for, container, subtype, channels):
    rate = 48_000 if subtype == "OPUS" else RATE  # the only rate that Opus has
    tone = 0.5 * np.sin(2 * np.pi * 440 / rate * np.arange(3 * rate)[:, None] * [1, 2])
    audio = tone[:, :channels]
    data = encoded(audio, container, subtype, rate)
    decoded, samples = decode(ANY_LENGTH, files_for(data), LIMITS)
    assert (decoded.duration_ms, decoded.sample_rate, decoded.channels) == (3000, rate, channels)
    assert samples.shape == (channels, len(audio))
    assert np.corrcoef(samples.ravel(), audio.T.ravel())[0, 1] > 0.98


@pytest.mark.parametrize(
    ("subtype", "stored"), [("PCM_16", "PCM_16"), ("PCM_24", "PCM_24"), ("FLOAT", "PCM_24")]
)
def test_audio_is_stored_at_the_resolution_of_its_source(files_for, paths, subtype, stored):
    _, samples = decode(ANY_LENGTH, files_for(encoded(AUDIO, "WAV", subtype)), LIMITS)
    written, _ = soundfile.read(paths.audio, dtype="float32", always_2d=True)
    assert soundfile.info(paths.audio).subtype == stored
    np.testing.assert_allclose(written.T, samples, atol=0 if subtype.startswith("PCM") else 2**-23)


def test_a_float_file_beyond_full_scale_is_stored_clipped_not_wrapped(files_for, paths):
    decode(ANY_LENGTH, files_for(encoded(AUDIO * 4, "WAV", "FLOAT")), LIMITS)
    written, _ = soundfile.read(paths.audio, dtype="float32")
    np.testing.assert_allclose(written, (AUDIO * 4).clip(-1, 1), atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_mp3_does_not_shift_time(files_for, rate):
    """LAME prepends 576 samples and its decoder 529; the decoder must remove as many as the header states."""
    audio = np.random.default_rng(0).normal(0, 0.005, 2 * rate)
    audio[rate : rate + 40] += 0.8 * np.sin(np.arange(40) * 0.5)
    _, samples = decode(ANY_LENGTH, files_for(encoded(audio, "MP3", rate=rate)), LIMITS)
    assert samples.shape[1] == len(audio)
    lags = np.correlate(samples[0, rate - 2000 : rate + 2040], audio[rate : rate + 40], "valid")
    assert abs(int(np.argmax(lags)) - 2000) <= 1


def test_a_streamed_wav_without_a_length_is_read_to_its_end(files_for):
    decoded, _ = decode(ANY_LENGTH, files_for(patched(WAV, b"data", 0xFFFFFFFF)), LIMITS)
    assert decoded.duration_ms == 3000


def test_tags_before_and_after_the_audio_are_skipped(files_for):
    tag = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)
    for data in (tag + MP3, MP3 + b"TAG" + bytes(125)):
        assert decode(ANY_LENGTH, files_for(data), LIMITS)[0].duration_ms == 3000


UNUSABLE = {
    "empty": (b"", "empty (0 bytes)"),
    "text": (b"Dear Sir or Madam", "not audio in a known format (its 17 bytes begin with 44 65 61"),
    "one byte": (b"\xff", "not audio in a known format"),
    "mp4 without its index": (b"\0\0\0\x14ftypM4A \0\0\0\0M4A ", "no list of its contents (moov)"),
    "webm": (b"\x1aE\xdf\xa3" + bytes(60), "the file is damaged"),
    "aac": (b"\xff\xf1\x50\x80" + bytes(60), "contains no audio"),
    "mp3 of broken frames": (
        b"\xff\xfb\x90\x00" * 5_000,
        "begins like MP3 but cannot be read: it is damaged",
    ),
    "mp3 beyond full scale": (
        b"".join(b"\xff\xfb\x90\x00" + bytes([number % 251]) * 413 for number in range(2_500)),
        "the file is damaged",
    ),
    "ogg of zeros": (b"OggS" + bytes(100), "the file is damaged"),
    "wav cut short": (
        WAV[:20_000],
        "cut short: its header announces 96,000 bytes of audio, 19,956 are there",
    ),
    "wav cut in its header": (WAV[:30], "ends before its audio begins"),
    "flac cut short": (FLAC[: len(FLAC) // 2], "the file is damaged"),
    "ogg cut short": (OGG[: len(OGG) // 2], "ends in the middle of an OGG page"),
    "mp3 cut short": (MP3[: len(MP3) // 2], "ends in the middle of an MP3 frame"),
    "no samples": (encoded(AUDIO[:0], "WAV"), "contains no audio (0 samples)"),
    "short": (encoded(AUDIO[: RATE // 20], "WAV"), "50 ms long, at least 100 ms"),
    "channels": (encoded(np.zeros((RATE, 9)), "WAV"), "9 channels, 1 to 8 are supported"),
    "low rate": (encoded(AUDIO, "WAV", rate=7_999), "7,999 Hz; 8,000 to 192,000 Hz"),
    "odd rate": (encoded(AUDIO, "WAV", rate=96_001), "96,001 Hz"),
    "not finite": (encoded(np.append(AUDIO, np.nan), "WAV", "FLOAT"), "at 3.000 s is not a finite number"),
    "integers": (encoded(AUDIO * 32768, "WAV", "FLOAT"), "integers stored as floating point"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_an_unusable_file_is_described(files_for, case):
    data, message = UNUSABLE[case]
    (outcome,) = process_file(ANY_LENGTH, files_for(data), LIMITS)
    assert isinstance(outcome, DecodeFailed)
    assert outcome.reason == "INVALID_AUDIO"
    assert message in outcome.message


def test_a_header_that_announces_hours_is_refused_before_anything_is_allocated(files_for):
    silence = encoded(np.zeros(60 * 8_000, np.int16), "FLAC", rate=8_000)
    hours = 7 * 3600 * 8_000
    at = silence.index(b"fLaC") + 8 + 10  # STREAMINFO: 20 bits rate, 3 channels, 5 depth, 36 samples
    fields = int.from_bytes(silence[at : at + 8])
    announced = (fields >> 36 << 36 | hours).to_bytes(8)
    with pytest.raises(UnusableAudioError, match=r"7:00:00 hours"):
        decode(ANY_LENGTH, files_for(silence[:at] + announced + silence[at + 8 :]), LIMITS)


def test_a_long_file_is_decoded_only_when_it_may_be_long(files_for):
    long = encoded(np.zeros(LONG_SAMPLES + 1, np.int16), "FLAC")
    assert [*process_file(SHORT_ONLY, files_for(long), LIMITS)] == [Long()]
    short = encoded(AUDIO, "WAV")
    outcomes = [*process_file(SHORT_ONLY, files_for(short), LIMITS)]
    assert outcomes == [Decoded(3000, RATE, 1), Featured()]


BOMB = encoded(np.zeros((192_000, 8), np.int16), "FLAC", rate=192_000)


@pytest.mark.parametrize(
    ("limits", "data", "message"),
    [
        (LIMITS, BOMB, "8 channels at 192,000 Hz are 1,536,000 samples a second; at most 400,000"),
        (replace(LIMITS, max_samples=47_999), WAV, "is 0:00:03 hours of 1 channel(s) at 16,000 Hz"),
        (replace(LIMITS, scratch_bytes=300_000), WAV, "MiB are allowed for one file"),
    ],
)
def test_a_file_that_costs_too_much_is_refused_by_its_header(files_for, limits, data, message):
    (outcome,) = process_file(ANY_LENGTH, files_for(data), limits)
    assert outcome.reason == "INVALID_AUDIO"
    assert message in outcome.message


UNKNOWN_TOTAL = with_total(encoded(np.zeros((LONG_SAMPLES // 2 + 1, 2), np.int16), "FLAC"), 0)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (replace(LIMITS, max_samples=1 << 20), "at most 6 hours and 1,048,576 samples"),
        (replace(LIMITS, scratch_bytes=8 << 20), "8 MiB are allowed for one file"),
    ],
)
def test_limits_apply_to_what_comes_out_of_a_file_that_announces_nothing(files_for, limits, message):
    (outcome,) = process_file(ANY_LENGTH, files_for(UNKNOWN_TOTAL), limits)
    assert outcome.reason == "INVALID_AUDIO"
    assert message in outcome.message


def test_a_file_that_announces_nothing_is_long_when_much_has_come_out(files_for):
    assert [*process_file(SHORT_ONLY, files_for(UNKNOWN_TOTAL), LIMITS)] == [Long()]


def test_silence_that_was_not_recorded_counts_for_the_limits(files_for):
    audio = np.zeros((48_000, 1))
    webm = written(audio, "webm", "libopus", 48_000, gap=(24_000, 300 * 48_000))
    (outcome,) = process_file(ANY_LENGTH, files_for(webm), replace(LIMITS, max_samples=1 << 20))
    assert "at most 6 hours and 1,048,576 samples" in outcome.message


def test_the_audio_is_not_encoded_if_nobody_asks_for_it(paths):
    paths.source.write_bytes(WAV)
    with paths.opened(stores_audio=False) as descriptors:
        outcomes = [*process_file(ANY_LENGTH, DecodeFiles(*descriptors), LIMITS)]
    limit_cpu(None)
    assert outcomes == [Decoded(3000, RATE, 1), Featured()]
    assert not paths.audio.exists()
