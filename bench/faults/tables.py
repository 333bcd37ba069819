"""The tenant's rows after a drill, as the validators need them."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import json_format

from bench.faults.clients import REQUEST
from earmark.storage.database import Connection, Database
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import detection_service_pb2 as detection
from earmark.v1 import training_service_pb2 as training

TENANT = "default"

AnnotationRow = tuple[str, str, int, int, int]
"""audio_file_id, artifact_type, start_ms, end_ms, channel (-1 for none)"""


@dataclass(frozen=True, slots=True)
class Job:
    """A row of training_jobs. `request_id`: that of the call that created it, from its metadata."""

    id: str
    request_id: str | None
    status: str
    attempt: int
    revision: int
    current_epoch: int
    total_epochs: int
    model_id: str | None


@dataclass(frozen=True, slots=True)
class Model:
    """A row of models. `intact`: whether the object with its weights has the row's checksum."""

    id: str
    job_id: str
    weights: str
    intact: bool


@dataclass(frozen=True, slots=True)
class SearchJob:
    """A row of detection_jobs, and of each of its files: the status, and the number of detections."""

    id: str
    request_id: str | None
    status: str
    revision: int
    total_files: int
    completed_files: int
    failed_files: int
    total_detections: int
    files: list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class File:
    """A row of audio_files."""

    name: str
    status: str
    error_message: str


@dataclass(slots=True)
class Tables:
    """All rows. `events` are by job, `annotations` by annotation set, `replies` by request_id.

    `file_events` are those of audio files and datasets in the order of the log. `ids` are the datasets and
    audio files that any row names, except events. `objects` are the keys of all stored objects.
    """

    jobs: list[Job] = field(default_factory=list)
    events: dict[str, list[training.TrainingEvent]] = field(default_factory=dict)
    models: list[Model] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    annotations: dict[str, list[AnnotationRow]] = field(default_factory=dict)
    replies: dict[str, bytes] = field(default_factory=dict)
    file_events: list[audio.AudioFileEvent] = field(default_factory=list)
    ids: frozenset[str] = frozenset()
    objects: list[str] = field(default_factory=list)
    searches: list[SearchJob] = field(default_factory=list)
    search_events: dict[str, list[detection.DetectionEvent]] = field(default_factory=dict)


async def read(dsn: str, objects: Path) -> Tables:
    """Reads all tables in one snapshot. `objects`: the folder of the object store."""
    async with (
        Database(dsn) as database,
        database.connection() as connection,
        connection.transaction(isolation="repeatable_read"),
    ):
        jobs, searches = await _jobs(connection), await _searches(connection)
        return Tables(
            jobs,
            {job.id: await _events(connection, job.id) for job in jobs},
            await _models(connection, objects),
            await _files(connection),
            await _annotations(connection),
            await _replies(connection),
            await _file_events(connection),
            await _ids(connection),
            _keys(objects),
            searches,
            {job.id: await _search_events(connection, job.id) for job in searches},
        )


async def _jobs(connection: Connection) -> list[Job]:
    rows = await connection.fetch("SELECT * FROM training_jobs WHERE tenant_id = $1 ORDER BY id", TENANT)
    return [
        Job(
            str(row["id"]),
            row["metadata"].get(REQUEST),
            row["status"],
            row["attempt"],
            row["revision"],
            row["current_epoch"],
            row["total_epochs"],
            row["model_id"] and str(row["model_id"]),
        )
        for row in rows
    ]


async def _events(connection: Connection, job_id: str) -> list[training.TrainingEvent]:
    rows = await connection.fetch("SELECT * FROM events WHERE resource_id = $1 ORDER BY revision", job_id)
    events = []
    for row in rows:
        event = json_format.ParseDict(row["body"], training.TrainingEvent())
        event.training_job_id, event.revision, event.attempt = job_id, row["revision"], row["attempt"]
        event.time.FromDatetime(row["time"])
        events.append(event)
    return events


async def _searches(connection: Connection) -> list[SearchJob]:
    rows = await connection.fetch("SELECT * FROM detection_jobs WHERE tenant_id = $1 ORDER BY id", TENANT)
    return [
        SearchJob(
            str(row["id"]),
            row["metadata"].get(REQUEST),
            row["status"],
            row["revision"],
            row["total_files"],
            row["completed_files"],
            row["failed_files"],
            row["total_detections"],
            [
                (file["status"], file["detection_count"])
                for file in await connection.fetch(
                    "SELECT status, detection_count FROM detection_files WHERE detection_job_id = $1",
                    row["id"],
                )
            ],
        )
        for row in rows
    ]


async def _search_events(connection: Connection, job_id: str) -> list[detection.DetectionEvent]:
    rows = await connection.fetch("SELECT * FROM events WHERE resource_id = $1 ORDER BY revision", job_id)
    events = []
    for row in rows:
        event = json_format.ParseDict(row["body"], detection.DetectionEvent())
        event.detection_job_id, event.revision, event.attempt = job_id, row["revision"], row["attempt"]
        event.time.FromDatetime(row["time"])
        events.append(event)
    return events


async def _models(connection: Connection, objects: Path) -> list[Model]:
    rows = await connection.fetch("SELECT * FROM models WHERE tenant_id = $1 ORDER BY id", TENANT)
    return [
        Model(
            str(row["id"]),
            str(row["training_job_id"]),
            row["weights"],
            _sha256(objects / row["weights"]) == row["sha256"],
        )
        for row in rows
    ]


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


async def _files(connection: Connection) -> list[File]:
    rows = await connection.fetch("SELECT * FROM audio_files WHERE tenant_id = $1 ORDER BY id", TENANT)
    return [File(row["original_filename"], row["processing_status"], row["error_message"]) for row in rows]


async def _annotations(connection: Connection) -> dict[str, list[AnnotationRow]]:
    rows = await connection.fetch("SELECT * FROM annotations WHERE tenant_id = $1", TENANT)
    by_set: dict[str, list[AnnotationRow]] = {}
    for row in rows:
        channel = -1 if row["channel"] is None else row["channel"]
        where = (row["start_ms"], row["end_ms"], channel)
        annotation = (str(row["audio_file_id"]), row["artifact_type"], *where)
        by_set.setdefault(str(row["annotation_set_id"]), []).append(annotation)
    return by_set


async def _replies(connection: Connection) -> dict[str, bytes]:
    rows = await connection.fetch("SELECT request_id, reply FROM requests WHERE tenant_id = $1", TENANT)
    return {str(row["request_id"]): row["reply"] for row in rows}


async def _file_events(connection: Connection) -> list[audio.AudioFileEvent]:
    rows = await connection.fetch(
        "SELECT * FROM events WHERE tenant_id = $1 AND resource = ANY ('{audio_file,dataset}')"
        " ORDER BY sequence",
        TENANT,
    )
    events = []
    for row in rows:
        event = json_format.ParseDict(row["body"], audio.AudioFileEvent())
        event.audio_file_id = str(row["resource_id"]) if row["resource"] == "audio_file" else ""
        event.dataset_id = str(row["dataset_id"])
        event.time.FromDatetime(row["time"])
        events.append(event)
    return events


async def _ids(connection: Connection) -> frozenset[str]:
    rows = await connection.fetch(
        "SELECT id FROM datasets UNION SELECT id FROM audio_files UNION SELECT audio_file_id FROM annotations"
        " UNION SELECT dataset_id FROM audio_files UNION SELECT dataset_id FROM annotation_sets"
        " UNION SELECT dataset_id FROM artifact_types UNION SELECT dataset_id FROM training_jobs"
        " UNION SELECT dataset_id FROM models"
    )
    return frozenset(str(row["id"]) for row in rows)


def _keys(objects: Path) -> list[str]:
    return sorted(str(path.relative_to(objects)) for path in objects.rglob("*") if path.is_file())
