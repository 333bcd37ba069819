"""One clip of each format, made by an encoder, with a click and a dropout at known samples."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.clips import remuxed, written
from tests.sounds import encoded

SECONDS = 2
ODD_SAMPLES = 123  # so that no format's block ends where the clip does
CLICK_AT, CLICK_SECONDS = 0.7, 0.01
DROPOUT_AT, DROPOUT_SECONDS = 1.4, 0.06

Make = Callable[[np.ndarray, int], bytes]


@dataclass(frozen=True, slots=True)
class Format:
    """A container and a codec. `is_exact`: the file says where its audio begins and ends, or needs not."""

    container: str
    codec: str
    make: Make
    rate: int = 44_100
    channels: int = 1
    is_lossless: bool = False
    is_exact: bool = True


def sound(rate: int, channels: int) -> np.ndarray:
    """(samples, channels): noise with a loud burst and a dropout."""
    rng = np.random.default_rng(11)
    noise = rng.normal(0, 0.05, SECONDS * rate + ODD_SAMPLES)
    click, length = int(CLICK_AT * rate), int(CLICK_SECONDS * rate)
    noise[click : click + length] = rng.uniform(-0.8, 0.8, length)
    dropout, length = int(DROPOUT_AT * rate), int(DROPOUT_SECONDS * rate)
    noise[dropout : dropout + length] = 0
    return np.repeat(noise[:, None], channels, axis=1).astype(np.float32)


def sndfile(container: str, subtype: str) -> Make:
    """By libsndfile."""
    return lambda audio, rate: encoded(audio, container, subtype, rate)


def ffmpeg(container: str, codec: str, **options: str | int | bool) -> Make:
    """By FFmpeg."""
    return lambda audio, rate: written(audio, container, codec, rate, **options)


LOSSLESS = [
    *(
        Format("WAV", name, sndfile("WAV", subtype), is_lossless=True)
        for name, subtype in (
            ("PCM, 16 bit", "PCM_16"),
            ("PCM, 24 bit", "PCM_24"),
            ("PCM, 32 bit", "PCM_32"),
            ("float, 32 bit", "FLOAT"),
            ("float, 64 bit", "DOUBLE"),
        )
    ),
    Format("WAV", "PCM, 8 channels, 48 kHz", sndfile("WAVEX", "PCM_16"), 48_000, 8, is_lossless=True),
    Format("WAV", "PCM, 192 kHz", sndfile("WAV", "PCM_16"), 192_000, is_lossless=True),
    Format("RF64", "PCM, 16 bit", sndfile("RF64", "PCM_16"), is_lossless=True),
    Format("W64", "PCM, 16 bit", sndfile("W64", "PCM_16"), is_lossless=True),
    Format("AIFF", "PCM, 16 bit", sndfile("AIFF", "PCM_16"), is_lossless=True),
    Format("AU", "PCM, 16 bit", sndfile("AU", "PCM_16"), is_lossless=True),
    Format("CAF", "PCM, 16 bit", sndfile("CAF", "PCM_16"), is_lossless=True),
    Format("CAF", "ALAC, 24 bit", sndfile("CAF", "ALAC_24"), is_lossless=True),
    Format("FLAC", "FLAC, 16 bit", sndfile("FLAC", "PCM_16"), is_lossless=True),
    Format("FLAC", "FLAC, 24 bit", sndfile("FLAC", "PCM_24"), is_lossless=True),
    Format("OGG", "FLAC", ffmpeg("ogg", "flac"), is_lossless=True),
    Format("M4A", "ALAC, 16 bit", ffmpeg("ipod", "alac", sample_format="s16p"), is_lossless=True),
    Format("M4A", "ALAC, 24 bit", ffmpeg("ipod", "alac", sample_format="s32p"), is_lossless=True),
    Format("MP4", "FLAC", ffmpeg("mp4", "flac"), is_lossless=True),
    Format("MOV", "PCM, 24 bit", ffmpeg("mov", "pcm_s24le"), is_lossless=True),
    Format("Matroska", "FLAC", ffmpeg("matroska", "flac"), is_lossless=True),
    Format("Matroska", "PCM, 16 bit", ffmpeg("matroska", "pcm_s16le"), is_lossless=True),
]
LOSSY = [
    Format("WAV", "PCM, 8 bit", sndfile("WAV", "PCM_U8")),
    Format("WAV", "A-law", sndfile("WAV", "ALAW"), 8_000),
    Format("WAV", "u-law", sndfile("WAV", "ULAW"), 8_000),
    Format("WAV", "IMA ADPCM", sndfile("WAV", "IMA_ADPCM"), is_exact=False),
    Format("WAV", "MS ADPCM", sndfile("WAV", "MS_ADPCM"), is_exact=False),
    Format("WAV", "GSM 6.10", sndfile("WAV", "GSM610"), 8_000, is_exact=False),
    Format("WAV", "MP3", ffmpeg("wav", "libmp3lame"), is_exact=False),
    Format("MP3", "MP3", ffmpeg("mp3", "libmp3lame")),
    Format("MP3", "MP3, 16 kHz", ffmpeg("mp3", "libmp3lame"), 16_000),
    Format("MP3", "MP3, 8 kHz", ffmpeg("mp3", "libmp3lame"), 8_000),
    Format("MP3", "MP3 without a header frame", ffmpeg("mp3", "libmp3lame", write_xing="0"), is_exact=False),
    Format("MP2", "MP2", ffmpeg("mp2", "mp2"), 48_000, is_exact=False),
    Format("AAC", "AAC in ADTS", ffmpeg("adts", "aac"), is_exact=False),
    Format("OGG", "Vorbis", sndfile("OGG", "VORBIS")),
    Format("OGG", "Opus", sndfile("OGG", "OPUS"), 48_000),
    Format("M4A", "AAC", ffmpeg("ipod", "aac")),
    Format("M4A", "AAC, stereo", ffmpeg("ipod", "aac"), 48_000, 2),
    Format(
        "MP4", "AAC in fragments", ffmpeg("mp4", "aac", movflags="frag_keyframe+empty_moov"), is_exact=False
    ),
    Format("MP4", "Opus", ffmpeg("mp4", "libopus"), 48_000),
    Format("MP4", "MP3", ffmpeg("mp4", "libmp3lame")),
    Format("MP4", "AAC of a video", ffmpeg("mp4", "aac", with_video=True), 48_000),
    Format("MOV", "AAC", ffmpeg("mov", "aac")),
    Format("WebM", "Opus", ffmpeg("webm", "libopus"), 48_000),
    Format("WebM", "Opus of a live recorder", ffmpeg("webm", "libopus", live="1"), 48_000),
    Format("WebM", "Vorbis", lambda audio, rate: remuxed(encoded(audio, "OGG", None, rate), "ogg", "webm")),
    Format("Matroska", "AAC", ffmpeg("matroska", "aac"), is_exact=False),
    Format("Matroska", "AC-3", ffmpeg("matroska", "ac3"), 48_000, 2, is_exact=False),
    Format("WMA", "WMA 2", ffmpeg("asf", "wmav2", bit_rate=128_000), 44_100, 2, is_exact=False),
    Format("WMA", "WMA 1", ffmpeg("asf", "wmav1", bit_rate=128_000), 44_100, 2, is_exact=False),
    Format("AMR", "AMR-NB", ffmpeg("amr", "libopencore_amrnb", bit_rate=12_200), 8_000, is_exact=False),
    Format("3GP", "AMR-NB", ffmpeg("3gp", "libopencore_amrnb", bit_rate=12_200), 8_000, is_exact=False),
]
FORMATS = [*LOSSLESS, *LOSSY]
