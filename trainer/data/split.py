"""Divides a job's audio into a training side and a validation side, which share no samples.

Chunks of one file share samples, so a split by chunks would leak training audio into validation. Instead,
whole files are divided by iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011), so that every
artifact type is on both sides if possible. All copies of a recording go to the same side. If there are too
few recordings, they are cut into contiguous blocks, with a gap between the two sides.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from earmark.trainer.data.copies import SHIFT_FRAMES
from earmark.trainer.events import Notice, NoticeCode
from earmark.trainer.features.frontend import FRAME_MS
from earmark.trainer.job import TrainingFile
from earmark.trainer.regions import Region, draw_region

FEWEST_GROUPS = 4  # with fewer recordings, a whole one would be far more than the share for validation
BLOCKS = 12  # over all recordings, so that 0.1 to 0.5 of them can be for validation
ATTEMPTS = 20  # at most, to find a split with every type on both sides
LONGEST_CHAIN = 4  # parts that may change sides to bring one type to a side
TRAIN, VALIDATION = 0, 1  # the two sides


@dataclass(frozen=True, slots=True)
class Split:
    """The regions of the two sides, and notices for the user about types that a side lacks."""

    train: tuple[Region, ...]
    validation: tuple[Region, ...]
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """One stretch of a recording, in all of its copies. A part goes to one side as a whole."""

    regions: tuple[Region, ...]
    events: Counter[str]
    frames: int


def split_files(
    files: Sequence[TrainingFile],
    groups: Sequence[Sequence[int]],
    types: Sequence[str],
    share: float,
    gap_frames: int,
    seed: int,
) -> Split:
    """Divide the audio so that about `share` (0-1) of it is for validation.

    `files` are in the order of their content. `groups` are the numbers of the files that are copies of one
    recording; each file is in exactly one group. Events of types that are not among `types` are ignored. The
    result depends on the arguments alone.
    """
    ordered = sorted(sorted(group) for group in groups)
    whole = len(ordered) >= FEWEST_GROUPS
    parts = [
        _part(files, group, bounds, types)
        for group in ordered
        for bounds in ([(0, _frames(files, group))] if whole else _blocks(files, group, len(ordered)))
    ]
    if any(len(group) > 1 for group in ordered):
        gap_frames += SHIFT_FRAMES  # one copy may be that much earlier or later than another
    rng = np.random.default_rng(seed)
    fewest_notices = _fewest_notices(parts, types)
    splits: list[Split] = []
    while len(splits) < ATTEMPTS:
        splits.append(_attempt(files, parts, types, share, gap_frames, rng))
        if splits[-1].train and len(splits[-1].notices) <= fewest_notices:
            break
    return min(splits, key=_shortfall)


def _attempt(
    files: Sequence[TrainingFile],
    parts: Sequence[_Part],
    types: Sequence[str],
    share: float,
    gap_frames: int,
    rng: np.random.Generator,
) -> Split:
    sides = _repaired(parts, _stratify(parts, types, share, rng), types)
    train, validation = (
        [
            region
            for part, part_side in zip(parts, sides, strict=True)
            if part_side == side
            for region in part.regions
        ]
        for side in (TRAIN, VALIDATION)
    )
    train = _with_gap(files, train, validation, gap_frames, types)
    return Split(tuple(train), tuple(validation), _notices(train, validation, types))


def _shortfall(split: Split) -> tuple[int, int, int]:
    """Rank a split, best first: training audio matters most, then training on every type, then validation."""
    codes = Counter(notice.code for notice in split.notices)
    return int(not split.train), codes[NoticeCode.TYPE_NOT_TRAINED], codes[NoticeCode.TYPE_NOT_VALIDATED]


def _fewest_notices(parts: Sequence[_Part], types: Sequence[str]) -> int:
    """No split can avoid these: a type needs two parts to be on both sides, and one to be trained on."""
    return sum(max(0, 2 - sum(part.events[name] > 0 for part in parts)) for name in types)


def _frames(files: Sequence[TrainingFile], group: Sequence[int]) -> int:
    """Return the length of the longest file in the group."""
    return max(-(-files[number].duration_ms // FRAME_MS) for number in group)


def _part(
    files: Sequence[TrainingFile],
    group: Sequence[int],
    bounds: tuple[int, int],
    types: Sequence[str],
) -> _Part:
    """Return the part of a group between two frames. A shorter copy has a shorter region, or none."""
    start, end = bounds
    ends = ((number, min(end, _frames(files, [number]))) for number in group)
    regions = tuple(
        draw_region(files, number, start, copy_end, types) for number, copy_end in ends if copy_end > start
    )
    return _Part(regions, _count_events(regions), end - start)


def _count_events(regions: Iterable[Region]) -> Counter[str]:
    """The number of likely events by type."""
    return Counter(event.artifact_type for region in regions for event in region.events if event.is_likely)


def _stratify(
    parts: Sequence[_Part],
    types: Sequence[str],
    share: float,
    rng: np.random.Generator,
) -> list[int]:
    """Choose the side of each part. Parts with the rarest type go first, to the side that needs it most."""
    shares = np.array([1 - share, share])
    wanted_events = {name: shares * sum(part.events[name] for part in parts) for name in types}
    wanted_frames = shares * sum(part.frames for part in parts)
    remaining = [int(number) for number in rng.permutation(len(parts))]
    sides = [TRAIN] * len(parts)
    while remaining:
        carriers = {name: sum(parts[number].events[name] > 0 for number in remaining) for name in types}
        present = [name for name in types if carriers[name]]
        rarest = min(present, key=lambda name: carriers[name]) if present else None
        batch = [number for number in remaining if rarest is None or parts[number].events[rarest]]
        for number in batch:
            part = parts[number]
            need = (wanted_frames / shares) if rarest is None else wanted_events[rarest]
            for_validation = (need[VALIDATION], wanted_frames[VALIDATION])
            side = VALIDATION if for_validation > (need[TRAIN], wanted_frames[TRAIN]) else TRAIN
            sides[number] = side
            wanted_frames[side] -= part.frames
            for name, count in part.events.items():
                wanted_events[name][side] -= count
        assigned = set(batch)
        remaining = [number for number in remaining if number not in assigned]
    return sides


def _repaired(parts: Sequence[_Part], sides: Sequence[int], types: Sequence[str]) -> list[int]:
    """Move parts so that every type is on both sides if possible, and otherwise on the training side.

    The carriers of a type are the numbers of the parts that have events of it.
    """
    by_size = sorted(range(len(parts)), key=lambda number: (parts[number].frames, number))
    carriers = {name: [number for number in by_size if parts[number].events[name]] for name in types}
    fixed = frozenset(numbers[0] for numbers in carriers.values() if len(numbers) == 1)
    repaired = [TRAIN if number in fixed else side for number, side in enumerate(sides)]
    for side in (TRAIN, VALIDATION):
        for numbers in carriers.values():
            if any(repaired[number] == side for number in numbers):
                continue
            options = (
                _moved(parts, carriers, repaired, number, fixed, LONGEST_CHAIN)
                for number in numbers
                if number not in fixed
            )
            if option := next(filter(None, options), None):
                repaired = option
            elif numbers and side == TRAIN:
                repaired[numbers[0]] = TRAIN
    if VALIDATION not in repaired:
        movable = [number for number in by_size if _is_spare(parts, repaired, number)]
        for number in movable[:1]:
            repaired[number] = VALIDATION
    return repaired


def _moved(
    parts: Sequence[_Part],
    carriers: Mapping[str, Sequence[int]],
    sides: Sequence[int],
    number: int,
    fixed: frozenset[int],
    chain: int,
) -> list[int] | None:
    """Return the sides after a part has changed its side.

    If it was the last carrier of a type on its old side, another carrier of that type moves there in turn,
    and so on. Returns None if no such chain of at most `chain` parts, none of them `fixed`, keeps every type
    of the part on its old side.
    """
    if not chain:
        return None
    fixed |= {number}
    moved = [*sides]
    moved[number] = 1 - sides[number]
    for name in parts[number].events:
        if any(moved[other] == sides[number] for other in carriers[name]):
            continue
        options = (
            _moved(parts, carriers, moved, other, fixed, chain - 1)
            for other in carriers[name]
            if other not in fixed
        )
        option = next(filter(None, options), None)
        if option is None:
            return None
        moved = option
    return moved


def _is_spare(parts: Sequence[_Part], sides: Sequence[int], candidate: int) -> bool:
    """Return whether every type of the candidate is also in another part on the training side."""
    others = [part for number, part in enumerate(parts) if number != candidate and sides[number] == TRAIN]
    return bool(others) and all(any(part.events[name] for part in others) for name in parts[candidate].events)


def _blocks(files: Sequence[TrainingFile], group: Sequence[int], groups: int) -> list[tuple[int, int]]:
    """Cut a group into contiguous blocks (start, end) in frames; no event of any copy is cut in two."""
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


def _notices(
    train: Sequence[Region],
    validation: Sequence[Region],
    types: Sequence[str],
) -> tuple[Notice, ...]:
    trained, validated = _count_events(train), _count_events(validation)
    not_validated = [
        Notice(
            NoticeCode.TYPE_NOT_VALIDATED,
            f"{name!r} has no event in the validation audio, so its figures are unset: "
            "annotate it in at least two files",
            artifact_type=name,
        )
        for name in types
        if not validated[name]
    ]
    not_trained = [
        Notice(
            NoticeCode.TYPE_NOT_TRAINED,
            f"{name!r} has no event in the audio that is trained on, so the model will not find it",
            artifact_type=name,
        )
        for name in types
        if not trained[name]
    ]
    return (*not_validated, *not_trained)
