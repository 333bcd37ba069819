"""A folder of audio and annotations.csv (filename,artifact_type,start_ms,end_ms), and its way in and out."""

import csv
from dataclasses import dataclass
from pathlib import Path

from earmark.client import Client, detect, upload, wait_until_ready
from earmark.v1 import annotation_service_pb2, dataset_service_pb2

Row = dict[str, str]
COLUMNS = ("filename", "artifact_type", "start_ms", "end_ms", "confidence")
BATCH = 5000  # annotations in one call


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset in the system. `files` are the files' ids by name, `durations_ms` their lengths."""

    id: str
    types: tuple[str, ...]
    files: dict[str, str]
    durations_ms: tuple[int, ...]


def annotations(folder: Path) -> list[Row]:
    """The rows of the folder's annotations.csv."""
    with (folder / "annotations.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def audio(folder: Path) -> list[Path]:
    """Its audio files, by name."""
    return [path for path in sorted(folder.iterdir()) if path.suffix != ".csv"]


def prepare(client: Client, folder: Path, types: tuple[str, ...]) -> Dataset:
    """Returns when all of the folder's audio is ready. Raises SystemExit for a file that fails."""
    request = dataset_service_pb2.CreateDatasetRequest(
        name=folder.name, artifact_types=[{"name": name} for name in types]
    )
    dataset_id = client.datasets.CreateDataset(request).dataset.id
    files = {path.name: upload(client, dataset_id, path).id for path in audio(folder)}
    ready = wait_until_ready(client, dataset_id)
    for file in ready:
        if file.error_message:
            raise SystemExit(f"{file.original_filename}: {file.error_message}")
    return Dataset(dataset_id, types, files, tuple(file.duration_ms for file in ready))


def annotate(client: Client, dataset: Dataset, rows: list[Row]) -> str:
    """The id of a published set with the rows as its annotations."""
    request = annotation_service_pb2.CreateAnnotationSetRequest(dataset_id=dataset.id)
    set_id = client.annotations.CreateAnnotationSet(request).annotation_set.id
    for start in range(0, len(rows), BATCH):
        marks = [
            {
                "audio_file_id": dataset.files[row["filename"]],
                "artifact_type": row["artifact_type"],
                "start_ms": int(row["start_ms"]),
                "end_ms": int(row["end_ms"]),
            }
            for row in rows[start : start + BATCH]
        ]
        client.annotations.BatchCreateAnnotations(
            annotation_service_pb2.BatchCreateAnnotationsRequest(annotation_set_id=set_id, annotations=marks)
        )
    client.annotations.PublishAnnotationSet(
        annotation_service_pb2.PublishAnnotationSetRequest(annotation_set_id=set_id)
    )
    return set_id


def detect_all(client: Client, model_id: str, folder: Path) -> list[Row]:
    """What the model finds in every file of the folder, at Detect's defaults."""
    return [
        {
            "filename": path.name,
            "artifact_type": found.artifact_type,
            "start_ms": str(found.start_ms),
            "end_ms": str(found.end_ms),
            "confidence": f"{found.confidence:.3f}",
        }
        for path in audio(folder)
        for found in detect(client, model_id, path)
    ]


def write(path: Path, rows: list[Row]) -> None:
    """The detections as a CSV."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
