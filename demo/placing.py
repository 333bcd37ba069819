"""Where artifacts go: the parts of a recording that are speech, and random places in them.

Times are whole milliseconds. Only `sample_at` converts them to samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GAP_MS = 400
FRAME_MS = 10
_MARGIN_MS = 150
_TRIES = 60
_ACTIVE = 0.25
_ACTIVE_SHARE = 0.8

Audio = NDArray[np.float32]
Samples = NDArray[np.floating]
Rng = np.random.Generator


@dataclass(frozen=True)
class Annotation:
    """One planted artifact: its type, onset and offset (ms)."""

    artifact_type: str
    start_ms: int
    end_ms: int


def place(speech: NDArray[np.bool_], length: int, annotations: Sequence[Annotation], rng: Rng) -> int | None:
    """Return an onset (ms) such that `length` ms are speech, away from the ends and from `annotations`.

    Returns None if no random try finds one.
    """
    latest = len(speech) * FRAME_MS - _MARGIN_MS - length
    if latest <= _MARGIN_MS:
        return None
    for start in rng.integers(_MARGIN_MS, latest, _TRIES).tolist():
        end = start + length
        free = all(start >= other.end_ms + GAP_MS or end + GAP_MS <= other.start_ms for other in annotations)
        frames = speech[start // FRAME_MS : -(-end // FRAME_MS)]
        edges = frames[0] and frames[-1]
        if free and edges and frames.mean() >= _ACTIVE_SHARE:
            return int(start)
    return None


def speech_frames(audio: Audio, rate: int) -> NDArray[np.bool_]:
    """Return whether each whole frame of 10 ms contains speech."""
    threshold = _ACTIVE * max(rms(audio), float(np.finfo(np.float32).tiny))
    active: NDArray[np.bool_] = levels(audio, rate) > threshold
    return active


def levels(audio: Audio, rate: int) -> NDArray[np.float64]:
    """Return the root mean square of each whole frame of 10 ms."""
    count = int(len(audio) * 1000 / rate) // FRAME_MS
    edges = np.array([sample_at(frame * FRAME_MS, rate) for frame in range(count + 1)])
    power = np.concatenate([[0.0], np.cumsum(np.square(audio, dtype=np.float64))])
    levels: NDArray[np.float64] = np.sqrt(np.diff(power[edges]) / np.diff(edges))
    return levels


def rms(audio: NDArray[np.floating]) -> float:
    """Return the root mean square, 0 of no samples."""
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))) if len(audio) else 0.0


def sample_at(ms: int, rate: int) -> int:
    """Return the sample at `ms`."""
    return round(ms * rate / 1000)
