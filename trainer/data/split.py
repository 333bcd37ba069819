"""Divides a job's audio into a training side and a validation side, which share no samples.

Chunks of one file share samples, so a split by chunks would leak training audio into validation. Instead,
whole files are divided by iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011), so that every
artifact type is on both sides if possible. All copies of a recording go to the same side. If there are too
few recordings, they are cut into contiguous blocks, with a gap between the two sides.

A job that starts from a base model must not be validated on what that model was trained on. So whole
recordings keep the side that they had, and only those that are new to the base model are divided.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from earmark.trainer.data.blocks import blocks, length_in_frames, with_gap
from earmark.trainer.data.copies import SHIFT_FRAMES
from earmark.trainer.events import Notice, NoticeCode
from earmark.trainer.job import TrainingFile
from earmark.trainer.model import KnownFiles
from earmark.trainer.regions import Region, draw_region

FEWEST_GROUPS = 4  # with fewer recordings, a whole one would be far more than the share for validation
ATTEMPTS = 20  # at most, to find a split with every type on both sides
MOST_OF_NEW = 0.5  # of the audio that is new to the base model, for validation
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
    """One stretch of a recording, in all of its copies. A part goes to one side as a whole.

    `side` is the one that its recording had for the base model; None if that model does not know it.
    """

    regions: tuple[Region, ...]
    events: Counter[str]
    frames: int
    side: int | None


def split_files(
    files: Sequence[TrainingFile],
    groups: Sequence[Sequence[int]],
    types: Sequence[str],
    share: float,
    gap_frames: int,
    seed: int,
    known: KnownFiles | None = None,
) -> Split:
    """Divide the audio so that about `share` (0-1) of it is for validation.

    `files` are in the order of their content. `groups` are the numbers of the files that are copies of one
    recording; each file is in exactly one group. Events of types that are not among `types` are ignored.
    `known` are the files of the base model. The result depends on the arguments alone.
    """
    known = known or KnownFiles()
    ordered = sorted(sorted(group) for group in groups)
    whole = len(ordered) >= FEWEST_GROUPS
    parts = [
        _part(files, group, bounds, frozenset(types), known)
        for group in ordered
        for bounds in ([(0, length_in_frames(files, group))] if whole else blocks(files, group, len(ordered)))
    ]
    if any(len(group) > 1 for group in ordered):
        gap_frames += SHIFT_FRAMES  # one copy may be that much earlier or later than another
    rng = np.random.default_rng(seed)
    fewest_notices = _fewest_notices(parts, types)
    splits: list[Split] = []
    kept, share_of_new = _kept(parts, share) if whole else ({}, share)
    while len(splits) < ATTEMPTS:
        sides = _repaired(parts, _divided(parts, kept, types, share_of_new, rng), types)
        splits.append(_split(files, parts, sides, types, gap_frames))
        about_types = [notice for notice in splits[-1].notices if notice.artifact_type]
        if splits[-1].train and len(about_types) <= fewest_notices:
            break
    return min(splits, key=_shortfall)


def _kept(parts: Sequence[_Part], share: float) -> tuple[dict[int, int], float]:
    """Return the sides of the parts that the base model knows, and the share of the others for validation.

    The others give at most half of their audio, because the job is there to learn from them. No part keeps
    its side if all this leaves less than half of `share` for validation.
    """
    wanted = share * sum(part.frames for part in parts)
    kept = {number: part.side for number, part in enumerate(parts) if part.side is not None}
    new = sum(part.frames for part in parts if part.side is None)
    before = sum(part.frames for part in parts if part.side == VALIDATION)
    share_of_new = min(MOST_OF_NEW, max(0.0, wanted - before) / new) if new else 0.0
    if not kept or before + share_of_new * new < wanted / 2:
        return {}, share
    return kept, share_of_new


def _divided(
    parts: Sequence[_Part],
    kept: Mapping[int, int],
    types: Sequence[str],
    share: float,
    rng: np.random.Generator,
) -> list[int]:
    """Return the side of each part: as in `kept`, and of the others about `share` for validation."""
    sides = [kept.get(number, TRAIN) for number in range(len(parts))]
    new = [number for number in range(len(parts)) if number not in kept]
    if new and share:
        chosen = _stratify([parts[number] for number in new], types, share, rng)
        for number, side in zip(new, chosen, strict=True):
            sides[number] = side
    return sides


def _split(
    files: Sequence[TrainingFile],
    parts: Sequence[_Part],
    sides: Sequence[int],
    types: Sequence[str],
    gap_frames: int,
) -> Split:
    train, validation = (
        [
            region
            for part, part_side in zip(parts, sides, strict=True)
            if part_side == side
            for region in part.regions
        ]
        for side in (TRAIN, VALIDATION)
    )
    train = with_gap(files, train, validation, gap_frames, frozenset(types))
    held_out = [part for part, side in zip(parts, sides, strict=True) if side == VALIDATION]
    notices = (*_notices(train, validation, types), *_seen(held_out))
    return Split(tuple(train), tuple(validation), notices)


def _shortfall(split: Split) -> tuple[int, int, int]:
    """Rank a split, best first: training audio matters most, then training on every type, then validation."""
    codes = Counter(notice.code for notice in split.notices)
    return int(not split.train), codes[NoticeCode.TYPE_NOT_TRAINED], codes[NoticeCode.TYPE_NOT_VALIDATED]


def _fewest_notices(parts: Sequence[_Part], types: Sequence[str]) -> int:
    """No split can avoid these: a type needs two parts to be on both sides, and one to be trained on."""
    carriers = _carriers(parts)
    return sum(max(0, 2 - carriers[name]) for name in types)


def _part(
    files: Sequence[TrainingFile],
    group: Sequence[int],
    bounds: tuple[int, int],
    types: Collection[str],
    known: KnownFiles,
) -> _Part:
    """Return the part of a group between two frames. A shorter copy has a shorter region, or none."""
    start, end = bounds
    ends = ((number, min(end, length_in_frames(files, [number]))) for number in group)
    regions = tuple(
        draw_region(files, number, start, copy_end, types) for number, copy_end in ends if copy_end > start
    )
    return _Part(regions, _count_events(regions), end - start, _side_before(files, group, known))


def _side_before(files: Sequence[TrainingFile], group: Sequence[int], known: KnownFiles) -> int | None:
    """Return the side that the recording had for the base model, which may know any copy of it."""
    digests = {files[number].sha256 for number in group}
    if digests & known.trained:
        return TRAIN
    return VALIDATION if digests & known.held_out else None


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
    carriers = _carriers(parts)
    while remaining:
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
        carriers -= _carriers(parts[number] for number in batch)
        assigned = set(batch)
        remaining = [number for number in remaining if number not in assigned]
    return sides


def _carriers(parts: Iterable[_Part]) -> Counter[str]:
    """The number of parts that have events of each type."""
    return Counter(name for part in parts for name in part.events)


def _repaired(parts: Sequence[_Part], sides: Sequence[int], types: Sequence[str]) -> list[int]:
    """Move parts so that every type is on both sides if possible, and otherwise on the training side.

    The carriers of a type are the numbers of the parts that have events of it. Small parts are moved first,
    and those that the base model was trained on last.
    """
    by_size = sorted(
        range(len(parts)), key=lambda number: (parts[number].side == TRAIN, parts[number].frames, number)
    )
    carriers: dict[str, list[int]] = {name: [] for name in types}
    for number in by_size:
        for name in parts[number].events:
            carriers[name].append(number)
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
        movable = (number for number in by_size if _is_spare(parts, carriers, repaired, number))
        if (spare := next(movable, None)) is not None:
            repaired[spare] = VALIDATION
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


def _is_spare(
    parts: Sequence[_Part], carriers: Mapping[str, Sequence[int]], sides: Sequence[int], candidate: int
) -> bool:
    """Return whether every type of the candidate is also in another part on the training side."""

    def is_other(number: int) -> bool:
        return number != candidate and sides[number] == TRAIN

    return any(map(is_other, range(len(parts)))) and all(
        any(map(is_other, carriers[name])) for name in parts[candidate].events
    )


def _seen(held_out: Sequence[_Part]) -> list[Notice]:
    """A notice if the base model was trained on some of the parts for validation."""
    seen = sum(part.side == TRAIN for part in held_out)
    if not seen:
        return []
    return [
        Notice(
            NoticeCode.VALIDATION_SEEN,
            f"the base model was trained on {seen} of {len(held_out)} parts of the validation audio, so the "
            "figures of this job are too good: add audio that the base model does not know",
        )
    ]


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
