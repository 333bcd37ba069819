"""A dataset that is just large enough to train on, of made-up sounds."""

import io
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from earmark.client import connect

from bench.tools.folder import annotate, annotations, prepare

RATE = 8_000
BURST_MS = 300
KIND = "burst"
FILES, FILE_SECONDS = 4, 78  # five minutes and a little


@dataclass(frozen=True, slots=True)
class Trainable:
    """A dataset that is ready, with a published set."""

    dataset_id: str
    set_id: str
    file_ids: tuple[str, ...]
    types: tuple[str, ...]


def trainable(address: str, folder: Path) -> Trainable:
    """Made, uploaded and annotated. The sounds are left in `folder`."""
    folder.mkdir()
    _write(folder)
    with connect(address) as client:
        dataset = prepare(client, folder, (KIND,))
        set_id = annotate(client, dataset, annotations(folder))
    return Trainable(dataset.id, set_id, tuple(dataset.files.values()), dataset.types)


def bursts(seconds: int, seed: int) -> tuple[bytes, list[tuple[int, int]]]:
    """A WAV of quiet noise with a loud burst every two seconds, and where they are in ms."""
    rng = np.random.default_rng(seed)
    sound = rng.normal(0, 0.01, seconds * RATE)
    starts = range(500, (seconds - 1) * 1000, 2000)
    for start in starts:
        at = start * RATE // 1000
        sound[at : at + BURST_MS * RATE // 1000] += rng.normal(0, 0.3, BURST_MS * RATE // 1000)
    return wav(sound), [(start, start + BURST_MS) for start in starts]


def wav(sound: np.ndarray) -> bytes:
    """Of one channel, from -1 to 1."""
    with io.BytesIO() as buffer:
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((sound.clip(-1, 1) * 32_767).astype(np.int16).tobytes())
        return buffer.getvalue()


def _write(folder: Path) -> None:
    """Audio with annotations.csv, as bench.tools.folder reads it."""
    rows = ["filename,artifact_type,start_ms,end_ms"]
    for number in range(FILES):
        data, marks = bursts(FILE_SECONDS, number)
        (folder / f"{number}.wav").write_bytes(data)
        rows += [f"{number}.wav,{KIND},{start},{end}" for start, end in marks]
    (folder / "annotations.csv").write_text("\n".join(rows) + "\n")
