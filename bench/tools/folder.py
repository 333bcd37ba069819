"""A folder of audio and annotations.csv: upload it, detect in it.

The table has the columns filename, artifact_type, start_ms and end_ms, and may have channel, from 0; an
annotation without one is in at least one of the channels.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import soundfile  # type: ignore[import-untyped]  # has no stubs

from earmark.client import Client, detect, upload, wait_until_ready
from earmark.v1 import annotation_service_pb2, dataset_service_pb2

Row = dict[str, str]
COLUMNS = ("filename", "artifact_type", "start_ms", "end_ms", "confidence", "channels")
BATCH = 5000  # annotations per call


class Detection(Protocol):
    """A detection, as the API returns it and as the trainer makes it."""

    @property
    def artifact_type(self) -> str:
        """The type of the artifact."""

    @property
    def start_ms(self) -> int:
        """Onset, in ms."""

    @property
    def end_ms(self) -> int:
        """Offset, in ms."""

    @property
    def confidence(self) -> float:
        """Between 0 and 1."""

    @property
    def channels(self) -> Sequence[int]:
        """The channels in which it was heard, from 0, ascending."""


@dataclass(frozen=True, slots=True)
class UploadedDataset:
    """A dataset in the system. `files`: the files' ids by name; `durations_ms`: their lengths."""

    id: str
    types: tuple[str, ...]
    files: dict[str, str]
    durations_ms: tuple[int, ...]


def annotations(folder: Path) -> list[Row]:
    """The rows of the folder's annotations.csv."""
    with (folder / "annotations.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def channel(row: Row) -> int | None:
    """The channel of a row of annotations; None if it has none."""
    return int(row["channel"]) if row.get("channel") else None


def audio(folder: Path) -> list[Path]:
    """The folder's audio files, sorted by name."""
    return [path for path in sorted(folder.iterdir()) if path.suffix != ".csv"]


def durations_ms(folder: Path) -> dict[str, int]:
    """The length of each audio file, by name."""
    infos = {path.name: soundfile.info(path) for path in audio(folder)}
    return {name: info.frames * 1000 // info.samplerate for name, info in infos.items()}


def upload_folder(client: Client, folder: Path, types: tuple[str, ...]) -> UploadedDataset:
    """Uploads the folder's audio; returns when it is ready. Raises SystemExit if a file fails."""
    request = dataset_service_pb2.CreateDatasetRequest(
        name=folder.name, artifact_types=[{"name": name} for name in types]
    )
    dataset_id = client.datasets.CreateDataset(request).dataset.id
    files = {path.name: upload(client, dataset_id, path).id for path in audio(folder)}
    ready = wait_until_ready(client, dataset_id)
    for file in ready:
        if file.error_message:
            raise SystemExit(f"{file.original_filename}: {file.error_message}")
    return UploadedDataset(dataset_id, types, files, tuple(file.duration_ms for file in ready))


def publish_annotations(client: Client, dataset: UploadedDataset, rows: list[Row]) -> str:
    """Publishes a set with the rows as its annotations. Returns its id."""
    request = annotation_service_pb2.CreateAnnotationSetRequest(dataset_id=dataset.id)
    set_id: str = client.annotations.CreateAnnotationSet(request).annotation_set.id
    for start in range(0, len(rows), BATCH):
        batch = [
            {
                "audio_file_id": dataset.files[row["filename"]],
                "artifact_type": row["artifact_type"],
                "start_ms": int(row["start_ms"]),
                "end_ms": int(row["end_ms"]),
                "channel": channel(row),
            }
            for row in rows[start : start + BATCH]
        ]
        client.annotations.BatchCreateAnnotations(
            annotation_service_pb2.BatchCreateAnnotationsRequest(annotation_set_id=set_id, annotations=batch)
        )
    client.annotations.PublishAnnotationSet(
        annotation_service_pb2.PublishAnnotationSetRequest(annotation_set_id=set_id)
    )
    return set_id


def detect_all(client: Client, model_id: str, folder: Path) -> list[Row]:
    """The model's detections in every file of the folder, with Detect's defaults."""
    return [
        row for path in audio(folder) for row in detection_rows(path.name, detect(client, model_id, path))
    ]


def detection_rows(filename: str, detections: Iterable[Detection]) -> list[Row]:
    """The detections in a file as rows."""
    return [
        {
            "filename": filename,
            "artifact_type": detection.artifact_type,
            "start_ms": str(detection.start_ms),
            "end_ms": str(detection.end_ms),
            "confidence": f"{detection.confidence:.3f}",
            "channels": " ".join(map(str, detection.channels)),
        }
        for detection in detections
    ]


def write(path: Path, rows: list[Row]) -> None:
    """Writes detections as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
