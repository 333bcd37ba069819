"""Which audio is for validation: whole files, so that no sample of a validation event was trained on.

Chunks of one file share samples, so a split by chunk would leak. Files are split by iterative stratification
(Sechidis, Tsoumakas and Vlahavas 2011) so that every artifact type is on both sides where that is possible.
Copies of a recording go to one side together. Too few recordings are cut into contiguous blocks, with a guard
gap between the two sides.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trainer.data.copies import SHIFT_FRAMES
from trainer.events import Notice, NoticeCode
from trainer.features.frontend import FRAME_MS
from trainer.job import TrainingFile
from trainer.regions import Region, draw_region

FEWEST_GROUPS = 4  # with fewer recordings, one for validation would be far more than its share
BLOCKS = 12  # in all, so that 0.1 to 0.5 of them can be for validation
ATTEMPTS = 20  # until every type is on both sides
CHAIN = 4  # parts that change sides to put one type in order, at most
TRAIN, VALIDATION = 0, 1


@dataclass(frozen=True, slots=True)
class Split:
    """The two sides, and what the user should know about them."""

    train: tuple[Region, ...]
    validation: tuple[Region, ...]
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """What goes to one side as a whole: one stretch of all copies of a recording."""

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
    """`files` in the order of their ids; `share` (0-1) of the audio is for validation.

    `groups` are the numbers of the files that are copies of one recording; each file is in one. Events of a
    type that is not among `types` count for nothing. Deterministic.
    """
    ordered = sorted(sorted(group) for group in groups)
    whole = len(ordered) >= FEWEST_GROUPS
    parts = [
        _part(files, group, bounds, types)
        for group in ordered
        for bounds in ([(0, _frames(files, group))] if whole else _blocks(files, group, len(ordered)))
    ]
    if any(len(group) > 1 for group in ordered):
        gap_frames += SHIFT_FRAMES  # a copy may be that much earlier or later than another
    rng = np.random.default_rng(seed)
    fewest = _fewest_notices(parts, types)
    splits: list[Split] = []
    while len(splits) < ATTEMPTS:
        splits.append(_attempt(files, parts, types, share, gap_frames, rng))
        if splits[-1].train and len(splits[-1].notices) <= fewest:
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
        [region for part, its in zip(parts, sides, strict=True) if its == side for region in part.regions]
        for side in (TRAIN, VALIDATION)
    )
    train = _with_gap(files, train, validation, gap_frames, types)
    return Split(tuple(train), tuple(validation), _notices(train, validation, types))


def _shortfall(split: Split) -> tuple[int, int, int]:
    """Nothing trained on, types not trained on, types not validated: the order is that of importance."""
    codes = Counter(notice.code for notice in split.notices)
    return int(not split.train), codes[NoticeCode.TYPE_NOT_TRAINED], codes[NoticeCode.TYPE_NOT_VALIDATED]


def _fewest_notices(parts: Sequence[_Part], types: Sequence[str]) -> int:
    """A type needs two parts to be on both sides, and one to be trained on."""
    return sum(max(0, 2 - sum(part.events[kind] > 0 for part in parts)) for kind in types)


def _frames(files: Sequence[TrainingFile], group: Sequence[int]) -> int:
    return max(-(-files[number].duration_ms // FRAME_MS) for number in group)


def _part(
    files: Sequence[TrainingFile],
    group: Sequence[int],
    bounds: tuple[int, int],
    types: Sequence[str],
) -> _Part:
    """A copy that ends sooner than `bounds` has as much of them as it is long."""
    start, end = bounds
    ends = ((number, min(end, _frames(files, [number]))) for number in group)
    regions = tuple(
        draw_region(files, number, start, its_end, types) for number, its_end in ends if its_end > start
    )
    return _Part(regions, _count_events(regions), end - start)


def _count_events(regions: Iterable[Region]) -> Counter[str]:
    """The number of events by type."""
    return Counter(event.artifact_type for region in regions for event in region.events)


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
            side = (
                VALIDATION if (need[VALIDATION], frames[VALIDATION]) > (need[TRAIN], frames[TRAIN]) else TRAIN
            )
            sides[number] = side
            frames[side] -= part.frames
            for kind, count in part.events.items():
                wanted[kind][side] -= count
        done = set(batch)
        left = [number for number in left if number not in done]
    return sides


def _repaired(parts: Sequence[_Part], sides: Sequence[int], types: Sequence[str]) -> list[int]:
    """The sides with every type on both of them where that can be, and else trained on."""
    by_size = sorted(range(len(parts)), key=lambda number: (parts[number].frames, number))
    carriers = {kind: [number for number in by_size if parts[number].events[kind]] for kind in types}
    fixed = frozenset(found[0] for found in carriers.values() if len(found) == 1)
    repaired = [TRAIN if number in fixed else side for number, side in enumerate(sides)]
    for side in (TRAIN, VALIDATION):
        for found in carriers.values():
            if any(repaired[number] == side for number in found):
                continue
            options = (_moved(parts, carriers, repaired, n, fixed, CHAIN) for n in found if n not in fixed)
            if option := next(filter(None, options), None):
                repaired = option
            elif found and side == TRAIN:
                repaired[found[0]] = TRAIN
    if VALIDATION not in repaired:
        movable = [number for number in by_size if _spare(parts, repaired, number)]
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
    """The sides with a part on its other one, and others moved in turn for the types it leaves behind.

    None where a type would be missing on the side that the part leaves, or more than `chain` would move.
    """
    if not chain:
        return None
    fixed |= {number}
    moved = [*sides]
    moved[number] = 1 - sides[number]
    for kind in parts[number].events:
        if any(moved[other] == sides[number] for other in carriers[kind]):
            continue
        others = (other for other in carriers[kind] if other not in fixed)
        found = next(
            filter(None, (_moved(parts, carriers, moved, n, fixed, chain - 1) for n in others)), None
        )
        if found is None:
            return None
        moved = found
    return moved


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
    validation: Sequence[Region],
    gap: int,
    types: Sequence[str],
) -> list[Region]:
    """The training regions, drawn back to whole events that are `gap` frames from any validation region."""
    validation_of: dict[int, list[Region]] = defaultdict(list)
    for region in validation:
        validation_of[region.file].append(region)
    kept = []
    for region in train:
        mine = validation_of[region.file]
        before = [other.end + gap for other in mine if other.end <= region.start]
        after = [other.start - gap for other in mine if other.start >= region.end]
        start, end = max([region.start, *before]), min([region.end, *after])
        if (start, end) == (region.start, region.end):
            kept.append(region)
            continue
        start, end = _between_events(files[region.file], start, end)
        if end > start:
            kept.append(draw_region(files, region.file, start, end, types))
    return kept


def _between_events(file: TrainingFile, start: int, end: int) -> tuple[int, int]:
    """The two drawn together until they cut no event."""
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
            f"{kind!r} has no event in the validation audio, so its figures are unset: "
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
    return (*not_validated, *not_trained)
