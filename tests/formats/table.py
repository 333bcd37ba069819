"""What becomes of each format in the process that decodes: its length, its times, and a dropout in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import correlate

from earmark.trainer.service.audio_pool import AudioPool
from earmark.trainer.service.changes import Changes
from earmark.trainer.service.decoding import AudioFiles
from earmark.trainer.settings import TrainerSettings
from earmark.trainer.workers.wire import Featured
from tests.formats.clips import (
    CLICK_AT,
    CLICK_SECONDS,
    DROPOUT_SECONDS,
    FORMATS,
    Format,
    sound,
)

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
HEADER = ("| container | codec | length | shift of a click | a dropout is found |", "|---|---|---|---|---|")


@dataclass(frozen=True, slots=True)
class Measured:
    """`excess` samples of length, `shift` samples of a click, `error_ms` of the place of the dropout.

    `difference`: the greatest of any sample, if the codec is lossless.
    """

    format: Format
    excess: int
    shift: int
    error_ms: int
    difference: float | None

    @property
    def row(self) -> str:
        """Its line of the table."""
        rate = self.format.rate
        length = "exact" if self.excess == 0 else f"{1000 * self.excess / rate:+.1f} ms"
        shift = "0" if self.shift == 0 else f"{1000 * self.shift / rate:+.1f} ms"
        place = "there" if self.error_ms == 0 else f"{self.error_ms:+} ms"
        return f"| {self.format.container} | {self.format.codec} | {length} | {shift} | {place} |"


async def measure(folder: Path, formats: Sequence[Format] = FORMATS) -> list[Measured]:
    """Decodes a clip of each format, in a folder of its number, in a process as the trainer has it."""
    pool = AudioPool(TrainerSettings(audio_processes=1), Changes())
    try:
        return [await _measure(pool, folder / str(number), each) for number, each in enumerate(formats)]
    finally:
        await pool.close()


async def _measure(pool: AudioPool, folder: Path, clip: Format) -> Measured:
    files, audio = AudioFiles(folder), sound(clip.rate, clip.channels)
    _write(files, clip.make(audio, clip.rate))
    async with pool.decoding(files, "a caller", stores_audio=True) as decoding:
        assert await decoding.featured() == Featured(), (clip, decoding.decoded)
    decoded, rate = soundfile.read(files.audio, dtype="float32", always_2d=True)
    assert (rate, decoded.shape[1]) == (clip.rate, clip.channels)
    shift = shift_of_click(decoded[:, 0], audio[:, 0], rate)
    error = dropout_ms(decoded[:, 0], rate) - dropout_ms(audio[:, 0], rate)
    excess = len(decoded) - len(audio)
    is_comparable = clip.is_lossless and excess == 0
    difference = float(np.abs(decoded - audio).max()) if is_comparable else None
    return Measured(clip, excess, shift, error, difference)


def _write(files: AudioFiles, data: bytes) -> None:
    files.folder.mkdir()
    files.source.write_bytes(data)


def shift_of_click(decoded: np.ndarray, audio: np.ndarray, rate: int) -> int:
    """How many samples later the click is, by the maximum of the cross-correlation."""
    start = int(CLICK_AT * rate)
    click = audio[start : start + int(CLICK_SECONDS * rate)]
    return int(np.argmax(correlate(decoded, click, "valid"))) - start


def dropout_ms(audio: np.ndarray, rate: int) -> int:
    """Where the quietest stretch as long as the dropout begins, behind the silence that an encoder adds."""
    start, length = int(CLICK_AT * rate), int(DROPOUT_SECONDS * rate)
    energy = np.cumsum(audio[start:].astype(np.float64) ** 2)
    return round(1000 * (start + int(np.argmin(energy[length:] - energy[:-length]))) / rate)


def table(measured: Sequence[Measured]) -> str:
    """The table of the page."""
    return "\n".join([*HEADER, *(each.row for each in measured)])


def table_of_page() -> str:
    """The table as the page has it."""
    lines = PAGE.read_text().splitlines()
    start = lines.index(HEADER[0])
    end = next(number for number in range(start, len(lines)) if not lines[number].startswith("|"))
    return "\n".join(lines[start:end])
