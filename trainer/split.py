"""Which audio is held out: whole files, so that no sample of a validation event was trained on.

Chunks of one file share samples, so a split by chunk would leak. Files are split by iterative stratification
(Sechidis, Tsoumakas and Vlahavas 2011) so that every artifact type is on both sides where that is possible.
Too few files are cut into contiguous blocks, with a guard gap between the two sides.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trainer.events import Notice, NoticeCode
from trainer.frontend import FRAME_MS
from trainer.job import TrainingFile

FEWEST_GROUPS = 4  # with fewer distinct files, one held out would be far more than its share
BLOCKS = 12  # in all, so that 0.1 to 0.5 of them can be held out
TRAIN, HELD_OUT = 0, 1


@dataclass(frozen=True, slots=True)
class Region:
    """Frames `start` to `end` of file number `file`."""

    file: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Split:
    """The two sides, and what the user should know about them."""

    train: tuple[Region, ...]
    validation: tuple[Region, ...]
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """What goes to one side as a whole: one stretch of all byte-identical copies of a file."""

    regions: tuple[Region, ...]
    events: Counter[str]
    frames: int


def split_files(
    files: Sequence[TrainingFile],
    types: Sequence[str],
    share: float,
    gap_frames: int,
    seed: int,
) -> Split:
    """`files` in the order of their ids; `share` (0-1) of the audio is held out.

    Events of a type that is not among `types` count for nothing. Deterministic.
    """
    groups: dict[str, list[int]] = {}
    for number, file in enumerate(files):
        groups.setdefault(file.sha256, []).append(number)
    whole = len(groups) >= FEWEST_GROUPS
    parts = [
        _part(files, group, bounds, types)
        for group in groups.values()
        for bounds in ([(0, _frames(files, group))] if whole else _blocks(files, group, len(groups)))
    ]
    sides = _stratify(parts, types, share, np.random.default_rng(seed))
    _repair(parts, sides, types)
    train = [
        region for part, side in zip(parts, sides, strict=True) if side == TRAIN for region in part.regions
    ]
    held = [
        region for part, side in zip(parts, sides, strict=True) if side == HELD_OUT for region in part.regions
    ]
    if not whole:
        train = _with_gap(files, train, held, gap_frames)
    return Split(tuple(train), tuple(held), _notices(files, train, held, types))


def _frames(files: Sequence[TrainingFile], group: Sequence[int]) -> int:
    return max(-(-files[number].duration_ms // FRAME_MS) for number in group)


def events_inside(file: TrainingFile, region: Region, types: Sequence[str]) -> list[tuple[str, int, int]]:
    """(type, onset, offset) in ms from the region's start, of the events that lie wholly in the region."""
    begin, end = region.start * FRAME_MS, region.end * FRAME_MS
    return [
        (event.artifact_type, event.start_ms - begin, event.end_ms - begin)
        for event in file.annotations
        if event.artifact_type in types and event.start_ms >= begin and event.end_ms <= end
    ]


def _part(
    files: Sequence[TrainingFile],
    group: Sequence[int],
    bounds: tuple[int, int],
    types: Sequence[str],
) -> _Part:
    regions = tuple(Region(number, *bounds) for number in group)
    events = Counter(
        kind for region in regions for kind, _, _ in events_inside(files[region.file], region, types)
    )
    return _Part(regions, events, bounds[1] - bounds[0])


def _stratify(
    parts: Sequence[_Part],
    types: Sequence[str],
    share: float,
    rng: np.random.Generator,
) -> list[int]:
    """The side of each part: always the rarest type next, each to the side that still lacks it most."""
    shares = np.array([1 - share, share])
    wanted = {kind: shares * sum(part.events[kind] for part in parts) for kind in types}
    frames = shares * sum(part.frames for part in parts)
    left = [int(number) for number in rng.permutation(len(parts))]
    sides = [TRAIN] * len(parts)
    while left:
        carriers = {kind: sum(parts[number].events[kind] > 0 for number in left) for kind in types}
        present = [kind for kind in types if carriers[kind]]
        rarest = min(present, key=lambda kind: carriers[kind]) if present else None
        batch = [number for number in left if rarest is None or parts[number].events[rarest]]
        for number in batch:
            part = parts[number]
            need = (frames / shares) if rarest is None else wanted[rarest]
            side = HELD_OUT if (need[HELD_OUT], frames[HELD_OUT]) > (need[TRAIN], frames[TRAIN]) else TRAIN
            sides[number] = side
            frames[side] -= part.frames
            for kind, count in part.events.items():
                wanted[kind][side] -= count
        left = [number for number in left if number not in set(batch)]
    return sides


def _repair(parts: Sequence[_Part], sides: list[int], types: Sequence[str]) -> None:
    """Moves parts so that every type is trained on, and held out where another part can be trained on."""
    for side in (TRAIN, HELD_OUT):
        for kind in types:
            carriers = [number for number, part in enumerate(parts) if part.events[kind]]
            if any(sides[number] == side for number in carriers):
                continue
            movable = [n for n in carriers if side == TRAIN or _spare(parts, sides, n)]
            if movable:
                sides[min(movable, key=lambda number: (parts[number].frames, number))] = side
    if HELD_OUT not in sides:
        movable = [number for number in range(len(parts)) if _spare(parts, sides, number)]
        if movable:
            sides[min(movable, key=lambda number: (parts[number].frames, number))] = HELD_OUT


def _spare(parts: Sequence[_Part], sides: Sequence[int], candidate: int) -> bool:
    """Whether every type of the candidate is also in another part that is trained on."""
    others = [part for n, part in enumerate(parts) if n != candidate and sides[n] == TRAIN]
    return bool(others) and all(any(part.events[kind] for part in others) for kind in parts[candidate].events)


def _blocks(files: Sequence[TrainingFile], group: Sequence[int], groups: int) -> list[tuple[int, int]]:
    """Contiguous (start, end) in frames that cut no event of any copy in two."""
    frames = _frames(files, group)
    wanted = np.linspace(0, frames, BLOCKS // groups + 1)[1:-1]
    free = np.ones(frames + 1, bool)
    for number in group:
        for event in files[number].annotations:
            free[event.start_ms // FRAME_MS + 1 : -(-event.end_ms // FRAME_MS)] = False
    places = np.flatnonzero(free)
    cuts = {int(places[np.abs(places - place).argmin()]) for place in wanted} - {0, frames}
    edges = [0, *sorted(cuts), frames]
    return list(pairwise(edges))


def _with_gap(
    files: Sequence[TrainingFile],
    train: Sequence[Region],
    held: Sequence[Region],
    gap: int,
) -> list[Region]:
    """The training regions, drawn back from held-out neighbours by `gap` frames and to whole events."""
    kept = []
    for region in train:
        start, end = region.start, region.end
        mine = [other for other in held if other.file == region.file]
        spans = [
            (event.start_ms // FRAME_MS, -(-event.end_ms // FRAME_MS))
            for event in files[region.file].annotations
        ]
        if any(other.end == start for other in mine):
            start += gap
            while inside := [offset for onset, offset in spans if onset < start < offset]:
                start = max(inside)
        if any(other.start == end for other in mine):
            end -= gap
            while inside := [onset for onset, offset in spans if onset < end < offset]:
                end = min(inside)
        if end > start:
            kept.append(Region(region.file, start, end))
    return kept


def _notices(
    files: Sequence[TrainingFile],
    train: Sequence[Region],
    held: Sequence[Region],
    types: Sequence[str],
) -> tuple[Notice, ...]:
    def count(regions: Sequence[Region]) -> Counter[str]:
        return Counter(kind for r in regions for kind, _, _ in events_inside(files[r.file], r, types))

    trained, validated = count(train), count(held)
    not_held = [
        Notice(
            NoticeCode.TYPE_NOT_HELD_OUT,
            f"{kind!r} has no event in the held-out audio, so its figures are unset: "
            "annotate it in at least two files",
        )
        for kind in types
        if not validated[kind]
    ]
    not_trained = [
        Notice(
            NoticeCode.TYPE_NOT_TRAINED,
            f"{kind!r} has no event in the audio that is trained on, so the model will not find it",
        )
        for kind in types
        if not trained[kind]
    ]
    return (*not_held, *not_trained)
