"""Plants artifacts in clean audio and returns an annotation for each.

Times are whole milliseconds. Only `sample_at` converts them to samples, so that an annotation covers exactly
the samples that were changed. Pauses and repetitions are inserted first, since they move what follows; the
other artifacts then replace speech in the longer audio.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from demo.effects import CROSSTALK, KINDS, Kind, Scene
from demo.placing import Annotation, Audio, Rng, Samples, levels, place, rms, sample_at, speech_frames

LONG_PAUSE = "long_pause"
REPETITION = "repetition"
INSERTED = (LONG_PAUSE, REPETITION)
TYPES = (*KINDS, *INSERTED)
_PAUSE_MS = (750, 1500)
_UNIT_MS = (120, 350)
_REPEATS = (1, 4)
_QUIET_PERCENTILE = 5
_CUT_SEARCH_MS = 120
_CUT_FADE_MS = 6


def inject(
    audio: Audio,
    rate: int,
    rng: Rng,
    types: Sequence[str],
    per_minute: float = 18.0,
    second_voice: Audio | None = None,
    kinds: Mapping[str, Kind] = KINDS,
) -> tuple[Audio, list[Annotation]]:
    """Return a copy of mono `audio` with about `per_minute` artifacts a minute, and their annotations.

    `types` are some of `TYPES`, planted about equally often; those that replace speech are made as `kinds`
    says. Crosstalk takes parts of `second_voice`, mono speech at the same `rate`. Annotations are in order,
    lie inside the returned audio (which is longer if pauses or repetitions were inserted), and are 400 ms
    apart. An artifact is left out if there is no room or no speech for it. The same generator state gives
    the same samples. Raises ValueError for an unknown type, for crosstalk without a second voice, and for
    audio that is not mono.
    """
    if unknown := [name for name in types if name not in TYPES]:
        raise ValueError(f"no artifact {', '.join(unknown)}; there are {', '.join(TYPES)}")
    if CROSSTALK in types and second_voice is None:
        raise ValueError("crosstalk needs a second voice")
    if audio.ndim != 1:
        raise ValueError(f"artifacts go into mono audio, not into shape {audio.shape}")
    wanted = _shuffled(types, round(len(audio) / rate / 60 * per_minute), rng)
    peak = float(np.abs(audio).max(initial=0.0))
    inserted = [name for name in wanted if name in INSERTED]
    audio, annotations = _insert(audio.astype(np.float32), rate, rng, inserted)
    speech = speech_frames(audio, rate)
    # The longest first: they find room, and what an echo repeats contains no other artifact.
    replacing = [name for name in wanted if name not in INSERTED]
    for name in sorted(replacing, key=lambda name: -kinds[name].longest_ms):
        kind = kinds[name]
        length = int(rng.integers(kind.shortest_ms, kind.longest_ms + 1)) // kind.unit_ms * kind.unit_ms
        start = place(speech, length, annotations, rng)
        if start is None:
            continue
        part = slice(sample_at(start, rate), sample_at(start + length, rate))
        damaged = kind.apply(Scene(audio, part, rate, peak, second_voice), rng)
        if damaged is None:
            continue
        audio[part] = np.clip(damaged, -1, 1)
        annotations.append(Annotation(name, start, start + length))
    return audio, sorted(annotations, key=_start)


def _insert(audio: Audio, rate: int, rng: Rng, names: Sequence[str]) -> tuple[Audio, list[Annotation]]:
    """Insert the pauses and repetitions `names` as far as there is room; return audio and annotations."""
    quiet = levels(audio, rate)
    tone = float(np.percentile(quiet, _QUIET_PERCENTILE)) if len(quiet) else 0.0
    annotations: list[Annotation] = []
    moved = 0
    for cut in _cuts(audio, rate, rng, names):
        start = cut.end_ms + moved
        unit = cut.end_ms - cut.start_ms
        length = int(rng.integers(*_REPEATS)) * unit if unit else int(rng.integers(*_PAUSE_MS))
        added = slice(sample_at(start, rate), sample_at(start + length, rate))
        if unit:
            sound = _repeated(audio, sample_at(start - unit, rate), added, rate)
        else:
            sound = _pause(audio, added, rate, tone * rng.standard_normal(added.stop - added.start))
        audio = np.concatenate([audio[: added.start], sound.astype(np.float32), audio[added.start :]])
        annotations.append(Annotation(cut.artifact_type, start, start + length))
        moved += length
    return audio, annotations


def _cuts(audio: Audio, rate: int, rng: Rng, names: Sequence[str]) -> list[Annotation]:
    """Return, in order, where to insert `names`: at the end of the speech to repeat, or at a quiet moment."""
    speech = speech_frames(audio, rate)
    cuts: list[Annotation] = []
    for name in names:
        length = 2 * _CUT_SEARCH_MS if name == LONG_PAUSE else int(rng.integers(*_UNIT_MS))
        start = place(speech, length, cuts, rng)
        if start is None:
            continue
        if name == LONG_PAUSE:
            at = _quietest(audio, rate, start)
            cuts.append(Annotation(name, at, at))
        else:
            cuts.append(Annotation(name, start, start + length))
    return sorted(cuts, key=_start)


def _pause(audio: Audio, added: "slice[int, int]", rate: int, tone: Samples) -> Samples:
    """Return `tone` for the samples `added`. The sounds on both sides fade out and in within it.

    A hard edge would be a click.
    """
    fade = _fade_out(rate)
    tone[: len(fade)] += fade * audio[added.start : added.start + len(fade)]
    tone[len(tone) - len(fade) :] += fade[::-1] * audio[added.start - len(fade) : added.start]
    return tone


def _repeated(audio: Audio, first: int, added: "slice[int, int]", rate: int) -> Samples:
    """Return the speech from `first` up to `added`, repeated for the samples `added`.

    What follows fades out while a repeat fades in, and the last repeat ends where the speech goes on, so that
    no edge is a click.
    """
    unit = audio[first : added.start].astype(np.float64)
    fade = _fade_out(rate)
    unit[: len(fade)] *= fade[::-1]
    unit[: len(fade)] += fade * audio[added.start : added.start + len(fade)]
    length = added.stop - added.start
    # At most rates a millisecond is no whole number of samples, so that `length` may not be one of units.
    return np.tile(unit, -(-length // len(unit)))[-length:]


def _fade_out(rate: int) -> NDArray[np.float64]:
    return np.linspace(1, 0, sample_at(_CUT_FADE_MS, rate))


def _quietest(audio: Audio, rate: int, start: int) -> int:
    """Return the centre (ms) of the quietest 6 ms in the search window that begins at `start`."""
    half = _CUT_FADE_MS // 2
    places = range(start + half, start + 2 * _CUT_SEARCH_MS - half)
    return min(places, key=lambda ms: rms(audio[sample_at(ms - half, rate) : sample_at(ms + half, rate)]))


def _shuffled(types: Sequence[str], count: int, rng: Rng) -> list[str]:
    """Return `count` types in random order: each type once before any is repeated."""
    rounds = [rng.permutation(len(types)) for _ in range(0, count, max(1, len(types)))] if types else []
    return [types[index] for order in rounds for index in order][:count]


def _start(annotation: Annotation) -> int:
    return annotation.start_ms
