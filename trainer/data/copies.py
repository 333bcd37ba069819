"""Which files are one recording: byte-identical, or encoded anew, at another level, a little shifted.

Two that are as long as each other are compared by how their spectra change from moment to moment. What a
codec or a gain does to a recording hardly touches that, and two recordings do not have it in common, however
alike their voice, their noise and their rhythm. Most frames decide, so that artifacts in one of the two do
not hide that the rest is the same.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from trainer.features.frontend import FRAME_MS, MEL_BANDS
from trainer.job import TrainingFile

SHIFT_FRAMES = 150 // FRAME_MS  # an encoder's delay, at most; copies differ in length by no more

# The coarse comparison, of all pairs: it may take strangers for copies, never copies for strangers.
SLICE_FRAMES = 32
SLICE_BANDS = 8
CANDIDATE = 0.4  # copies had 0.61 and more, most strangers of 1.3 s and 99 % of those of 5 s less
ROWS = 512  # of a block of pairs: bounds memory
CANDIDATES = 4  # of a file, the most alike first: bounds the time where all files are alike

# The fine one. Of read speech encoded as MP3, Vorbis, Opus, 8 bits, mu-law and at 8 kHz, shifted by parts of
# a frame, and with artifacts in a fifth of it, copies had 0.66 and more; at 8 kbit/s they are missed.
# Strangers had 0.26 at most, those of synthetic voices 0.38.
ALIKE = 0.55
STEP_FRAMES = 3
SAMPLE_FRAMES = 192
FEWEST_FRAMES = 40  # that both speak in: with fewer, chance decides
GLANCE = 6  # one frame of so many
GLANCE_ALIKE = 0.35
SMALLEST_CHANGE = 1e-3  # of a steady tone there is nothing to compare


@dataclass(frozen=True, slots=True)
class _Sketch:
    """Where a file's frames are among its louder half, and up to SAMPLE_FRAMES of them, all over the file."""

    values: np.ndarray  # (frames, MEL_BANDS)
    loud: np.ndarray  # (frames - STEP_FRAMES,) bool: there and STEP_FRAMES later
    places: np.ndarray


def groups(files: Sequence[TrainingFile], features: Sequence[np.ndarray]) -> list[list[int]]:
    """The numbers of the files in groups of copies, all ascending; most groups are of one file.

    `features[i]` (frames, MEL_BANDS or more) begin with the log-mel of `files[i]`.
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
    while leaders[number] != number:
        number = leaders[number]
    return number


def _candidates(features: Sequence[np.ndarray], numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of about the same length that may be copies, the most alike first."""
    numbers = [number for number in numbers if len(features[number]) >= SLICE_FRAMES]
    by_length: dict[int, list[int]] = defaultdict(list)
    for number in numbers:
        by_length[len(features[number]) // SLICE_FRAMES].append(number)
    coarse = {number: _coarse(features[number][:, :MEL_BANDS]) for number in numbers}
    found: list[tuple[float, int, int]] = []
    for slices, mine in by_length.items():
        near = mine + by_length.get(slices + 1, [])
        columns = _unit(np.stack([coarse[number][:slices].ravel() for number in near]))
        lengths = np.array([len(features[number]) for number in near])
        for start in range(0, len(mine), ROWS):
            rows = np.arange(start, min(start + ROWS, len(mine)))
            alike = columns[rows] @ columns.T
            alike[np.abs(lengths[rows, None] - lengths) > SHIFT_FRAMES] = 0
            alike[np.arange(len(near)) <= rows[:, None]] = 0  # each pair once, and none with itself
            kept = max(0, len(near) - CANDIDATES)
            best = np.argpartition(alike, kept, axis=1)[:, kept:]
            of_best = np.take_along_axis(alike, best, axis=1)
            found += [
                (-float(of_best[row, place]), mine[rows[row]], near[best[row, place]])
                for row, place in np.argwhere(of_best > CANDIDATE)
            ]
    return [(one, other) for _, one, other in sorted(found)]


def _coarse(values: np.ndarray) -> np.ndarray:
    """(slices, SLICE_BANDS): the spectrum's shape over time, without what all of the file has in common."""
    slices = len(values) // SLICE_FRAMES
    cut = values[: slices * SLICE_FRAMES].reshape(slices, SLICE_FRAMES, SLICE_BANDS, MEL_BANDS // SLICE_BANDS)
    shape = cut.mean(axis=(1, 3), dtype=np.float32)
    shape -= shape.mean(axis=1, keepdims=True)
    shape -= shape.mean(axis=0)
    most = 2 * np.median(np.abs(shape))
    return shape.clip(-most, most)  # or an artifact would outweigh the rest


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + SMALLEST_CHANGE)


def _sketch(values: np.ndarray) -> _Sketch:
    level = values.mean(axis=1, dtype=np.float32)
    loud = level > np.median(level)
    loud = loud[:-STEP_FRAMES] & loud[STEP_FRAMES:]
    places = np.flatnonzero(loud)
    some = np.linspace(0, len(places) - 1, min(len(places), SAMPLE_FRAMES)).astype(np.int64)
    return _Sketch(values, loud, places[some])


def _are_copies(one: _Sketch, other: _Sketch) -> bool:
    """A look at few frames spares most strangers the whole comparison."""
    return _likeness(one, other, GLANCE) >= GLANCE_ALIKE and _likeness(one, other) >= ALIKE


def _likeness(one: _Sketch, other: _Sketch, skip: int = 1) -> float:
    """At the shift that suits the two best: the median correlation, over bands, of the changes in a step."""
    sample = one.places[::skip]
    if not len(sample):
        return 0.0
    places = sample[:, None] + np.arange(-SHIFT_FRAMES, SHIFT_FRAMES + 1)
    within = places.clip(0, len(other.loud) - 1)
    both = (places == within) & other.loud[within]
    mine, theirs = _changes(one.values, sample), _changes(other.values, within)
    agreement = np.where(both, np.einsum("pb,psb->ps", mine, theirs), np.inf)
    frames = both.sum(axis=0)
    medians = np.sort(agreement, axis=0)[np.maximum(0, frames - 1) // 2, np.arange(len(frames))]
    return float(medians[frames >= FEWEST_FRAMES // skip].max(initial=0))


def _changes(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(*places, MEL_BANDS): how the spectrum's shape changes from there on, as unit vectors."""
    change = values[places + STEP_FRAMES].astype(np.float32) - values[places]
    return _unit(change - change.mean(axis=-1, keepdims=True))
