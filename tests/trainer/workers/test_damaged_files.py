"""A file of which bytes are missing, or that is not supported, is refused in words that say what to do."""

import numpy as np
import pytest

from tests.clips import written
from tests.sounds import RATE, encoded

NOISE = np.random.default_rng(3).normal(0, 0.1, (2 * RATE, 1)).astype(np.float32)
HIGH = np.resize(NOISE, (2 * 48_000, 1))
LIVE = {"movflags": "frag_keyframe+empty_moov", "frag_duration": "300000"}

FILES = {
    "WAV": encoded(NOISE, "WAV"),
    "RF64": encoded(NOISE, "RF64"),
    "W64": encoded(NOISE, "W64"),
    "AIFF": encoded(NOISE, "AIFF"),
    "AU": encoded(NOISE, "AU"),
    "CAF": encoded(NOISE, "CAF"),
    "FLAC": encoded(NOISE, "FLAC"),
    "MP3": written(NOISE, "mp3", "libmp3lame", RATE),
    "MP3 without a header frame": written(NOISE, "mp3", "libmp3lame", RATE, write_xing="0"),
    "Vorbis": encoded(NOISE, "OGG"),
    "Opus": encoded(HIGH, "OGG", "OPUS", 48_000),
    "FLAC in OGG": written(NOISE, "ogg", "flac", RATE),
    "AAC": written(NOISE, "adts", "aac", RATE),
    "M4A": written(NOISE, "ipod", "aac", RATE),
    "ALAC": written(NOISE, "ipod", "alac", RATE),
    "MP4 in fragments": written(NOISE, "mp4", "aac", RATE, **LIVE),
    "WebM": written(HIGH, "webm", "libopus", 48_000),
    "live WebM": written(HIGH, "webm", "libopus", 48_000, live="1"),
    "Matroska": written(NOISE, "matroska", "aac", RATE),
    "AMR": written(NOISE[::2], "amr", "libopencore_amrnb", 8_000, bit_rate=12_200),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.9, 0.5])
def test_a_file_that_is_cut_short_is_refused(failure_of, name, share):
    data = FILES[name]
    message = failure_of(data[: int(len(data) * share) - 1])
    assert "cut short" in message or "damaged" in message


CHECKED = ("FLAC", "MP3", "Vorbis", "Opus", "FLAC in OGG", "AAC", "WebM", "live WebM", "Matroska", "AMR")


@pytest.mark.parametrize("name", CHECKED)
def test_a_file_that_lacks_bytes_in_the_middle_is_refused(failure_of, name):
    data = FILES[name]
    middle = len(data) // 2
    failure_of(data[:middle] + data[middle + 300 :])


UNSUPPORTED = {
    "AAC in ADIF": b"ADIF" + bytes(60),
    "AAC in LOAS": b"\x56\xe0" + bytes(60),
    "AC-3": b"\x0b\x77" + bytes(60),
    "AVI": b"RIFF\0\0\0\0AVI " + bytes(60),
    "DTS": b"\x7f\xfe\x80\x01" + bytes(60),
    "Flash video": b"FLV\x01" + bytes(60),
    "MIDI": b"MThd" + bytes(60),
    "MPEG transport stream": (b"G" + bytes(187)) * 4,
    "Monkey's Audio": b"MAC " + bytes(60),
    "WavPack": b"wvpk" + bytes(60),
    "a playlist": b"#EXTM3U\n/etc/passwd\n",
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_supported_is_refused_by_its_name(failure_of, name):
    message = failure_of(UNSUPPORTED[name])
    assert message.startswith(f"{name} is not supported, only WAV")
    assert "ffmpeg -i" in message


def test_a_codec_that_is_not_supported_is_refused_by_its_name(failure_of):
    data = written(HIGH, "matroska", "tta", 48_000)
    assert "the audio is of the codec tta, which is not supported" in failure_of(data)


def test_a_video_without_audio_is_refused(failure_of):
    data = written(NOISE, "matroska", "aac", RATE, with_video=True)
    silent = data.replace(b"\x83\x81\x02", b"\x83\x81\x11")  # its audio track becomes one of subtitles
    assert "has no audio track" in failure_of(silent)


@pytest.mark.parametrize(
    "data",
    [b"<?xml version='1.0'?><MPD/>", b"ffconcat version 1.0\nfile /etc/passwd", b"v=0\r\no=- 0 0 IN IP4 x"],
)
def test_what_names_other_files_is_no_audio(failure_of, data):
    assert "not audio in a known format" in failure_of(data)
