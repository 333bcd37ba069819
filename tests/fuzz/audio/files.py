"""One file of the audio fuzzer: what it is, is decided by a seed and a number."""

import random
from dataclasses import dataclass

from earmark.trainer.settings import TrainerSettings
from tests.fuzz.audio.damage import DAMAGES, untouched
from tests.fuzz.audio.formats import FORMATS, SECONDS, file_of

USABLE_SECONDS = 0.1
MOST_SAMPLES = TrainerSettings().audio_max_samples_per_second
MOST_DAMAGES = 2
NAMES = ("call", "call.mp3", "\u00fc\u4e16.wav", "a b.exe", "../x", "noext.")
CONTENT_TYPES = ("", "audio/mpeg", "text/html", "application/octet-stream", "x")


@dataclass(frozen=True)
class File:
    """A file, and what was done to it. `must_be_ready`: nothing that a decoder could dislike."""

    seed: int
    number: int
    format: str
    damages: str
    name: str
    content_type: str
    data: bytes
    must_be_ready: bool

    def __str__(self) -> str:
        made = f"--seed {self.seed} --only {self.number}"
        return f"{self.format}, {self.damages} {made} ({len(self.data):,} bytes)"


def make(seed: int, number: int) -> File:
    """The file of this number."""
    rng = random.Random(f"{seed} audio {number}")
    name = rng.choice(list(FORMATS))
    kind = FORMATS[name]
    seconds = rng.choice(SECONDS)
    rate, channels = rng.choice(kind.rates), rng.choice(kind.channels)
    data = file_of(name, rate, channels, seconds)
    count = rng.choice((1, 1, 1, MOST_DAMAGES))
    damages = rng.choices([*DAMAGES], [*DAMAGES.values()], k=count)
    for damage in damages:
        data = damage(data, rng)
    is_whole = set(damages) == {untouched} and seconds > USABLE_SECONDS and rate * channels <= MOST_SAMPLES
    return File(
        seed,
        number,
        name,
        " and ".join(damage.__name__ for damage in damages),
        f"call.{kind.extension}" if rng.random() < 0.7 else rng.choice(NAMES),
        kind.content_type if rng.random() < 0.7 else rng.choice(CONTENT_TYPES),
        data,
        is_whole,
    )


def good(seed: int, number: int) -> File:
    """A file that is always ready."""
    data = file_of("FLAC PCM_16", 8_000, 1, 1.0)
    return File(seed, number, "FLAC PCM_16", "untouched", "good.flac", "audio/flac", data, must_be_ready=True)
