"""Blocks of recordings, for datasets with too few to hold out whole ones, and the gap between the sides."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np

from earmark.scores import FRAME_MS
from earmark.trainer.job import TrainingFile
from earmark.trainer.regions import Region, draw_region

BLOCKS = 12  # over all recordings, so that 0.1 to 0.5 of them can be for validation


def length_in_frames(files: Sequence[TrainingFile], group: Sequence[int]) -> int:
    """Return the length of the longest file in the group."""
    return max(-(-files[number].duration_ms // FRAME_MS) for number in group)


def blocks(files: Sequence[TrainingFile], group: Sequence[int], groups: int) -> list[tuple[int, int]]:
    """Cut a group into contiguous blocks (start, end) in frames; no event of any copy is cut in two."""
    frames = length_in_frames(files, group)
    wanted = np.linspace(0, frames, BLOCKS // groups + 1)[1:-1]
    inside = [
        (event.start_ms // FRAME_MS + 1, -(-event.end_ms // FRAME_MS))
        for number in group
        for event in files[number].annotations
    ]
    first, last = np.array(inside, np.int64).reshape(-1, 2).clip(0, frames + 1).T
    events = np.bincount(first, minlength=frames + 2) - np.bincount(
        np.maximum(first, last), minlength=frames + 2
    )
    places = np.flatnonzero(np.cumsum(events[: frames + 1]) == 0)
    cuts = {int(places[np.abs(places - place).argmin()]) for place in wanted} - {0, frames}
    edges = [0, *sorted(cuts), frames]
    return list(pairwise(edges))


def with_gap(
    files: Sequence[TrainingFile],
    train: Sequence[Region],
    validation: Sequence[Region],
    gap: int,
    types: Collection[str],
) -> list[Region]:
    """Shorten the training regions to be `gap` frames away from validation regions of their file.

    No event is cut: regions shrink further, to between two events, and vanish if nothing is left.
    """
    validation_of: dict[int, list[Region]] = defaultdict(list)
    for region in validation:
        validation_of[region.file].append(region)
    shortened: list[Region] = []
    for region in train:
        neighbours = validation_of[region.file]
        before = [other.end + gap for other in neighbours if other.end <= region.start]
        after = [other.start - gap for other in neighbours if other.start >= region.end]
        start, end = max([region.start, *before]), min([region.end, *after])
        if (start, end) == (region.start, region.end):
            shortened.append(region)
            continue
        start, end = _between_events(files[region.file], start, end)
        if end > start:
            shortened.append(draw_region(files, region.file, start, end, types))
    return shortened


def _between_events(file: TrainingFile, start: int, end: int) -> tuple[int, int]:
    """Move the start and the end towards each other until they cut no event."""
    spans = ((event.start_ms // FRAME_MS, -(-event.end_ms // FRAME_MS)) for event in file.annotations)
    runs: list[list[int]] = []  # of events that overlap: no place inside one is free
    for onset, offset in spans:
        if runs and onset < runs[-1][1]:
            runs[-1][1] = max(runs[-1][1], offset)
        else:
            runs.append([onset, offset])
    start = next((offset for onset, offset in runs if onset < start < offset), start)
    end = next((onset for onset, offset in runs if onset < end < offset), end)
    return start, end
