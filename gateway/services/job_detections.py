"""The detections of a detection job, from the scores that are stored with it."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from earmark.gateway.convert.detection_jobs import settings_of
from earmark.gateway.convert.values import from_json
from earmark.gateway.paging import Pair
from earmark.gateway.services.scored_files import FILES_AT_ONCE, FileRows, learned, unpacked
from earmark.scores import Detection, DetectionConfig
from earmark.storage.database import Connection, Database
from earmark.storage.queries import detection_jobs
from earmark.storage.queries.detection_jobs import ScoredFile
from earmark.storage.records import DetectionJob
from earmark.v1 import detection_service_pb2 as pb
from earmark.v1.detection_pb2 import DetectionConfig as Message

COLUMNS = ("file_id", "filename", "artifact_type", "start_ms", "end_ms", "confidence", "channels")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which detections are wanted. What is empty matches all."""

    file_ids: Sequence[UUID] = ()
    artifact_types: frozenset[str] = frozenset()
    min_confidence: float = 0.0
    from_ms: int = 0
    until_ms: int | None = None

    def selects(self, found: Detection) -> bool:
        return (
            (not self.artifact_types or found.artifact_type in self.artifact_types)
            and found.confidence >= self.min_confidence
            and found.end_ms > self.from_ms
            and (self.until_ms is None or found.start_ms < self.until_ms)
        )


@dataclass(frozen=True, slots=True)
class Row:
    """A wanted detection, its file, and its place in the list."""

    place: Pair
    file: ScoredFile
    found: Detection


class JobDetections:
    """The wanted detections of one job, by file and onset."""

    def __init__(self, job: DetectionJob, config: DetectionConfig, wanted: Filter) -> None:
        self._job_id = job.id
        self._types = learned(job)
        self._config = config
        self._wanted = wanted

    def pages(self) -> FileRows[Row]:
        return FileRows(self._job_id, self._wanted.file_ids, self._read)

    async def all(self, database: Database) -> AsyncIterator[list[Row]]:
        """Every row, those of some files at a time. No connection is kept while the caller reads."""
        first = 0
        while True:
            async with database.connection() as connection:
                files = await detection_jobs.scores(
                    connection, self._job_id, first, FILES_AT_ONCE, self._wanted.file_ids
                )
            if not files:
                return
            first = files[-1].position + 1
            yield await asyncio.to_thread(self._rows, files)

    async def _read(self, _: Connection, files: Sequence[ScoredFile]) -> list[Row]:
        return await asyncio.to_thread(self._rows, files)

    def _rows(self, files: Sequence[ScoredFile]) -> list[Row]:
        return [
            Row((file.position, number), file, found)
            for file in files
            for number, found in enumerate(unpacked(self._job_id, file).detections(self._types, self._config))
            if self._wanted.selects(found)
        ]


def settings(job: DetectionJob, request: Any, field: str = "config") -> DetectionConfig:
    """The settings in this field of the request, or the job's own."""
    return settings_of(getattr(request, field) if request.HasField(field) else from_json(job.config, Message))


def header(form: pb.DetectionsFormat) -> bytes:
    """The beginning of a file of this form."""
    return _csv([COLUMNS]) if form == pb.DETECTIONS_FORMAT_CSV else b""


def text(form: pb.DetectionsFormat, rows: Sequence[Row]) -> bytes:
    """The rows in this form."""
    if form == pb.DETECTIONS_FORMAT_CSV:
        return _csv([*cells[:-1], " ".join(map(str, cells[-1]))] for cells in map(_cells, rows))
    objects = (dict(zip(COLUMNS, _cells(row), strict=True)) for row in rows)
    return b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in objects)


def _csv(lines: Iterable[Sequence[object]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue().encode()


def _cells(row: Row) -> tuple[str, str, str, int, int, float, tuple[int, ...]]:
    file, found = row.file, row.found
    spans = (found.artifact_type, found.start_ms, found.end_ms, found.confidence, found.channels)
    return str(file.file_id), file.filename, *spans
