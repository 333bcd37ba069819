"""Clean speech for the sets: clips in a folder, split by voice and joined to recordings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile  # type: ignore[import-untyped]  # has no stubs
import soxr  # type: ignore[import-untyped]  # has no stubs

from demo.placing import FRAME_MS, Audio, Rng, speech_frames
from demo.speech import SAMPLE_RATE, recordings

RATE = 16_000
FRAME = RATE * FRAME_MS // 1000
TEST_SHARE = 0.3  # of the clips
VOICES_PER_SIDE = 2  # crosstalk needs a second one
RECORDING_SECONDS = 20
LONGEST_CLIP_SECONDS = 30
# A natural pause may not be as long as a long_pause, since it has no annotation.
LONGEST_PAUSE_MS = 400
KEPT_PAUSE_MS = 300
GAP_MS = (50, 350)
ROOM_TONE = 0.003  # relative to the speech
PEAK = (0.25, 0.8)


@dataclass(frozen=True, slots=True)
class Clip:
    """A file of mono speech of one voice."""

    path: Path
    voice: str

    def read(self, rng: Rng) -> Audio:
        """The speech at RATE, with a root mean square of 1; of a long file, a random part."""
        info = soundfile.info(self.path)
        if info.channels != 1:
            raise SystemExit(f"{self.path}: {info.channels} channels; clips of speech must be mono")
        frames = min(info.frames, LONGEST_CLIP_SECONDS * info.samplerate)
        start = int(rng.integers(info.frames - frames + 1))
        audio, _ = soundfile.read(self.path, frames, start, dtype="float32")
        speech: Audio = soxr.resample(audio, info.samplerate, RATE)
        level = np.sqrt(np.mean(np.square(speech)))
        if not level:
            raise SystemExit(f"{self.path} is silent; leave it out")
        normalised: Audio = speech / level
        return normalised


@dataclass(frozen=True, slots=True)
class Recording:
    """Joined clips, mono at RATE and within ±1, and speech of a voice that is not in them."""

    audio: Audio
    second_voice: Audio


def clips(folder: Path) -> list[Clip]:
    """The clips in the folder and in the folders below it, in order of their paths."""
    suffixes = {f".{name.lower()}" for name in soundfile.available_formats()}
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    return [Clip(path, voice_of(path.stem)) for path in paths]


def voice_of(stem: str) -> str:
    """The voice that a file is named after: the name up to its last `_` or, without one, its first `-`.

    Therefore the files of LibriSpeech (reader-chapter-utterance) are clips of their readers.
    """
    voice, _, number = stem.rpartition("_")
    return voice if number and voice else stem.partition("-")[0]


def write_synthetic_clips(folder: Path, minutes: float) -> None:
    """Writes about `minutes` of clips of the demo's voices into `folder`, the same at every call."""
    for number, recording in enumerate(recordings(minutes)):
        path = folder / f"{recording.voice.name}_{number:03}.flac"
        soundfile.write(path, recording.audio, SAMPLE_RATE, subtype="PCM_16")


def split_by_voice(every: Sequence[Clip]) -> tuple[list[Clip], list[Clip]]:
    """Clips for training and, of other voices, for the test: random voices until they have TEST_SHARE.

    Raises SystemExit if there are too few voices.
    """
    voices = sorted({clip.voice for clip in every})
    if len(voices) < 2 * VOICES_PER_SIDE:
        raise SystemExit(
            f"{len(every)} clips of {len(voices)} voices; the sets need {2 * VOICES_PER_SIDE} voices, and a "
            "clip is named by its voice, `_` or `-`, and a number"
        )
    shuffled = [voices[number] for number in np.random.default_rng(0).permutation(len(voices))]
    chosen = set(shuffled[:VOICES_PER_SIDE])
    for voice in shuffled[VOICES_PER_SIDE:-VOICES_PER_SIDE]:
        if sum(clip.voice in chosen for clip in every) >= TEST_SHARE * len(every):
            break
        chosen.add(voice)
    return [clip for clip in every if clip.voice not in chosen], [
        clip for clip in every if clip.voice in chosen
    ]


def join(speech: Sequence[Clip], rng: Rng, minutes: float) -> Iterator[Recording]:
    """Recordings of at least RECORDING_SECONDS, and of `minutes` together. Clips take turns."""
    voices = {clip.voice for clip in speech}
    dealt = _dealt(speech, rng)
    missing = minutes * 60 * RATE
    while missing > 0:
        used: set[str] = set()
        parts: list[Audio] = []
        while sum(map(len, parts)) < RECORDING_SECONDS * RATE:
            clip = next(dealt)
            if used | {clip.voice} == voices:
                continue  # one voice is left for crosstalk
            used.add(clip.voice)
            gap = rng.integers(*GAP_MS) * RATE // 1000
            parts += [clip.read(rng), (ROOM_TONE * rng.standard_normal(gap)).astype(np.float32)]
        audio = without_long_pauses(np.concatenate(parts))
        audio *= np.float32(rng.uniform(*PEAK)) / np.abs(audio).max()
        missing -= len(audio)
        others = [clip for clip in speech if clip.voice not in used]
        yield Recording(audio, others[rng.integers(len(others))].read(rng))


def without_long_pauses(audio: Audio) -> Audio:
    """The audio with KEPT_PAUSE_MS of each pause that is longer than LONGEST_PAUSE_MS."""
    speaks = speech_frames(audio, RATE)
    edges = np.flatnonzero(np.diff(speaks, prepend=True, append=True)).reshape(-1, 2)
    keep = np.ones(len(audio), bool)
    for first, last in edges[edges[:, 1] - edges[:, 0] > LONGEST_PAUSE_MS // FRAME_MS]:
        half = KEPT_PAUSE_MS // FRAME_MS // 2
        keep[(first + half) * FRAME : (last - half) * FRAME] = False
    return audio[keep]


def _dealt(speech: Sequence[Clip], rng: Rng) -> Iterator[Clip]:
    """The clips in random order, each once before any is repeated."""
    while True:
        yield from (speech[number] for number in rng.permutation(len(speech)))
