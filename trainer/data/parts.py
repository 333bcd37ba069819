"""The parts of a job's audio, each of which goes to one side of the split as a whole.

A part is a group of files, as the user formed it, or a recording that is in no group. Copies of a recording
are always together, so a recording with copies in two groups joins them. If there are too few parts, the
recordings without a group are cut into contiguous blocks.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from earmark.trainer.data.blocks import blocks, length_in_frames
from earmark.trainer.job import TrainingFile
from earmark.trainer.model import KnownFiles
from earmark.trainer.regions import Region, draw_region

FEWEST = 4  # with fewer, a whole recording would be far more than the share for validation
TRAIN, VALIDATION = 0, 1  # the two sides

Recording = Sequence[int]  # the numbers of the files that are copies of it


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the audio. `side` is the one that it had for the base model; None if that does not know it."""

    regions: tuple[Region, ...]
    events: Counter[str]
    frames: int
    side: int | None


@dataclass(frozen=True, slots=True)
class Parts:
    """All of the audio, in parts. They are `whole` unless recordings are cut into blocks.

    If `one_group` has all of the audio, that is divided as if no file were in a group.
    """

    parts: tuple[Part, ...]
    by: Literal["group", "file", "block"]
    whole: bool
    one_group: bool


def parts_of(
    files: Sequence[TrainingFile], recordings: Sequence[Recording], types: Collection[str], known: KnownFiles
) -> Parts:
    """Divide the audio into parts, in the order of their recordings, with their events of these types."""
    units = _units(files, recordings)
    one_group = len(units) == 1 and _is_grouped(files, units[0])
    if one_group:
        units = [[recording] for recording in recordings]
    parts: list[Part] = []
    by_group, whole = False, True
    for unit in units:
        if not one_group and _is_grouped(files, unit):
            by_group = True
        elif len(units) < FEWEST:
            whole = False
            bounds = blocks(files, unit[0], len(units))
            parts += [_part(files, unit[0], block, types, known) for block in bounds]
            continue
        lengths = [(0, length_in_frames(files, recording)) for recording in unit]
        together = zip(unit, lengths, strict=True)
        parts.append(
            _joined([_part(files, recording, length, types, known) for recording, length in together])
        )
    return Parts(tuple(parts), "group" if by_group else "file" if whole else "block", whole, one_group)


def count_events(regions: Iterable[Region]) -> Counter[str]:
    """The number of likely events by type."""
    return Counter(event.artifact_type for region in regions for event in region.events if event.is_likely)


def _units(files: Sequence[TrainingFile], recordings: Sequence[Recording]) -> list[list[Recording]]:
    """Put recordings together that have a group in common, also by way of others. The first come first."""
    leaders = list(range(len(recordings)))
    first: dict[str, int] = {}
    for number, recording in enumerate(recordings):
        for group in filter(None, (files[file].group for file in recording)):
            one, other = _leader(leaders, first.setdefault(group, number)), _leader(leaders, number)
            leaders[max(one, other)] = min(one, other)
    members: dict[int, list[Recording]] = {}
    for number, recording in enumerate(recordings):
        members.setdefault(_leader(leaders, number), []).append(recording)
    return list(members.values())


def _leader(leaders: list[int], number: int) -> int:
    """Return the first of the recording's unit, and halve the way to it."""
    while leaders[number] != number:
        leaders[number] = leaders[leaders[number]]
        number = leaders[number]
    return number


def _is_grouped(files: Sequence[TrainingFile], unit: Sequence[Recording]) -> bool:
    return any(files[number].group for recording in unit for number in recording)


def _part(
    files: Sequence[TrainingFile],
    recording: Recording,
    bounds: tuple[int, int],
    types: Collection[str],
    known: KnownFiles,
) -> Part:
    """Return the part of a recording between two frames. A shorter copy has a shorter region, or none."""
    start, end = bounds
    ends = ((number, min(end, length_in_frames(files, [number]))) for number in recording)
    regions = tuple(
        draw_region(files, number, start, copy_end, types) for number, copy_end in ends if copy_end > start
    )
    return Part(regions, count_events(regions), end - start, _side_before(files, recording, known))


def _joined(parts: Sequence[Part]) -> Part:
    """Return the parts as one. What the base model was trained on decides its side before."""
    regions = tuple(region for part in parts for region in part.regions)
    sides = [part.side for part in parts if part.side is not None]
    frames = sum(part.frames for part in parts)
    return Part(regions, count_events(regions), frames, min(sides, default=None))


def _side_before(files: Sequence[TrainingFile], recording: Recording, known: KnownFiles) -> int | None:
    """Return the side that the recording had for the base model, which may know any copy of it."""
    digests = {files[number].sha256 for number in recording}
    if digests & known.trained:
        return TRAIN
    return VALIDATION if digests & known.held_out else None
