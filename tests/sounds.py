"""Sounds for tests: small, seeded, with artifacts at known times."""

import wave
from pathlib import Path

import numpy as np

RATE = 8_000

Mark = tuple[str, int, int]


def speechlike(seconds: float, seed: int) -> tuple[np.ndarray, list[Mark]]:
    """A gliding hum, int16, with a dropout and a glitch in turn every two seconds, and their marks in ms."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 0.3 * time + rng.uniform(0, 6))) / RATE
    hum = sum(np.sin(harmonic * pitch) / harmonic for harmonic in range(1, 12))
    sound = 0.1 * hum * (1.2 + np.sin(2 * np.pi * 3 * time)) + 0.004 * rng.standard_normal(len(time))
    marks: list[Mark] = []
    for number, second in enumerate(range(1, int(seconds) - 1, 2)):
        start = second * 1000 + int(rng.integers(0, 700))
        length = int(rng.integers(100, 200))
        part = slice(start * RATE // 1000, (start + length) * RATE // 1000)
        if number % 2:
            sound[part] += 0.8 * rng.choice([-1.0, 0.0, 1.0], part.stop - part.start, p=[0.03, 0.94, 0.03])
        else:
            sound[part] = 0
        marks.append(("glitch" if number % 2 else "dropout", start, start + length))
    return (np.clip(sound, -1, 1) * 32_767).astype(np.int16), marks


def write_wav(path: Path, seconds: float, seed: int) -> list[Mark]:
    """Its marks."""
    sound, marks = speechlike(seconds, seed)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound.tobytes())
    return marks
