"""Plants artifacts in clean audio and returns an annotation for each.

Times are whole milliseconds. Only `_at` converts them to samples, so that an annotation covers exactly the
samples that were changed. Pauses are inserted first, since they move what follows; the other artifacts then
replace speech in the longer audio.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LONG_PAUSE = "long_pause"
GAP_MS = 400
_PAUSE_MS = (750, 1500)
_MARGIN_MS = 150
_FRAME_MS = 10
_TRIES = 60
_ACTIVE = 0.25
_ACTIVE_SHARE = 0.8
_QUIET_PERCENTILE = 5
_CUT_SEARCH_MS = 120
_CUT_FADE_MS = 6
_PACKET_MS = 20
_CLICK_MS = 5
_ECHO_MEMORY_MS = 900

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
    audio: Audio, rate: int, rng: Rng, types: Sequence[str] | None = None, per_minute: float = 18.0
) -> tuple[Audio, list[Annotation]]:
    """Return a copy of mono `audio` with about `per_minute` artifacts a minute, and their annotations.

    `types` are some of `TYPES` (default: all), planted about equally often. Annotations are in order, lie
    inside the returned audio (which is longer if pauses were inserted), and are at least 50 ms long and
    400 ms apart. An artifact is left out if there is no room or no speech for it. The same generator state
    gives the same samples. Raises ValueError for an unknown type, and for audio that is not mono.
    """
    types = TYPES if types is None else tuple(types)
    if unknown := [name for name in types if name not in TYPES]:
        raise ValueError(f"no artifact {', '.join(unknown)}; there are {', '.join(TYPES)}")
    if audio.ndim != 1:
        raise ValueError(f"artifacts go into mono audio, not into shape {audio.shape}")
    wanted = _shuffled(types, round(len(audio) / rate / 60 * per_minute), rng)
    peak = float(np.abs(audio).max(initial=0.0))
    audio, annotations = _insert_pauses(audio.astype(np.float32), rate, rng, wanted.count(LONG_PAUSE))
    speech = _speech_frames(audio, rate)
    # The longest first: they find room, and what an echo repeats contains no other artifact.
    brief = [name for name in wanted if name != LONG_PAUSE]
    for name in sorted(brief, key=lambda name: -KINDS[name].longest_ms):
        kind = KINDS[name]
        length = int(rng.integers(kind.shortest_ms, kind.longest_ms + 1)) // kind.unit_ms * kind.unit_ms
        start = _place(speech, length, annotations, rng)
        if start is None:
            continue
        part = slice(_at(start, rate), _at(start + length, rate))
        audio[part] = np.clip(kind.apply(Scene(audio, part, rate, peak), rng), -1, 1)
        annotations.append(Annotation(name, start, start + length))
    return audio, sorted(annotations, key=_start)


@dataclass(frozen=True)
class Scene:
    """The input of an artifact: the audio, the slice of samples to replace, and the clean audio's peak."""

    audio: Audio
    part: "slice[int, int]"
    rate: int
    peak: float

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


@dataclass(frozen=True)
class Kind:
    """A type of artifact: its range of lengths, the unit of a length, and how to make its samples."""

    shortest_ms: int
    longest_ms: int
    apply: Callable[[Scene, Rng], Samples]
    unit_ms: int = 1


KINDS = {
    "glitch": Kind(60, 110, _glitch),
    "dropout": Kind(80, 260, _dropout, unit_ms=_PACKET_MS),
    "static": Kind(250, 900, _static),
    "clipping": Kind(350, 1000, _clipping),
    "echo": Kind(800, 1700, _echo),
}
TYPES = (*KINDS, LONG_PAUSE)


def _insert_pauses(audio: Audio, rate: int, rng: Rng, count: int) -> tuple[Audio, list[Annotation]]:
    """Insert up to `count` pauses of room tone at quiet moments; return the audio and the annotations."""
    speech = _speech_frames(audio, rate)
    tone = float(np.percentile(_levels(audio, rate), _QUIET_PERCENTILE)) if len(speech) else 0.0
    cuts: list[Annotation] = []
    for _ in range(count):
        near = _place(speech, 2 * _CUT_SEARCH_MS, cuts, rng)
        if near is not None:
            at = _quietest(audio, rate, near)
            cuts.append(Annotation(LONG_PAUSE, at, at))

    annotations: list[Annotation] = []
    moved = 0
    for cut in sorted(cuts, key=_start):
        start = cut.start_ms + moved
        length = int(rng.integers(*_PAUSE_MS))
        first, last = _at(start, rate), _at(start + length, rate)
        pause = tone * rng.standard_normal(last - first)
        fade = np.linspace(1, 0, _at(_CUT_FADE_MS, rate))
        # The sounds on both sides fade out and in within the pause, since a hard edge would be a click.
        pause[: len(fade)] += fade * audio[first : first + len(fade)]
        pause[len(pause) - len(fade) :] += fade[::-1] * audio[first - len(fade) : first]
        audio = np.concatenate([audio[:first], pause.astype(np.float32), audio[first:]])
        annotations.append(Annotation(LONG_PAUSE, start, start + length))
        moved += length
    return audio, annotations


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
    latest = len(speech) * _FRAME_MS - _MARGIN_MS - length
    if latest <= _MARGIN_MS:
        return None
    for start in rng.integers(_MARGIN_MS, latest, _TRIES).tolist():
        end = start + length
        free = all(start >= other.end_ms + GAP_MS or end + GAP_MS <= other.start_ms for other in annotations)
        frames = speech[start // _FRAME_MS : -(-end // _FRAME_MS)]
        edges = frames[0] and frames[-1]
        if free and edges and frames.mean() >= _ACTIVE_SHARE:
            return int(start)
    return None


def _speech_frames(audio: Audio, rate: int) -> NDArray[np.bool_]:
    """Return whether each whole frame of 10 ms contains speech."""
    threshold = _ACTIVE * max(_rms(audio), float(np.finfo(np.float32).tiny))
    active: NDArray[np.bool_] = _levels(audio, rate) > threshold
    return active


def _levels(audio: Audio, rate: int) -> NDArray[np.float64]:
    """Return the root mean square of each whole frame of 10 ms."""
    count = int(len(audio) * 1000 / rate) // _FRAME_MS
    edges = np.array([_at(frame * _FRAME_MS, rate) for frame in range(count + 1)])
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
