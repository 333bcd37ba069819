"""The demo's recordings: speech with planted artifacts and their annotations."""

import io
from dataclasses import dataclass

import numpy as np
import soundfile  # type: ignore[import-untyped]  # soundfile has no stubs
from numpy.typing import NDArray

from demo.artifacts import inject
from demo.placing import Annotation
from demo.speech import SAMPLE_RATE, VOICES, Espeak, Recording, recordings

TYPES = ("glitch", "dropout", "static", "clipping", "echo", "long_pause")
COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_PER_MINUTE = 20.0
_GAP_SECONDS = (0.15, 0.3)
_PEAK = 0.4
_ROOM_TONE = 4e-4
# None of these is in demo.sentences, from which the training audio is made.
_NEW_SENTENCES = (
    "Good morning, this is the harbour office, how can I help?",
    "A sailing boat has drifted against the northern wall.",
    "Nobody is hurt, but one rope has snapped in the storm.",
    "I will send a pilot as soon as the wind allows it.",
    "Please keep your radio on, and stay well clear of the rocks.",
    "The second tug is waiting behind the old grain store.",
    "Thank you, we can see its lights from the bridge now.",
    "Inform the pilots that hot soup is ready in the kitchen.",
    "Everyone ashore has been counted, and nobody is missing.",
)


@dataclass(frozen=True)
class Sound:
    """A recording with artifacts: its name, samples (mono, at SAMPLE_RATE) and annotations."""

    name: str
    audio: NDArray[np.float32]
    annotations: list[Annotation]

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return len(self.audio) / SAMPLE_RATE

    def wav(self) -> bytes:
        """Return the bytes of a 16-bit WAV file."""
        buffer = io.BytesIO()
        soundfile.write(buffer, self.audio, SAMPLE_RATE, format="WAV", subtype="PCM_16")
        return buffer.getvalue()


def training_sounds(minutes: float, seed: int) -> tuple[list[Sound], set[str]]:
    """Return recordings to train on and the names of their voices; pauses add about 15 % to `minutes`."""
    spoken = recordings(minutes, seed)
    return [_with_artifacts(one, seed) for one in spoken], {one.voice.name for one in spoken}


def new_voice_sound(known_voices: set[str], seed: int) -> Sound:
    """Return a recording of a voice that is not in `known_voices`, with sentences that no other one has."""
    voice = next(voice for voice in VOICES if voice.name not in known_voices)
    rng = np.random.default_rng([seed, 1])
    espeak = Espeak()
    parts = [_silence(rng)]
    for sentence in _NEW_SENTENCES:
        parts += [espeak.speak(sentence, voice.name, voice.rate_wpm, voice.pitch), _silence(rng)]
    audio = np.concatenate(parts)
    audio *= _PEAK / np.abs(audio).max()
    audio += _ROOM_TONE * rng.standard_normal(len(audio)).astype(np.float32)
    return _with_artifacts(Recording(voice.name, voice, audio), seed + 1)


def _with_artifacts(recording: Recording, seed: int) -> Sound:
    rng = np.random.default_rng([seed, *recording.name.encode()])
    audio, annotations = inject(recording.audio, SAMPLE_RATE, rng, TYPES, _PER_MINUTE)
    return Sound(f"{recording.name}.wav", audio, annotations)


def _silence(rng: np.random.Generator) -> NDArray[np.float32]:
    return np.zeros(int(rng.uniform(*_GAP_SECONDS) * SAMPLE_RATE), np.float32)
