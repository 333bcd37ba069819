"""Plants artifacts in clean audio and returns an annotation for each.

Times are whole milliseconds. Only `_at` converts them to samples, so that an annotation covers exactly the
samples that were changed. Pauses and repetitions are inserted first, since they move what follows; the other
artifacts then replace speech in the longer audio.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LONG_PAUSE = "long_pause"
REPETITION = "repetition"
CROSSTALK = "crosstalk"
GAP_MS = 400
FRAME_MS = 10
_PAUSE_MS = (750, 1500)
_UNIT_MS = (120, 350)
_REPEATS = (1, 4)
_MARGIN_MS = 150
_TRIES = 60
_ACTIVE = 0.25
_ACTIVE_SHARE = 0.8
_QUIET_PERCENTILE = 5
_CUT_SEARCH_MS = 120
_CUT_FADE_MS = 6
_PACKET_MS = 20
_CLICK_MS = 5
_ECHO_MEMORY_MS = 900
_CROSSTALK_FADE_MS = 20

Audio = NDArray[np.float32]
Samples = NDArray[np.floating]
Rng = np.random.Generator


@dataclass(frozen=True)
class Annotation:
    """One planted artifact: its type, onset and offset (ms)."""

    artifact_type: str
    start_ms: int
    end_ms: int


def inject(
    audio: Audio,
    rate: int,
    rng: Rng,
    types: Sequence[str],
    per_minute: float = 18.0,
    second_voice: Audio | None = None,
) -> tuple[Audio, list[Annotation]]:
    """Return a copy of mono `audio` with about `per_minute` artifacts a minute, and their annotations.

    `types` are some of `TYPES`, planted about equally often. Crosstalk takes parts of `second_voice`, mono
    speech at the same `rate`. Annotations are in order, lie inside the returned audio (which is longer if
    pauses or repetitions were inserted), and are at least 50 ms long and 400 ms apart. An artifact is left
    out if there is no room or no speech for it. The same generator state gives the same samples. Raises
    ValueError for an unknown type, for crosstalk without a second voice, and for audio that is not mono.
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
    replacing = [name for name in wanted if name in KINDS]
    for name in sorted(replacing, key=lambda name: -KINDS[name].longest_ms):
        kind = KINDS[name]
        length = int(rng.integers(kind.shortest_ms, kind.longest_ms + 1)) // kind.unit_ms * kind.unit_ms
        start = _place(speech, length, annotations, rng)
        if start is None:
            continue
        part = slice(_at(start, rate), _at(start + length, rate))
        damaged = kind.apply(Scene(audio, part, rate, peak, second_voice), rng)
        if damaged is None:
            continue
        audio[part] = np.clip(damaged, -1, 1)
        annotations.append(Annotation(name, start, start + length))
    return audio, sorted(annotations, key=_start)


@dataclass(frozen=True)
class Scene:
    """The input of an artifact: the audio, the slice of samples to replace, and the clean audio's peak.

    `second_voice` is speech of another voice, for crosstalk.
    """

    audio: Audio
    part: "slice[int, int]"
    rate: int
    peak: float
    second_voice: Audio | None

    @property
    def length(self) -> int:
        """The number of samples to replace."""
        return self.part.stop - self.part.start

    @property
    def clean(self) -> Audio:
        """The samples to replace."""
        return self.audio[self.part]

    @property
    def level(self) -> float:
        """The root mean square of the samples to replace."""
        return _rms(self.clean)


def _glitch(scene: Scene, rng: Rng) -> Samples:
    """Clicks: bursts of noise that decay within 5 ms, with one at the onset and one before the offset."""
    count = int(rng.integers(2, 6))
    last = scene.length - _at(_CLICK_MS, scene.rate)
    onsets = np.concatenate([[0], rng.uniform(0, last, count), [last]])
    clicks = np.zeros(scene.length)
    for onset in onsets.astype(int):
        tail = np.arange(scene.length - onset)
        decay = np.exp(-tail / (rng.uniform(0.0004, 0.0015) * scene.rate))
        clicks[onset:] += decay * rng.uniform(-1, 1, len(tail)) + (tail == 0)
    damaged: Samples = scene.clean + clicks / np.abs(clicks).max() * scene.peak * rng.uniform(0.8, 1.4)
    return damaged


def _dropout(scene: Scene, _rng: Rng) -> Samples:
    """Lost packets: digital silence with hard edges."""
    return np.zeros(scene.length, np.float32)


def _static(scene: Scene, rng: Rng) -> Samples:
    """Hiss with crackle."""
    hiss = rng.standard_normal(scene.length)
    crackle = rng.standard_normal(scene.length) * (rng.random(scene.length) < 60 / scene.rate)
    noise = hiss + rng.uniform(2, 5) * crackle
    damaged: Samples = scene.clean + noise * scene.level * rng.uniform(0.35, 0.8)
    return damaged


def _clipping(scene: Scene, rng: Rng) -> Samples:
    """Speech amplified beyond a ceiling, which gives it flat tops."""
    ceiling = scene.peak * rng.uniform(0.75, 1.2)
    drive = ceiling / scene.level * rng.uniform(1.4, 2.8)
    clipped: Samples = np.clip(scene.clean * drive, -ceiling, ceiling)
    return clipped


def _echo(scene: Scene, rng: Rng) -> Samples:
    """A feedback delay. It repeats the speech before the onset too, so it is audible from the onset on."""
    first = max(0, scene.part.start - _at(_ECHO_MEMORY_MS, scene.rate))
    delay = _at(int(rng.integers(110, 240)), scene.rate)
    feedback = rng.uniform(0.55, 0.75)
    wet = scene.audio[first : scene.part.stop].copy()
    for at in range(delay, len(wet), delay):
        repeat = wet[at : at + delay]
        repeat += feedback * wet[at - delay : at][: len(repeat)]
    return wet[scene.part.start - first :]


def _crosstalk(scene: Scene, rng: Rng) -> Samples | None:
    """Speech of the second voice, at a third to nine tenths of the level; None if no random try finds any."""
    if scene.second_voice is None:
        return None
    length_ms = -(-scene.length * 1000 // scene.rate)
    start = _place(speech_frames(scene.second_voice, scene.rate), length_ms, (), rng)
    if start is None:
        return None
    first = _at(start, scene.rate)
    second = scene.second_voice[first : first + scene.length].astype(np.float64)
    second *= scene.level * rng.uniform(1 / 3, 0.9) / _rms(second)
    fade = np.linspace(0, 1, _at(_CROSSTALK_FADE_MS, scene.rate))
    second[: len(fade)] *= fade
    second[len(second) - len(fade) :] *= fade[::-1]
    damaged: Samples = scene.clean + second
    return damaged


@dataclass(frozen=True)
class Kind:
    """A type of artifact: its range of lengths, the unit of a length, and how to make its samples.

    `apply` returns the samples that replace those of the scene, or None if it cannot make any.
    """

    shortest_ms: int
    longest_ms: int
    apply: Callable[[Scene, Rng], Samples | None]
    unit_ms: int = 1


KINDS = {
    "glitch": Kind(60, 110, _glitch),
    "dropout": Kind(80, 260, _dropout, unit_ms=_PACKET_MS),
    "static": Kind(250, 900, _static),
    "clipping": Kind(350, 1000, _clipping),
    "echo": Kind(800, 1700, _echo),
    CROSSTALK: Kind(700, 1600, _crosstalk),
}
INSERTED = (LONG_PAUSE, REPETITION)
TYPES = (*KINDS, *INSERTED)


def _insert(audio: Audio, rate: int, rng: Rng, names: Sequence[str]) -> tuple[Audio, list[Annotation]]:
    """Insert the pauses and repetitions `names` as far as there is room; return audio and annotations."""
    levels = _levels(audio, rate)
    tone = float(np.percentile(levels, _QUIET_PERCENTILE)) if len(levels) else 0.0
    annotations: list[Annotation] = []
    moved = 0
    for cut in _cuts(audio, rate, rng, names):
        start = cut.end_ms + moved
        unit = cut.end_ms - cut.start_ms
        length = int(rng.integers(*_REPEATS)) * unit if unit else int(rng.integers(*_PAUSE_MS))
        added = slice(_at(start, rate), _at(start + length, rate))
        if unit:
            sound = _repeated(audio, _at(start - unit, rate), added, rate)
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
        start = _place(speech, length, cuts, rng)
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
    return np.linspace(1, 0, _at(_CUT_FADE_MS, rate))


def _quietest(audio: Audio, rate: int, start: int) -> int:
    """Return the centre (ms) of the quietest 6 ms in the search window that begins at `start`."""
    half = _CUT_FADE_MS // 2
    places = range(start + half, start + 2 * _CUT_SEARCH_MS - half)
    return min(places, key=lambda ms: _rms(audio[_at(ms - half, rate) : _at(ms + half, rate)]))


def _shuffled(types: Sequence[str], count: int, rng: Rng) -> list[str]:
    """Return `count` types in random order: each type once before any is repeated."""
    rounds = [rng.permutation(len(types)) for _ in range(0, count, max(1, len(types)))] if types else []
    return [types[index] for order in rounds for index in order][:count]


def _place(speech: NDArray[np.bool_], length: int, annotations: Sequence[Annotation], rng: Rng) -> int | None:
    """Return an onset (ms) such that `length` ms are speech, away from the ends and from `annotations`.

    Returns None if no random try finds one.
    """
    latest = len(speech) * FRAME_MS - _MARGIN_MS - length
    if latest <= _MARGIN_MS:
        return None
    for start in rng.integers(_MARGIN_MS, latest, _TRIES).tolist():
        end = start + length
        free = all(start >= other.end_ms + GAP_MS or end + GAP_MS <= other.start_ms for other in annotations)
        frames = speech[start // FRAME_MS : -(-end // FRAME_MS)]
        edges = frames[0] and frames[-1]
        if free and edges and frames.mean() >= _ACTIVE_SHARE:
            return int(start)
    return None


def speech_frames(audio: Audio, rate: int) -> NDArray[np.bool_]:
    """Return whether each whole frame of 10 ms contains speech."""
    threshold = _ACTIVE * max(_rms(audio), float(np.finfo(np.float32).tiny))
    active: NDArray[np.bool_] = _levels(audio, rate) > threshold
    return active


def _levels(audio: Audio, rate: int) -> NDArray[np.float64]:
    """Return the root mean square of each whole frame of 10 ms."""
    count = int(len(audio) * 1000 / rate) // FRAME_MS
    edges = np.array([_at(frame * FRAME_MS, rate) for frame in range(count + 1)])
    power = np.concatenate([[0.0], np.cumsum(np.square(audio, dtype=np.float64))])
    levels: NDArray[np.float64] = np.sqrt(np.diff(power[edges]) / np.diff(edges))
    return levels


def _start(annotation: Annotation) -> int:
    return annotation.start_ms


def _rms(audio: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))) if len(audio) else 0.0


def _at(ms: int, rate: int) -> int:
    """Return the sample at `ms`."""
    return round(ms * rate / 1000)
