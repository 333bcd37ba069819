"""A dataset of synthetic sounds that is just large enough to train on."""

import io
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.tools.folder import annotations, publish_annotations, upload_folder
from earmark.client import connect

RATE = 8_000
BURST_MS = 300
KIND = "burst"
FILES, FILE_SECONDS = 4, 78  # slightly more than five minutes


@dataclass(frozen=True, slots=True)
class TrainingData:
    """A dataset in the system that is ready to train on, with a published annotation set."""

    dataset_id: str
    set_id: str
    file_ids: tuple[str, ...]
    types: tuple[str, ...]


def create_training_data(address: str, folder: Path, key: str | None = None) -> TrainingData:
    """Creates the sounds in `folder`, which it creates too, uploads them and publishes their annotations."""
    folder.mkdir()
    _write(folder)
    with connect(address, api_key=key) as client:
        dataset = upload_folder(client, folder, (KIND,))
        set_id = publish_annotations(client, dataset, annotations(folder))
    return TrainingData(dataset.id, set_id, tuple(dataset.files.values()), dataset.types)


def bursts(seconds: int, seed: int) -> tuple[bytes, list[tuple[int, int]]]:
    """A WAV of quiet noise with a loud burst every two seconds, and the bursts' onsets and offsets in ms."""
    rng = np.random.default_rng(seed)
    sound = rng.normal(0, 0.01, seconds * RATE)
    starts = range(500, (seconds - 1) * 1000, 2000)
    for start in starts:
        at = start * RATE // 1000
        sound[at : at + BURST_MS * RATE // 1000] += rng.normal(0, 0.3, BURST_MS * RATE // 1000)
    return wav(sound), [(start, start + BURST_MS) for start in starts]


def wav(sound: np.ndarray) -> bytes:
    """A WAV file of one channel of samples between -1 and 1."""
    with io.BytesIO() as buffer:
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((sound.clip(-1, 1) * 32_767).astype(np.int16).tobytes())
        return buffer.getvalue()


def _write(folder: Path) -> None:
    """Writes audio and annotations.csv in the format that bench.tools.folder reads."""
    rows = ["filename,artifact_type,start_ms,end_ms"]
    for number in range(FILES):
        data, spans = bursts(FILE_SECONDS, number)
        (folder / f"{number}.wav").write_bytes(data)
        rows += [f"{number}.wav,{KIND},{start},{end}" for start, end in spans]
    (folder / "annotations.csv").write_text("\n".join(rows) + "\n")
