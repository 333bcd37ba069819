"""Divides a job's audio into a training side and a validation side, which share no samples.

Chunks of one file share samples, so a split by chunks would leak training audio into validation. Instead,
whole files are divided, so that every artifact type is on both sides if possible. All copies of a recording
go to the same side, and all files of a group, such as those of one speaker. If there are too few recordings,
they are cut into contiguous blocks, with a gap between the two sides.

A job that starts from a base model must not be validated on what that model was trained on. So whole
recordings keep the side that they had, and only those that are new to the base model are divided.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from earmark.trainer.data.blocks import with_gap
from earmark.trainer.data.copies import SHIFT_FRAMES
from earmark.trainer.data.parts import TRAIN, VALIDATION, Part, Parts, count_events, parts_of
from earmark.trainer.data.sides import carriers_of, repaired, stratified
from earmark.trainer.events import Notice, NoticeCode
from earmark.trainer.job import TrainingFile
from earmark.trainer.model import KnownFiles
from earmark.trainer.regions import Region

ATTEMPTS = 20  # at most, to find a split with every type on both sides
MOST_OF_NEW = 0.5  # of the audio that is new to the base model, for validation


@dataclass(frozen=True, slots=True)
class Split:
    """The regions of the two sides, notices about what they lack, and how they were chosen, in a sentence."""

    train: tuple[Region, ...]
    validation: tuple[Region, ...]
    notices: tuple[Notice, ...]
    description: str


def split_files(
    files: Sequence[TrainingFile],
    copies: Sequence[Sequence[int]],
    types: Sequence[str],
    share: float,
    gap_frames: int,
    seed: int,
    known: KnownFiles | None = None,
) -> Split:
    """Divide the audio so that about `share` (0-1) of it is for validation.

    `files` are in the order of their content. Each element of `copies` has the numbers of the files that are
    copies of one recording; each file is in exactly one. Events of types that are not among `types` are
    ignored. `known` are the files of the base model. The result depends on the arguments alone.
    """
    recordings = sorted(map(sorted, copies))
    audio = parts_of(files, recordings, frozenset(types), known or KnownFiles())
    parts = audio.parts
    if any(len(recording) > 1 for recording in recordings):
        gap_frames += SHIFT_FRAMES  # one copy may be that much earlier or later than another
    rng = np.random.default_rng(seed)
    fewest_notices = _fewest_notices(parts, types)
    splits: list[Split] = []
    kept, share_of_new = _kept(parts, share) if audio.whole else ({}, share)
    while len(splits) < ATTEMPTS:
        sides = repaired(parts, _divided(parts, kept, types, share_of_new, rng), types)
        splits.append(_split(files, audio, sides, types, gap_frames))
        about_types = [notice for notice in splits[-1].notices if notice.artifact_type]
        if splits[-1].train and len(about_types) <= fewest_notices:
            break
    if not any(split.train for split in splits):  # what is held out here and there leaves only gaps
        splits.append(_split(files, audio, _last_held_out(parts, share), types, gap_frames))
    return min(splits, key=_shortfall)


def _kept(parts: Sequence[Part], share: float) -> tuple[dict[int, int], float]:
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
    parts: Sequence[Part],
    kept: Mapping[int, int],
    types: Sequence[str],
    share: float,
    rng: np.random.Generator,
) -> list[int]:
    """Return the side of each part: as in `kept`, and of the others about `share` for validation."""
    sides = [kept.get(number, TRAIN) for number in range(len(parts))]
    new = [number for number in range(len(parts)) if number not in kept]
    if new and share:
        chosen = stratified([parts[number] for number in new], types, share, rng)
        for number, side in zip(new, chosen, strict=True):
            sides[number] = side
    return sides


def _last_held_out(parts: Sequence[Part], share: float) -> list[int]:
    """Return the sides of the parts if the last ones, about `share` of the audio, are for validation."""
    before = np.cumsum([0, *(part.frames for part in parts)])[:-1]
    first = min((1 - share) * sum(part.frames for part in parts), before[-1])
    return [VALIDATION if number and start >= first else TRAIN for number, start in enumerate(before)]


def _split(
    files: Sequence[TrainingFile],
    audio: Parts,
    sides: Sequence[int],
    types: Sequence[str],
    gap_frames: int,
) -> Split:
    train, validation = (
        [
            region
            for part, part_side in zip(audio.parts, sides, strict=True)
            if part_side == side
            for region in part.regions
        ]
        for side in (TRAIN, VALIDATION)
    )
    train = with_gap(files, train, validation, gap_frames, frozenset(types))
    held_out = [part for part, side in zip(audio.parts, sides, strict=True) if side == VALIDATION]
    notices = (*_one_group(audio), *_notices(train, validation, types), *_seen(held_out))
    return Split(tuple(train), tuple(validation), notices, _description(audio, held_out))


def _description(audio: Parts, held_out: Sequence[Part]) -> str:
    """Say by what the audio is divided, how much of it is for validation, and what may be on both sides."""
    frames, of_all = (sum(part.frames for part in parts) for parts in (held_out, audio.parts))
    validated = f"{100 * frames / of_all:.0f} % of the audio, are for validation"
    count = f"{len(held_out)} of {len(audio.parts)}"
    match audio.by:
        case "group":
            return f"the split is by group: {count} parts, {validated}, and no group is on both sides"
        case "file":
            return f"the split is by file: {count} recordings, {validated}; one speaker may be on both sides"
        case "block":
            return f"the split is by block: {count} blocks, {validated}; there are too few recordings"


def _shortfall(split: Split) -> tuple[int, int, int]:
    """Rank a split, best first: training audio matters most, then training on every type, then validation."""
    codes = Counter(notice.code for notice in split.notices)
    return int(not split.train), codes[NoticeCode.TYPE_NOT_TRAINED], codes[NoticeCode.TYPE_NOT_VALIDATED]


def _fewest_notices(parts: Sequence[Part], types: Sequence[str]) -> int:
    """No split can avoid these: a type needs two parts to be on both sides, and one to be trained on."""
    carriers = carriers_of(parts)
    return sum(max(0, 2 - carriers[name]) for name in types)


def _one_group(audio: Parts) -> list[Notice]:
    """A notice if a group has all of the audio."""
    if not audio.one_group:
        return []
    return [
        Notice(
            NoticeCode.ONE_GROUP,
            "all of the audio is in one group, so the validation audio is of that group as well, and the "
            "figures of this job are too good for others: add audio of another group",
        )
    ]


def _seen(held_out: Sequence[Part]) -> list[Notice]:
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
    trained, validated = count_events(train), count_events(validation)
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
