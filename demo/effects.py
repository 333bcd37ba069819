"""How the artifacts sound that replace speech.

An effect takes a scene and returns the samples that replace the scene's, or None if it cannot make any. Its
other arguments are ranges to draw from; `KINDS` are those of the demo.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from demo.placing import Audio, Rng, Samples, place, rms, sample_at, speech_frames

_PACKET_MS = 20
_CLICK_MS = 5
_ECHO_MEMORY_MS = 900
_CROSSTALK_FADE_MS = 20

CROSSTALK = "crosstalk"
Range = tuple[float, float]
WholeRange = tuple[int, int]  # the second number is not in it


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
        return rms(self.clean)


def glitch(scene: Scene, rng: Rng, *, clicks_between: WholeRange, decay_ms: Range, level: Range) -> Samples:
    """Clicks: bursts of noise that decay within 5 ms, with one at the onset and one before the offset.

    `level` is that of the loudest click, relative to the peak of the audio.
    """
    count = int(rng.integers(*clicks_between))
    last = scene.length - sample_at(_CLICK_MS, scene.rate)
    onsets = np.concatenate([[0], rng.uniform(0, last, count), [last]])
    clicks = np.zeros(scene.length)
    for onset in onsets.astype(int):
        tail = np.arange(scene.length - onset)
        decay = np.exp(-tail / (rng.uniform(*decay_ms) / 1000 * scene.rate))
        clicks[onset:] += decay * rng.uniform(-1, 1, len(tail)) + (tail == 0)
    damaged: Samples = scene.clean + clicks / np.abs(clicks).max() * scene.peak * rng.uniform(*level)
    return damaged


def dropout(scene: Scene, rng: Rng, *, frozen: float) -> Samples:
    """Lost packets: digital silence with hard edges or, in the share `frozen`, the first sample repeated."""
    value = scene.clean[0] if frozen and rng.random() < frozen else 0
    return np.full(scene.length, value, np.float32)


def static(scene: Scene, rng: Rng, *, crackle: Range, level: Range) -> Samples:
    """Hiss with crackle.

    `level` is that of the hiss relative to the speech, and `crackle` that of the crackle relative to the
    hiss.
    """
    hiss = rng.standard_normal(scene.length)
    crackles = rng.standard_normal(scene.length) * (rng.random(scene.length) < 60 / scene.rate)
    noise = hiss + rng.uniform(*crackle) * crackles
    damaged: Samples = scene.clean + noise * scene.level * rng.uniform(*level)
    return damaged


def clipping(scene: Scene, rng: Rng, *, ceiling: Range, drive: Range) -> Samples:
    """Speech amplified beyond a ceiling, which gives it flat tops.

    `ceiling` is relative to the peak of the audio, and `drive` is the level of the amplified speech relative
    to the ceiling.
    """
    highest = scene.peak * rng.uniform(*ceiling)
    gain = highest / scene.level * rng.uniform(*drive)
    clipped: Samples = np.clip(scene.clean * gain, -highest, highest)
    return clipped


def echo(scene: Scene, rng: Rng, *, delay_ms: WholeRange, feedback: Range) -> Samples:
    """A feedback delay. It repeats the speech before the onset too, so it is audible from the onset on."""
    first = max(0, scene.part.start - sample_at(_ECHO_MEMORY_MS, scene.rate))
    delay = sample_at(int(rng.integers(*delay_ms)), scene.rate)
    share = rng.uniform(*feedback)
    wet = scene.audio[first : scene.part.stop].copy()
    for at in range(delay, len(wet), delay):
        repeat = wet[at : at + delay]
        repeat += share * wet[at - delay : at][: len(repeat)]
    return wet[scene.part.start - first :]


def crosstalk(scene: Scene, rng: Rng, *, level: Range) -> Samples | None:
    """Speech of the second voice, at `level` relative to the first; None if no random try finds any."""
    if scene.second_voice is None:
        return None
    length_ms = -(-scene.length * 1000 // scene.rate)
    start = place(speech_frames(scene.second_voice, scene.rate), length_ms, (), rng)
    if start is None:
        return None
    first = sample_at(start, scene.rate)
    second = scene.second_voice[first : first + scene.length].astype(np.float64)
    second *= scene.level * rng.uniform(*level) / rms(second)
    fade = np.linspace(0, 1, sample_at(_CROSSTALK_FADE_MS, scene.rate))
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
    "glitch": Kind(60, 110, partial(glitch, clicks_between=(2, 6), decay_ms=(0.4, 1.5), level=(0.8, 1.4))),
    "dropout": Kind(80, 260, partial(dropout, frozen=0), unit_ms=_PACKET_MS),
    "static": Kind(250, 900, partial(static, crackle=(2, 5), level=(0.35, 0.8))),
    "clipping": Kind(350, 1000, partial(clipping, ceiling=(0.75, 1.2), drive=(1.4, 2.8))),
    "echo": Kind(800, 1700, partial(echo, delay_ms=(110, 240), feedback=(0.55, 0.75))),
    CROSSTALK: Kind(700, 1600, partial(crosstalk, level=(0.33, 0.9))),
}
