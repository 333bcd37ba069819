"""Whatever a header says, and whatever an encoder left out: a file is as long as what is decoded from it."""

import io
import struct

import numpy as np
import pytest
import soundfile

from earmark.trainer.workers.containers.mpeg import parse_header
from tests.clips import remuxed, with_total, written
from tests.oggs import pages, with_serial
from tests.sounds import RATE, bursts, encoded

AUDIO = bursts(3, seed=5)[0]
NOISE = np.random.default_rng(3).normal(0, 0.1, (2 * RATE, 1)).astype(np.float32)
WAV = encoded(NOISE, "WAV")
FLAC = encoded(AUDIO, "FLAC")
ID3 = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)


def variable_mp3(audio):
    """MP3 of a variable bit rate, with a header frame that says how long it is."""
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, RATE, format="MP3", bitrate_mode="VARIABLE", compression_level=0.2)
    return buffer.getvalue()


def without_first_frame(mp3):
    return mp3[parse_header(mp3[:4]).length :]


def with_data_size(wav, size):
    at = wav.index(b"data") + 4
    return wav[:at] + struct.pack("<I", size) + wav[at + 4 :]


def with_chunk(wav, chunk):
    """The file with this in front of its audio."""
    at = wav.index(b"data")
    return wav[:at] + chunk + wav[at:]


def with_unknown_clusters(webm):
    """The file as browsers write it: its clusters have no sizes either."""
    cluster, unknown, position = b"\x1f\x43\xb6\x75", b"\x01" + b"\xff" * 7, 0
    while (position := webm.find(cluster, position) + 4) >= 4:
        size_bytes = 9 - webm[position].bit_length()
        webm = webm[:position] + unknown + webm[position + size_bytes :]
    return webm


@pytest.mark.parametrize("loud_first", [True, False])
def test_mp3_of_a_variable_rate_without_a_header_frame(duration_of, loud_first):
    loud = np.random.default_rng(1).normal(0, 0.2, 3 * RATE)
    halves = (loud, np.zeros(9 * RATE)) if loud_first else (np.zeros(9 * RATE), loud)
    assert 12_000 <= duration_of(without_first_frame(variable_mp3(np.concatenate(halves)))) <= 12_100


@pytest.mark.parametrize("streams", [2, 3, 20])
@pytest.mark.parametrize("seconds", [0.5, 2, 40])
def test_joined_mp3_streams_are_decoded_in_full(duration_of, streams, seconds):
    one = variable_mp3(np.resize(NOISE, (int(seconds * RATE), 1)))
    # Padding, the next header frame and the encoder's delay are sound to players too: 180 ms at most.
    assert 0 <= duration_of(one * streams) - streams * seconds * 1000 <= 180 * (streams - 1)


def test_tags_between_joined_mp3_streams_are_skipped(duration_of):
    mp3 = variable_mp3(NOISE)
    plain = duration_of(mp3 + mp3)
    for tag in (ID3, b"TAG" + bytes(125), ID3 + ID3):
        assert duration_of(ID3 + mp3 + tag + mp3 + tag) == plain


@pytest.mark.parametrize("rate", [8_000, 11_025, 12_000, 22_050, 44_100])
def test_mp3_without_a_header_frame_is_whole_at_every_rate(duration_of, rate):
    mp3 = written(NOISE[: rate + 77], "mp3", "libmp3lame", rate, write_xing="0", id3v2_version="0")
    frames = 0
    for _ in frames_of(mp3):
        frames += 1
    samples = frames * parse_header(mp3[:4]).samples
    assert duration_of(mp3) == samples * 1000 // rate


def frames_of(mp3):
    position = 0
    while position < len(mp3):
        yield position
        position += parse_header(mp3[position : position + 4]).length


def test_mp3_of_free_format_is_decoded(duration_of):
    audio = np.resize(NOISE, (2 * 48_000, 1))
    mp3 = bytearray(
        written(audio, "mp3", "libmp3lame", 48_000, bit_rate=128_000, write_xing="0", id3v2_version="0")
    )
    for position in [*frames_of(bytes(mp3))]:
        mp3[position + 2] &= 0x0F
    assert 2000 <= duration_of(bytes(mp3)) <= 2060


def test_mpeg_layer_one_is_decoded(duration_of):
    silent = b"\xff\xff\x18\xc0" + bytes(44)  # 32 kbit/s at 32 kHz, mono: 48 bytes for 384 samples
    assert duration_of(silent * 250) == 3000


@pytest.mark.parametrize("codec", ["libmp3lame", "mp2"])
def test_mpeg_audio_in_wav_is_decoded(duration_of, codec):
    audio = np.resize(NOISE, (2 * 48_000, 1))
    assert 2000 <= duration_of(written(audio, "wav", codec, 48_000)) <= 2050


@pytest.mark.parametrize(("subtype", "rate"), [("VORBIS", RATE), ("OPUS", 48_000)])
def test_chained_ogg_files_are_decoded_in_full(samples_of, subtype, rate):
    first, second = (encoded(np.resize(audio, 2 * rate), "OGG", subtype, rate) for audio in (NOISE, AUDIO))
    _, alone = samples_of(second)
    alone = alone.copy()
    decoded, samples = samples_of(with_serial(first, 1) + with_serial(second, 2))
    assert decoded.duration_ms == 4000
    np.testing.assert_array_equal(samples[:, -2 * rate :], alone)


def test_a_chain_that_changes_its_rate_is_refused_by_name(failure_of):
    chain = with_serial(encoded(NOISE, "OGG"), 1) + with_serial(encoded(NOISE, "OGG", rate=8_000), 2)
    assert "changes from 1 channel(s) at 16,000 Hz to 1 at 8,000 Hz" in failure_of(chain)


def test_opus_without_a_last_page_ends_where_its_pages_end(samples_of):
    ogg = b"".join([*pages(encoded(np.resize(NOISE, 5 * RATE), "OGG", "OPUS"))][:-1])
    *_, last = pages(ogg)
    skipped = struct.unpack_from("<H", ogg, ogg.index(b"OpusHead") + 10)[0]
    assert samples_of(ogg)[1].shape[1] == struct.unpack_from("<q", last, 6)[0] - skipped


def test_the_gain_of_an_opus_header_is_applied(samples_of):
    ogg = encoded(np.resize(AUDIO, 3 * 48_000), "OGG", "OPUS", 48_000)
    _, plain = samples_of(ogg)
    plain = plain.copy()
    at = ogg.index(b"OpusHead") + 16
    quiet = with_serial(ogg[:at] + struct.pack("<h", -6 * 256) + ogg[at + 2 :], 7)
    _, samples = samples_of(quiet)
    np.testing.assert_allclose(samples, plain * 10 ** (-6 / 20), atol=1e-4)


@pytest.mark.parametrize("total", [0, RATE])
def test_flac_whose_total_is_unknown_or_too_small(samples_of, total):
    decoded, samples = samples_of(with_total(FLAC, total))
    assert decoded.duration_ms == 3000
    np.testing.assert_allclose(samples[0], AUDIO, atol=2**-15)


@pytest.mark.parametrize("excess", [1, 16, 44])
def test_wav_whose_size_is_a_little_too_large(duration_of, excess):
    assert duration_of(with_data_size(WAV, len(NOISE) * 2 + excess)) == 2000


def test_wav_whose_size_was_never_written(samples_of):
    decoded, samples = samples_of(with_data_size(WAV, 0))
    assert decoded.duration_ms == 2000
    np.testing.assert_allclose(samples[0], NOISE[:, 0], atol=2**-15)


@pytest.mark.parametrize(
    "chunk", [b"LIST\x05\0\0\0INFOx", b"LIST\x05\0\0\0INFOx\0", b"bext\x03\0\0\0abc", b"junk\0\0\0\0"]
)
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT", "MS_ADPCM"])
def test_wav_with_a_chunk_of_odd_length_with_or_without_padding(samples_of, chunk, subtype):
    wav = encoded(NOISE, "WAV", subtype)
    _, plain = samples_of(wav)
    plain = plain.copy()
    np.testing.assert_array_equal(samples_of(with_chunk(wav, chunk))[1], plain)


def test_webm_of_a_live_recorder_has_no_duration(duration_of):
    audio = np.resize(NOISE, (2 * 48_000, 1))
    webm = written(audio, "webm", "libopus", 48_000, live="1")
    assert b"\x44\x89" not in webm[: webm.index(b"\x1f\x43\xb6\x75")]  # the element of a duration
    assert duration_of(webm) == 2000
    assert duration_of(with_unknown_clusters(webm)) == 2000


@pytest.mark.parametrize(
    ("container", "codec"), [("webm", "libopus"), ("mp4", "aac"), ("matroska", "flac"), ("mov", "aac")]
)
def test_a_gap_in_a_recording_is_silence(samples_of, container, codec):
    audio = np.resize(NOISE, (2 * 48_000, 1))
    _, samples = samples_of(written(audio, container, codec, 48_000, gap=(48_000, 24_000)))
    assert samples.shape[1] == pytest.approx(120_000, abs=1_100)
    assert np.abs(samples[:, 53_000:71_500]).max() < 1e-3
    assert np.abs(samples[:, 77_000:80_000]).max() > 0.1


def test_a_gap_of_many_minutes_is_damage(failure_of):
    webm = written(np.resize(NOISE, (48_000, 1)), "webm", "libopus", 48_000, gap=(24_000, 660 * 48_000))
    assert "11 minutes are missing between two timestamps" in failure_of(webm)


def test_jitter_of_timestamps_is_no_gap(samples_of):
    audio = np.resize(NOISE, (2 * 48_000, 1))
    webm = written(audio, "webm", "libopus", 48_000, gap=(48_000, 48_000 * 30 // 1000))
    assert samples_of(webm)[1].shape[1] == len(audio)


def test_the_audio_of_a_video_is_decoded(samples_of):
    for container in ("mp4", "matroska", "mov"):
        data = written(np.repeat(NOISE, 2, axis=1), container, "aac", RATE, with_video=True)
        decoded, samples = samples_of(data)
        assert decoded.channels == 2
        assert samples.shape[1] == pytest.approx(len(NOISE), abs=1_024)


def test_vorbis_in_webm_is_decoded(duration_of):
    assert duration_of(remuxed(encoded(NOISE, "OGG"), "ogg", "webm")) == pytest.approx(2000, abs=64)


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_every_channel_of_compressed_audio_is_decoded(samples_of, channels):
    audio = NOISE[:16_000] * np.arange(1, channels + 1, dtype=np.float32) / channels
    decoded, samples = samples_of(encoded(audio, "OGG", rate=48_000))
    assert decoded.channels == len(samples) == channels
    levels = np.abs(samples[:, 2_000:14_000]).mean(axis=1)
    np.testing.assert_allclose(levels.max(), np.abs(audio[:, -1]).mean(), rtol=0.2)
