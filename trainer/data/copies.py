"""Finds files that contain the same recording: identical, re-encoded, at another level or slightly shifted.

Files of about the same length are compared by how their spectra change from moment to moment. A codec or a
gain hardly affects these changes, and two different recordings do not share them, however similar their
voices, noise and rhythm are. The median over the frames decides, so artifacts in one of the two files do not
hide that the rest is the same.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float16, Int64

from earmark.scores import FRAME_MS
from earmark.trainer.features.filterbank import MEL_BANDS
from earmark.trainer.job import TrainingFile

SHIFT_FRAMES = 150 // FRAME_MS  # the longest delay of an encoder; the lengths of copies differ by no more

# The coarse comparison of all pairs. It may pass pairs that are not copies, but must not miss copies.
SLICE_FRAMES = 32
SLICE_BANDS = 8
CANDIDATE = 0.4  # copies scored 0.61 and more; most other pairs of 1.3 s, and 99 % of those of 5 s, less
ROWS = 512  # per block of pairs: bounds the memory
CANDIDATES = 4  # per file, the most similar first: bounds the time if all files are similar

# The fine comparison. It was measured on read speech that was encoded as MP3, Vorbis, Opus, 8 bits, mu-law
# and at 8 kHz, shifted by fractions of a frame, and with artifacts in a fifth of it. Copies scored 0.66 and
# more; copies at 8 kbit/s are missed. Other pairs scored 0.26 at most, and pairs of synthetic voices 0.38.
SIMILAR = 0.55
STEP_FRAMES = 3
SAMPLE_FRAMES = 192
FEWEST_FRAMES = 40  # that are loud in both files: with fewer, chance decides
GLANCE = 6  # the first look takes every sixth frame
GLANCE_SIMILAR = 0.35
SMALLEST_CHANGE = 1e-3  # a steady tone has no changes to compare


@dataclass(frozen=True, slots=True)
class _Sketch:
    """What is compared of a file.

    `loud` is true for the frames that belong, now and STEP_FRAMES later, to the louder half of the file.
    `places` are up to SAMPLE_FRAMES of these frames, spread over the whole file.
    """

    values: Float16[np.ndarray, "frames mel_bands"]
    loud: Bool[np.ndarray, " steps"]
    places: Int64[np.ndarray, " places"]


def groups(
    files: Sequence[TrainingFile], features: Sequence[Float16[np.ndarray, "_ columns"]]
) -> list[list[int]]:
    """Group the numbers of the files that are copies of one recording; most groups contain one file.

    Groups and numbers are in ascending order. The first MEL_BANDS columns of `features[i]` are the log-mel
    features of `files[i]`.
    """
    first: dict[str, int] = {}
    leaders = [first.setdefault(file.sha256, number) for number, file in enumerate(files)]
    sketch = cache(lambda number: _sketch(features[number][:, :MEL_BANDS]))
    for one, other in _candidates(features, list(first.values())):
        a, b = _leader(leaders, one), _leader(leaders, other)
        if a != b and _are_copies(sketch(one), sketch(other)):
            leaders[max(a, b)] = min(a, b)
    members: dict[int, list[int]] = {}
    for number in range(len(files)):
        members.setdefault(_leader(leaders, number), []).append(number)
    return list(members.values())


def _leader(leaders: Sequence[int], number: int) -> int:
    """Return the lowest number in the file's group: every other file leads to one with a lower number."""
    while leaders[number] != number:
        number = leaders[number]
    return number


def _candidates(features: Sequence[np.ndarray], numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return the pairs of about the same length that may be copies, the most similar first."""
    numbers = [number for number in numbers if len(features[number]) >= SLICE_FRAMES]
    by_slices: dict[int, list[int]] = defaultdict(list)
    for number in numbers:
        by_slices[len(features[number]) // SLICE_FRAMES].append(number)
    coarse = {number: _coarse(features[number][:, :MEL_BANDS]) for number in numbers}
    pairs: list[tuple[float, int, int]] = []
    for slices, same_length in by_slices.items():
        others = same_length + by_slices.get(slices + 1, [])
        columns = _unit(np.stack([coarse[number][:slices].ravel() for number in others]))
        lengths = np.array([len(features[number]) for number in others])
        for start in range(0, len(same_length), ROWS):
            rows = np.arange(start, min(start + ROWS, len(same_length)))
            similarity = columns[rows] @ columns.T
            similarity[np.abs(lengths[rows, None] - lengths) > SHIFT_FRAMES] = 0
            similarity[np.arange(len(others)) <= rows[:, None]] = 0  # each pair once, none with itself
            skipped = max(0, len(others) - CANDIDATES)
            best = np.argpartition(similarity, skipped, axis=1)[:, skipped:]
            scores = np.take_along_axis(similarity, best, axis=1)
            pairs += [
                (-float(scores[row, place]), same_length[rows[row]], others[best[row, place]])
                for row, place in np.argwhere(scores > CANDIDATE)
            ]
    return [(one, other) for _, one, other in sorted(pairs)]


def _coarse(values: np.ndarray) -> np.ndarray:
    """Return the shape of the spectrum over time (slices, SLICE_BANDS), without the mean over the file."""
    slices = len(values) // SLICE_FRAMES
    cut = values[: slices * SLICE_FRAMES].reshape(slices, SLICE_FRAMES, SLICE_BANDS, MEL_BANDS // SLICE_BANDS)
    shape = cut.mean(axis=(1, 3), dtype=np.float32)
    shape -= shape.mean(axis=1, keepdims=True)
    shape -= shape.mean(axis=0)
    limit = 2 * np.median(np.abs(shape))
    clipped: np.ndarray = shape.clip(-limit, limit)  # otherwise an artifact would outweigh the rest
    return clipped


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Scale the vectors along the last axis to about length 1."""
    scaled: np.ndarray = vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + SMALLEST_CHANGE)
    return scaled


def _sketch(values: np.ndarray) -> _Sketch:
    level = values.mean(axis=1, dtype=np.float32)
    loud = level > np.median(level)
    loud = loud[:-STEP_FRAMES] & loud[STEP_FRAMES:]
    places = np.flatnonzero(loud)
    sampled = np.linspace(0, len(places) - 1, min(len(places), SAMPLE_FRAMES)).astype(np.int64)
    return _Sketch(values, loud, places[sampled])


def _are_copies(one: _Sketch, other: _Sketch) -> bool:
    """Compare the two; a first look at few frames rejects most other pairs cheaply."""
    return _similarity(one, other, GLANCE) >= GLANCE_SIMILAR and _similarity(one, other) >= SIMILAR


def _similarity(one: _Sketch, other: _Sketch, skip: int = 1) -> float:
    """Return the correlation of the two files' spectral changes at the shift that fits best.

    The correlation of one frame is over the mel bands; the result is the median over every `skip`-th sampled
    frame that is loud in both files, and 0 if there are too few of them.
    """
    sample = one.places[::skip]
    if not len(sample):
        return 0.0
    places = sample[:, None] + np.arange(-SHIFT_FRAMES, SHIFT_FRAMES + 1)
    within = places.clip(0, len(other.loud) - 1)
    loud_in_both = (places == within) & other.loud[within]
    changes, other_changes = _changes(one.values, sample), _changes(other.values, within)
    agreement = np.where(loud_in_both, np.einsum("pb,psb->ps", changes, other_changes), np.inf)
    frames = loud_in_both.sum(axis=0)
    medians = np.sort(agreement, axis=0)[np.maximum(0, frames - 1) // 2, np.arange(len(frames))]
    return float(medians[frames >= FEWEST_FRAMES // skip].max(initial=0))


def _changes(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the change of the spectrum's shape within STEP_FRAMES of each place, as unit vectors."""
    change = values[places + STEP_FRAMES].astype(np.float32) - values[places]
    return _unit(change - change.mean(axis=-1, keepdims=True))
