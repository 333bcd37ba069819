"""Blocks of recordings, for datasets with too few to hold out whole ones, and the gap between the sides."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from earmark.trainer.features.frontend import FRAME_MS
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
    free = np.ones(frames + 1, bool)
    for number in group:
        for event in files[number].annotations:
            free[event.start_ms // FRAME_MS + 1 : -(-event.end_ms // FRAME_MS)] = False
    places = np.flatnonzero(free)
    cuts = {int(places[np.abs(places - place).argmin()]) for place in wanted} - {0, frames}
    edges = [0, *sorted(cuts), frames]
    return list(pairwise(edges))


def with_gap(
    files: Sequence[TrainingFile],
    train: Sequence[Region],
    validation: Sequence[Region],
    gap: int,
    types: Sequence[str],
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
    spans = [(event.start_ms // FRAME_MS, -(-event.end_ms // FRAME_MS)) for event in file.annotations]
    while inside := [offset for onset, offset in spans if onset < start < offset]:
        start = max(inside)
    while inside := [onset for onset, offset in spans if onset < end < offset]:
        end = min(inside)
    return start, end
