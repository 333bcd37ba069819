"""Sounds for tests: small, seeded, with artifacts at known times."""

import io
import wave
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import lfilter

from earmark.trainer.job import Annotation

RATE = 16_000
WAV_RATE = 8_000

Event = tuple[str, int, int]  # artifact type, start and end in ms


def speech(seconds: float, seed: int, rate: int = RATE) -> np.ndarray:
    """(samples,) float32: a pulse train of wandering pitch through two resonances, in syllables."""
    rng = np.random.default_rng(seed)
    samples = int(seconds * rate)
    pitch = 120 + 40 * np.sin(2 * np.pi * rng.uniform(0.2, 0.5) * np.arange(samples) / rate)
    pulses = np.diff(np.floor(np.cumsum(pitch / rate)), prepend=0)
    voice = pulses + 0.02 * rng.standard_normal(samples)
    for hertz in (600, 1500):
        voice = lfilter([1], [1, -1.9 * np.cos(2 * np.pi * hertz / rate), 0.9], voice)
    syllables = 0.3 + 0.7 * np.abs(np.sin(2 * np.pi * 2.0 * np.arange(samples) / rate + rng.uniform(0, 6)))
    voice *= syllables
    return (0.3 * voice / np.abs(voice).max()).astype(np.float32)


def annotated_speech(seconds: float, seed: int) -> tuple[np.ndarray, list[Annotation]]:
    """Speech with a dropout or a burst of noise every second and a half, and the annotations of these."""
    rng = np.random.default_rng(seed + 1000)
    audio, annotations = speech(seconds, seed), []
    for number, at in enumerate(np.arange(0.5, seconds - 0.6, 1.5)):
        start, length = int(at * RATE), int(rng.uniform(0.15, 0.4) * RATE)
        part = slice(start, start + length)
        if number % 2:
            audio[part] = 0
        else:
            audio[part] += rng.uniform(-0.3, 0.3, length).astype(np.float32)
        kind = "gone" if number % 2 else "noisy"
        annotations.append(Annotation(kind, start * 1000 // RATE, (start + length) * 1000 // RATE))
    return audio, annotations


def bursts(seconds: int, seed: int) -> tuple[np.ndarray, list[Annotation]]:
    """Quiet noise with a loud burst of 300 ms every two seconds, and the annotations of the bursts."""
    rng = np.random.default_rng(seed)
    audio, annotations = rng.normal(0, 0.01, seconds * RATE), []
    for start in range(RATE // 2, len(audio) - RATE, 2 * RATE):
        audio[start : start + 4800] += rng.normal(0, 0.3, 4800)
        start_ms = start * 1000 // RATE
        annotations.append(Annotation("static", start_ms, start_ms + 300))
    return audio.clip(-1, 1).astype(np.float32), annotations


def encoded(audio: np.ndarray, container: str, subtype: str | None = None, rate: int = RATE) -> bytes:
    """Return the bytes of an audio file with this container and subtype, as soundfile names them."""
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, rate, format=container, subtype=subtype)
    return buffer.getvalue()


def speechlike(seconds: float, seed: int) -> tuple[np.ndarray, list[Event]]:
    """A gliding hum, int16 at WAV_RATE, with a glitch or a dropout every two seconds, and these events."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * WAV_RATE)) / WAV_RATE
    pitch = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 0.3 * time + rng.uniform(0, 6))) / WAV_RATE
    hum = sum(np.sin(harmonic * pitch) / harmonic for harmonic in range(1, 12))
    sound = 0.1 * hum * (1.2 + np.sin(2 * np.pi * 3 * time)) + 0.004 * rng.standard_normal(len(time))
    events: list[Event] = []
    for number, second in enumerate(range(1, int(seconds) - 1, 2)):
        start = second * 1000 + int(rng.integers(0, 700))
        length = int(rng.integers(100, 200))
        part = slice(start * WAV_RATE // 1000, (start + length) * WAV_RATE // 1000)
        if number % 2:
            sound[part] += 0.8 * rng.choice([-1.0, 0.0, 1.0], part.stop - part.start, p=[0.03, 0.94, 0.03])
        else:
            sound[part] = 0
        events.append(("glitch" if number % 2 else "dropout", start, start + length))
    return (np.clip(sound, -1, 1) * 32_767).astype(np.int16), events


def write_wav(path: Path, seconds: float, seed: int) -> list[Event]:
    """Write a gliding hum as `speechlike` makes it, and return its events."""
    sound, events = speechlike(seconds, seed)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(WAV_RATE)
        file.writeframes(sound.tobytes())
    return events
