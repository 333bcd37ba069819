"""Chooses the side of each part of a job's audio, so that about the wanted share of it is for validation.

The parts are divided by iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011), and some are then
moved, so that every artifact type is on both sides if possible.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from earmark.trainer.data.parts import TRAIN, VALIDATION, Part

LONGEST_CHAIN = 4  # parts that may change sides to bring one type to a side


def stratified(
    parts: Sequence[Part],
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
    carriers = carriers_of(parts)
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
        carriers -= carriers_of(parts[number] for number in batch)
        assigned = set(batch)
        remaining = [number for number in remaining if number not in assigned]
    return sides


def carriers_of(parts: Iterable[Part]) -> Counter[str]:
    """The number of parts that have events of each type."""
    return Counter(name for part in parts for name in part.events)


def repaired(parts: Sequence[Part], sides: Sequence[int], types: Sequence[str]) -> list[int]:
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
    result = [TRAIN if number in fixed else side for number, side in enumerate(sides)]
    for side in (TRAIN, VALIDATION):
        for numbers in carriers.values():
            if any(result[number] == side for number in numbers):
                continue
            options = (
                _moved(parts, carriers, result, number, fixed, LONGEST_CHAIN)
                for number in numbers
                if number not in fixed
            )
            if option := next(filter(None, options), None):
                result = option
            elif numbers and side == TRAIN:
                result[numbers[0]] = TRAIN
    if VALIDATION not in result:
        movable = (number for number in by_size if _is_spare(parts, carriers, result, number))
        if (spare := next(movable, None)) is not None:
            result[spare] = VALIDATION
    return result


def _moved(
    parts: Sequence[Part],
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
    parts: Sequence[Part], carriers: Mapping[str, Sequence[int]], sides: Sequence[int], candidate: int
) -> bool:
    """Return whether every type of the candidate is also in another part on the training side."""

    def is_other(number: int) -> bool:
        return number != candidate and sides[number] == TRAIN

    return any(map(is_other, range(len(parts)))) and all(
        any(map(is_other, carriers[name])) for name in parts[candidate].events
    )
