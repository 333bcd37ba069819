"""The sets: sounds put into recordings of clean speech, and an annotation of each.

They need different things of a detector. `faults` has the eight types of the demo's injector, but some are
much fainter and shorter than the demo's. `clicks` has very short sounds close together, `long` has long ones
with short gaps, and `fifty` has many types that are alike.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import soundfile  # type: ignore[import-untyped]  # has no stubs

from bench.quality.speech import RATE, Clip, Recording, join
from demo.artifacts import TYPES, inject
from demo.effects import CROSSTALK, Kind, WholeRange, clipping, crosstalk, dropout, echo, glitch, static
from demo.placing import Annotation, Audio, Rng, Samples

SAMPLES_PER_MS = RATE // 1000
FAULTS_PER_MINUTE = 22  # a few are left out, for want of room
FAULTS = {
    "glitch": Kind(10, 70, partial(glitch, clicks_between=(0, 5), decay_ms=(0.1, 2), level=(0.4, 1.5))),
    "dropout": Kind(40, 300, partial(dropout, frozen=0.3)),
    "static": Kind(120, 900, partial(static, crackle=(0, 4), level=(0.1, 0.6))),
    "clipping": Kind(250, 1200, partial(clipping, ceiling=(0.15, 0.6), drive=(0.25, 0.9))),
    "echo": Kind(600, 1700, partial(echo, delay_ms=(90, 260), feedback=(0.15, 0.5))),
    CROSSTALK: Kind(700, 1600, partial(crosstalk, level=(0.33, 0.9))),
}
FIRST_MS = 300
TONES = 50


@dataclass(frozen=True, slots=True)
class Sound:
    """A type of sound: its lengths, and a function from a number of samples to these samples."""

    lengths_ms: WholeRange
    make: Callable[[int, Rng], Samples]


@dataclass(frozen=True, slots=True)
class Pattern:
    """Rows of sounds of one type: how many are in a row, the gaps between them, and the rest between rows."""

    sounds: Mapping[str, Sound]
    in_a_row: WholeRange
    gap_ms: WholeRange
    rest_ms: WholeRange

    def __call__(self, recording: Recording, rng: Rng) -> tuple[Audio, list[Annotation]]:
        """The recording with the sounds added, and their annotations in order."""
        audio = recording.audio.copy()
        annotations: list[Annotation] = []
        names, start = sorted(self.sounds), FIRST_MS
        while True:
            name = names[rng.integers(len(names))]
            for _ in range(rng.integers(*self.in_a_row)):
                end = start + int(rng.integers(*self.sounds[name].lengths_ms))
                part = audio[start * SAMPLES_PER_MS : end * SAMPLES_PER_MS]
                if len(part) < (end - start) * SAMPLES_PER_MS:
                    return audio.clip(-1, 1), annotations
                part += self.sounds[name].make(len(part), rng).astype(np.float32)
                annotations.append(Annotation(name, start, end))
                start = end + int(rng.integers(*self.gap_ms))
            start += int(rng.integers(*self.rest_ms))


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make a set: the minutes of training and test audio, and what to do with a recording."""

    train_minutes: float
    test_minutes: float
    fill: Callable[[Recording, Rng], tuple[Audio, list[Annotation]]]


def faults(recording: Recording, rng: Rng) -> tuple[Audio, list[Annotation]]:
    """The recording with faults of all types, and their annotations in order."""
    return inject(recording.audio, RATE, rng, TYPES, FAULTS_PER_MINUTE, recording.second_voice, FAULTS)


def _tick(samples: int, rng: Rng) -> Samples:
    return 0.5 * rng.standard_normal(samples) * np.exp(-np.arange(samples) / (0.002 * RATE))


def _beep(samples: int, _rng: Rng) -> Samples:
    return 0.4 * _sine(3000, samples) * np.hanning(samples)


def _hum(samples: int, _rng: Rng) -> Samples:
    return 0.05 * (_sine(50, samples) + _sine(150, samples) + _sine(250, samples))


def _hiss(samples: int, rng: Rng) -> Samples:
    return 0.02 * rng.standard_normal(samples)


def _tone(hertz: float, samples: int, _rng: Rng) -> Samples:
    place = np.arange(samples)
    edges: Samples = np.minimum(1, np.minimum(place, place[::-1]) / (0.005 * RATE))
    return 0.15 * _sine(hertz, samples) * edges


def _sine(hertz: float, samples: int) -> Samples:
    wave: Samples = np.sin(2 * np.pi * hertz / RATE * np.arange(samples))
    return wave


CLICKS = Pattern(
    {"tick": Sound((10, 11), _tick), "beep": Sound((20, 21), _beep)},
    in_a_row=(3, 12),
    gap_ms=(25, 45),
    rest_ms=(500, 2500),
)
LONG = Pattern(
    {"hum": Sound((800, 2500), _hum), "hiss": Sound((800, 2500), _hiss)},
    in_a_row=(2, 4),
    gap_ms=(60, 140),
    rest_ms=(1500, 4000),
)
FIFTY = Pattern(
    {f"tone{number:02}": Sound((80, 300), partial(_tone, 200 * 1.07**number)) for number in range(TONES)},
    in_a_row=(1, 2),
    gap_ms=(30, 100),
    rest_ms=(0, 300),
)
RECIPES = {
    "faults": Recipe(30, 12, faults),
    "clicks": Recipe(8, 4, CLICKS),
    "long": Recipe(10, 4, LONG),
    "fifty": Recipe(12, 4, FIFTY),
}


def write_set(
    folder: Path, recipe: Recipe, train: Sequence[Clip], test: Sequence[Clip], scale: float
) -> None:
    """Writes `train` and `test` into `folder`, with `scale` times the recipe's minutes.

    The same clips and arguments give the same files.
    """
    write(folder / "train", recipe, train, np.random.default_rng(1), scale * recipe.train_minutes)
    write(folder / "test", recipe, test, np.random.default_rng(2), scale * recipe.test_minutes)


def write(folder: Path, recipe: Recipe, speech: Sequence[Clip], rng: Rng, minutes: float) -> None:
    """Writes recordings and annotations.csv into `folder`, which it creates."""
    folder.mkdir(parents=True)
    with (folder / "annotations.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["filename", *(field.name for field in fields(Annotation))])
        table.writeheader()
        for number, recording in enumerate(join(speech, rng, minutes)):
            audio, annotations = recipe.fill(recording, rng)
            name = f"{number:04}.flac"
            soundfile.write(folder / name, audio, RATE, subtype="PCM_16")
            table.writerows({"filename": name, **asdict(annotation)} for annotation in annotations)
