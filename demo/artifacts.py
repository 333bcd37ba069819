"""Plants artifacts in clean audio, at times it returns.

Times are whole milliseconds, turned into samples in one place (`_at`), so that a mark covers exactly the
samples that were changed. Pauses go in first, since they move what follows; the other artifacts then change
the lengthened audio where somebody is speaking.
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
Rng = np.random.Generator


@dataclass(frozen=True)
class Mark:
    """One artifact: where it starts and ends, in milliseconds."""

    artifact_type: str
    start_ms: int
    end_ms: int


def inject(
    audio: Audio, rate: int, rng: Rng, types: Sequence[str] | None = None, per_minute: float = 18.0
) -> tuple[Audio, list[Mark]]:
    """Return a copy of mono `audio` with about `per_minute` artifacts a minute, and their marks in order.

    `types` are some of `TYPES` (default: all), planted about equally often. Marks lie inside the returned
    audio, which pauses make longer, are at least 50 ms long and 400 ms apart. Artifacts that find no room,
    or no speech, are left out. The same generator state gives the same samples.
    """
    types = TYPES if types is None else tuple(types)
    if unknown := [name for name in types if name not in TYPES]:
        raise ValueError(f"no artifact {', '.join(unknown)}; there are {', '.join(TYPES)}")
    if audio.ndim != 1:
        raise ValueError(f"artifacts go into mono audio, not into shape {audio.shape}")
    wanted = _deal(types, round(len(audio) / rate / 60 * per_minute), rng)
    peak = float(np.abs(audio).max(initial=0.0))
    audio, marks = _insert_pauses(audio.astype(np.float32), rate, rng, wanted.count(LONG_PAUSE))
    heard = _heard(audio, rate)
    # The longest first: they find room, and an echo's memory holds none of the others.
    brief = [name for name in wanted if name != LONG_PAUSE]
    for name in sorted(brief, key=lambda name: -KINDS[name].longest_ms):
        kind = KINDS[name]
        length = int(rng.integers(kind.shortest_ms, kind.longest_ms + 1)) // kind.unit_ms * kind.unit_ms
        start = _place(heard, length, marks, rng)
        if start is None:
            continue
        part = slice(_at(start, rate), _at(start + length, rate))
        audio[part] = np.clip(kind.apply(Scene(audio, part, rate, peak), rng), -1, 1)
        marks.append(Mark(name, start, start + length))
    return audio, sorted(marks, key=_start)


@dataclass(frozen=True)
class Scene:
    """What an artifact sees: the audio, the samples it replaces, and the clean audio's peak."""

    audio: Audio
    part: slice
    rate: int
    peak: float

    @property
    def length(self) -> int:
        """Samples to be replaced."""
        return self.part.stop - self.part.start

    @property
    def clean(self) -> Audio:
        """The samples to be replaced."""
        return self.audio[self.part]

    @property
    def level(self) -> float:
        """Root mean square of what is replaced."""
        return _rms(self.clean)


def _glitch(scene: Scene, rng: Rng) -> Audio:
    """Clicks: bursts of noise that die away within 5 ms, one at each end."""
    count = int(rng.integers(2, 6))
    last = scene.length - _at(_CLICK_MS, scene.rate)
    onsets = np.concatenate([[0], rng.uniform(0, last, count), [last]])
    clicks = np.zeros(scene.length)
    for onset in onsets.astype(int):
        tail = np.arange(scene.length - onset)
        decay = np.exp(-tail / (rng.uniform(0.0004, 0.0015) * scene.rate))
        clicks[onset:] += decay * rng.uniform(-1, 1, len(tail)) + (tail == 0)
    return scene.clean + clicks / np.abs(clicks).max() * scene.peak * rng.uniform(0.8, 1.4)


def _dropout(scene: Scene, _rng: Rng) -> Audio:
    """Lost packets: digital silence with hard edges."""
    return np.zeros(scene.length, np.float32)


def _static(scene: Scene, rng: Rng) -> Audio:
    """Hiss with crackle in it."""
    hiss = rng.standard_normal(scene.length)
    crackle = rng.standard_normal(scene.length) * (rng.random(scene.length) < 60 / scene.rate)
    noise = hiss + rng.uniform(2, 5) * crackle
    return scene.clean + noise * scene.level * rng.uniform(0.35, 0.8)


def _clipping(scene: Scene, rng: Rng) -> Audio:
    """Driven into a ceiling far below the drive: flat tops."""
    ceiling = scene.peak * rng.uniform(0.75, 1.2)
    drive = ceiling / scene.level * rng.uniform(1.4, 2.8)
    return np.clip(scene.clean * drive, -ceiling, ceiling)


def _echo(scene: Scene, rng: Rng) -> Audio:
    """Feedback delay; it has heard the speech before the onset, so that it answers from the onset on."""
    first = max(0, scene.part.start - _at(_ECHO_MEMORY_MS, scene.rate))
    delay = _at(int(rng.integers(110, 240)), scene.rate)
    feedback = rng.uniform(0.55, 0.75)
    wet = scene.audio[first : scene.part.stop].copy()
    for at in range(delay, len(wet), delay):
        answer = wet[at : at + delay]
        answer += feedback * wet[at - delay : at][: len(answer)]
    return wet[scene.part.start - first :]


@dataclass(frozen=True)
class Kind:
    """An artifact's range of lengths, the unit they come in, and how it replaces its samples."""

    shortest_ms: int
    longest_ms: int
    apply: Callable[[Scene, Rng], Audio]
    unit_ms: int = 1


KINDS = {
    "glitch": Kind(60, 110, _glitch),
    "dropout": Kind(80, 260, _dropout, unit_ms=_PACKET_MS),
    "static": Kind(250, 900, _static),
    "clipping": Kind(350, 1000, _clipping),
    "echo": Kind(800, 1700, _echo),
}
TYPES = (*KINDS, LONG_PAUSE)


def _insert_pauses(audio: Audio, rate: int, rng: Rng, count: int) -> tuple[Audio, list[Mark]]:
    """Insert up to `count` pauses of room tone between sounds, left to right."""
    heard = _heard(audio, rate)
    tone = float(np.percentile(_levels(audio, rate), _QUIET_PERCENTILE)) if len(heard) else 0.0
    cuts: list[Mark] = []
    for _ in range(count):
        near = _place(heard, 2 * _CUT_SEARCH_MS, cuts, rng)
        if near is not None:
            at = _quietest(audio, rate, near)
            cuts.append(Mark(LONG_PAUSE, at, at))

    marks: list[Mark] = []
    moved = 0
    for cut in sorted(cuts, key=_start):
        start = cut.start_ms + moved
        length = int(rng.integers(*_PAUSE_MS))
        first, last = _at(start, rate), _at(start + length, rate)
        pause = tone * rng.standard_normal(last - first)
        fade = np.linspace(1, 0, _at(_CUT_FADE_MS, rate))
        # What the cut tore apart dies away and swells inside the pause: a hard edge would be a click.
        pause[: len(fade)] += fade * audio[first : first + len(fade)]
        pause[len(pause) - len(fade) :] += fade[::-1] * audio[first - len(fade) : first]
        audio = np.concatenate([audio[:first], pause.astype(np.float32), audio[first:]])
        marks.append(Mark(LONG_PAUSE, start, start + length))
        moved += length
    return audio, marks


def _quietest(audio: Audio, rate: int, start: int) -> int:
    """Return the millisecond about which 6 ms are quietest, in the search window from `start` on."""
    half = _CUT_FADE_MS // 2
    places = range(start + half, start + 2 * _CUT_SEARCH_MS - half)
    return min(places, key=lambda ms: _rms(audio[_at(ms - half, rate) : _at(ms + half, rate)]))


def _deal(types: Sequence[str], count: int, rng: Rng) -> list[str]:
    """Deal `count` types like cards: each comes once before any comes again."""
    hands = [rng.permutation(len(types)) for _ in range(0, count, max(1, len(types)))] if types else []
    return [types[card] for hand in hands for card in hand][:count]


def _place(heard: NDArray[np.bool_], length: int, marks: Sequence[Mark], rng: Rng) -> int | None:
    """Return a start in ms where `length` ms are speech, away from the ends and from `marks`, if there is."""
    latest = len(heard) * _FRAME_MS - _MARGIN_MS - length
    if latest <= _MARGIN_MS:
        return None
    for start in rng.integers(_MARGIN_MS, latest, _TRIES).tolist():
        end = start + length
        free = all(start >= mark.end_ms + GAP_MS or end + GAP_MS <= mark.start_ms for mark in marks)
        frames = heard[start // _FRAME_MS : -(-end // _FRAME_MS)]
        edges = frames[0] and frames[-1]
        if free and edges and frames.mean() >= _ACTIVE_SHARE:
            return int(start)
    return None


def _heard(audio: Audio, rate: int) -> NDArray[np.bool_]:
    """Return, for each whole frame of 10 ms, whether it carries speech."""
    return _levels(audio, rate) > _ACTIVE * max(_rms(audio), np.finfo(np.float32).tiny)


def _levels(audio: Audio, rate: int) -> NDArray[np.float64]:
    """Return the root mean square of each whole frame of 10 ms."""
    count = int(len(audio) * 1000 / rate) // _FRAME_MS
    edges = np.array([_at(frame * _FRAME_MS, rate) for frame in range(count + 1)])
    power = np.concatenate([[0.0], np.cumsum(np.square(audio, dtype=np.float64))])
    return np.sqrt(np.diff(power[edges]) / np.diff(edges))


def _start(mark: Mark) -> int:
    return mark.start_ms


def _rms(audio: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))) if len(audio) else 0.0


def _at(ms: int, rate: int) -> int:
    """Return the sample at `ms`."""
    return round(ms * rate / 1000)
