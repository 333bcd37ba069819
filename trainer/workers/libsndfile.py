"""Decodes with libsndfile what it decodes exactly: what is not compressed, and FLAC."""

import os
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile  # type: ignore[import-untyped]  # has no stubs
from jaxtyping import Float32

from earmark.trainer.workers.containers.errors import (
    CONVERT,
    DAMAGED,
    UnusableAudioError,
    cut_short,
    unreadable,
)
from earmark.trainer.workers.containers.spliced import Spliced

FORMATS = {
    "WAV": ("WAV", "WAVEX", "RF64"),
    "W64": ("W64",),
    "AIFF": ("AIFF",),
    "AU": ("AU",),
    "CAF": ("CAF",),
    "FLAC": ("FLAC",),
    "MP3": ("MP3",),
}
FLOAT_SUBTYPES = frozenset({"FLOAT", "DOUBLE"})
FINE_SUBTYPES = frozenset({"PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32"})


class SndfileSource:
    """The audio of a file. Its header announces how much there is."""

    def __init__(self, file: BinaryIO | Spliced, container: str) -> None:
        """Raises UnusableAudioError if libsndfile does not recognise the file as a `container` file."""
        source: int | Spliced = file if isinstance(file, Spliced) else file.fileno()
        if isinstance(source, int):
            os.lseek(source, 0, os.SEEK_SET)  # libsndfile begins where the descriptor is
        try:
            self._file = soundfile.SoundFile(source, closefd=False)
        except soundfile.LibsndfileError as error:
            raise unreadable(container) from error
        if self._file.format not in FORMATS[container]:
            raise UnusableAudioError(
                f"the file begins like {container} but contains {self._file.format}: {CONVERT}"
            )
        self.announced: int | None = self._file.frames
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels

    @property
    def is_fine(self) -> bool:
        """Whether 16 bits are too few for its samples."""
        return self._file.subtype in FINE_SUBTYPES

    @property
    def is_float(self) -> bool:
        """Whether it stores samples as floating point."""
        return self._file.subtype in FLOAT_SUBTYPES

    def blocks(self, samples: int) -> Iterator[Float32[np.ndarray, "samples channels"]]:
        """Yields the audio in blocks of so many samples per channel; the last may have fewer.

        Raises UnusableAudioError where it is damaged or ends before its header says.
        """
        count, announced = 0, self._file.frames
        try:
            while len(block := self._file.read(samples, "float32", always_2d=True)):
                count += len(block)
                yield block
        except soundfile.LibsndfileError as error:
            raise UnusableAudioError(DAMAGED) from error
        if count < announced:
            seconds, decoded = announced / self.sample_rate, count / self.sample_rate
            raise cut_short(
                f"its header announces {seconds:.2f} s of audio, {decoded:.2f} s could be decoded"
            )
