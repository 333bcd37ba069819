"""Which track of a file is decoded, where it begins and ends, and codecs that no encoder here writes."""

import io
import struct

import av
import numpy as np
import pytest
import soundfile

from earmark.trainer.workers.containers import flac
from tests.clips import frames, written
from tests.oggs import page
from tests.sounds import RATE, encoded

NOISE = np.random.default_rng(3).normal(0, 0.1, (2 * RATE + 77, 1)).astype(np.float32)
HIGH = np.random.default_rng(4).normal(0, 0.1, (2 * 48_000, 1)).astype(np.float32)
WB_SILENCE = b"\x7c"  # a frame of AMR-WB without data, 20 ms
SPEEX_HEAD = b"Speex   " + b"1.2".ljust(20, b"\0")


def two_tracks(container, default):
    """A quiet and a loud track; one of them, or none, is marked as the default."""
    buffer = io.BytesIO()
    buffer.name = "clip"
    with av.open(buffer, "w", format=container) as output:
        streams = [output.add_stream("aac", rate=RATE, layout="mono") for _ in range(2)]
        for number, stream in enumerate(streams):
            stream.disposition = av.stream.Disposition.default if number == default else 0
        for stream, gain in zip(streams, (0.01, 1), strict=True):
            for frame in frames(gain * NOISE, stream, 0, None):
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize(("default", "is_loud"), [(0, False), (1, True), (None, False)])
@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_the_default_track_is_decoded_or_the_first(samples_of, container, default, is_loud):
    _, samples = samples_of(two_tracks(container, default))
    assert (np.abs(samples).max() > 0.1) == is_loud


@pytest.mark.parametrize("container", ["mp4", "matroska", "mov"])
def test_audio_that_begins_after_the_picture_is_as_late_as_in_a_player(samples_of, container):
    data = written(HIGH, container, "aac", 48_000, with_video=True, start=24_000)
    _, samples = samples_of(data)
    assert samples.shape[1] == pytest.approx(24_000 + len(HIGH), abs=500)
    assert np.abs(samples[:, :22_000]).max() < 1e-3
    assert np.abs(samples[:, 26_000:30_000]).max() > 0.1


def box(name, *parts):
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), name) + content


def with_itunes_lengths(m4a, text):
    """The file with iTunes' note in its metadata, which are the last of its boxes."""
    added = box(
        b"----",
        box(b"mean", bytes(4), b"com.apple.iTunes"),
        box(b"name", bytes(4), b"iTunSMPB"),
        box(b"data", struct.pack(">II", 1, 0), text.encode()),
    )
    data = bytearray(m4a + added)
    for parent in (b"moov", b"udta", b"meta", b"ilst"):
        at = m4a.rindex(parent) - 4
        data[at : at + 4] = (int.from_bytes(m4a[at : at + 4]) + len(added)).to_bytes(4)
    return bytes(data)


def test_the_lengths_that_itunes_notes_are_taken_off(samples_of):
    plain = written(NOISE, "ipod", "aac", RATE, use_editlist="0")
    noted = with_itunes_lengths(plain, f" 00000000 00000400 000001B3 {len(NOISE):016X} 00000000")
    assert samples_of(plain)[1].shape[1] > len(NOISE) + 1000
    _, samples = samples_of(noted)
    assert samples.shape[1] == len(NOISE)
    assert np.corrcoef(samples[0], NOISE[:, 0])[0, 1] > 0.9


@pytest.mark.parametrize("text", ["", "hello", " 0 0 0 ", " 0 400 1B3 " + "F" * 40, " 0 400 1B3 -5"])
def test_a_note_that_is_none_is_ignored(samples_of, text):
    plain = written(NOISE, "ipod", "aac", RATE)
    assert samples_of(with_itunes_lengths(plain, text))[1].shape[1] == pytest.approx(len(NOISE), abs=16)


def test_flac_of_32_bits_is_decoded(samples_of, paths):
    buffer = io.BytesIO()
    buffer.name = "clip"
    with av.open(buffer, "w", format="flac") as output:
        stream = output.add_stream("flac", rate=RATE, layout="mono", options={"strict": "-2"})
        stream.format = "s32"
        for frame in frames(NOISE, stream, 0, None):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    data = buffer.getvalue()
    assert (int.from_bytes(data[18:26]) >> 36 & 31) + 1 == 32
    np.testing.assert_allclose(samples_of(data)[1].T, NOISE, atol=2**-24)
    assert soundfile.info(paths.audio).subtype == "PCM_24"


def crc16(data):
    """With the polynomial x^16 + x^15 + x^2 + 1."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x8005 if crc & 0x8000 else 0)) & 0xFFFF
    return crc


def test_flac_of_12_bits_is_decoded(samples_of):
    """No encoder here writes it: each frame is 4,096 times the same value, half of full scale."""
    fields = RATE << 44 | 11 << 36 | 8 * 4096
    info = struct.pack(">HH6xQ16x", 4096, 4096, fields)
    data = b"fLaC\x80" + len(info).to_bytes(3) + info
    for number in range(8):
        head = bytes([0xFF, 0xF8, 0xC0, 0x04, number])
        frame = head + bytes([flac.crc8(head)]) + bytes([0, 0x40, 0])
        data += frame + crc16(frame).to_bytes(2)
    decoded, samples = samples_of(data)
    assert decoded.duration_ms == 8 * 4096 * 1000 // RATE
    assert (samples == 0.5).all()


def test_amr_of_wide_band_is_decoded(samples_of):
    decoded, samples = samples_of(b"#!AMR-WB\n" + WB_SILENCE * 100)
    assert (decoded.duration_ms, decoded.sample_rate) == (2000, 16_000)
    assert not samples.any()


def test_speex_is_decoded(duration_of):
    head = SPEEX_HEAD + struct.pack("<13i", 1, 80, 8_000, 0, 4, 1, -1, 160, 0, 1, 0, 0, 0)
    silence = [b"\x0f\x80"] * 50  # frames of the mode for silence, 20 ms each
    pages = [
        page([head], 0, 0, first=True),
        page([bytes(8)], 1, 0),
        page(silence, 2, 50 * 160),
        page(silence, 3, 100 * 160),
    ]
    assert duration_of(b"".join(pages)) == 2000


@pytest.mark.parametrize("peak", [2.0, 15.9])
def test_a_float_file_may_be_louder_than_full_scale(duration_of, peak):
    assert duration_of(encoded(NOISE / np.abs(NOISE).max() * peak, "WAV", "FLOAT")) == 2004


def test_integers_stored_as_floats_are_refused(failure_of):
    assert "reach 32,767" in failure_of(encoded(NOISE / np.abs(NOISE).max() * 32_767, "WAV", "FLOAT"))
