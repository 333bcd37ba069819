"""The files of a detection job with the scores that are stored with it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from uuid import UUID

import numpy as np
import structlog

from earmark.gateway.errors import StoredObjectDamagedError
from earmark.gateway.paging import Pair
from earmark.scores import LIKELY, Scores, Spans, by_type
from earmark.storage.database import Connection
from earmark.storage.queries import annotations, detection_jobs
from earmark.storage.queries.annotations import ChannelSpans
from earmark.storage.queries.detection_jobs import ScoredFile
from earmark.storage.records import DetectionJob

FILES_AT_ONCE = 20

log = structlog.get_logger("gateway")

Annotated = Mapping[UUID, Mapping[str, Spans]]  # by file and type


@dataclass(frozen=True, slots=True)
class LearnedType:
    """What the job's model has learned of a type."""

    name: str
    merge_window_ms: int
    min_duration_ms: int


class Placed(Protocol):
    """A row of a list by file."""

    @property
    def place(self) -> Pair:
        """The position of its file, and its number in the file."""


R = TypeVar("R", bound=Placed)


class FileRows(Generic[R]):
    """The rows of a list by file, which `rows` makes of some files. What was read last is kept."""

    def __init__(
        self,
        job_id: UUID,
        file_ids: Sequence[UUID],
        rows: Callable[[Connection, Sequence[ScoredFile]], Awaitable[list[R]]],
    ) -> None:
        self._job_id = job_id
        self._file_ids = file_ids
        self._rows = rows
        # The position after that of the last file read, and the rows up to it that may be asked for again.
        self._next = 0
        self._read: list[R] = []

    async def after(self, connection: Connection, place: Pair | None, count: int) -> list[R]:
        """At most `count` rows after a place. Raises StoredObjectDamagedError."""
        if place is not None:
            self._read = [row for row in self._read if row.place > place]
            self._next = max(self._next, place[0] if not self._read else 0)
        while len(self._read) < count:
            files = await detection_jobs.scores(
                connection, self._job_id, self._next, FILES_AT_ONCE, self._file_ids
            )
            if not files:
                break
            self._next = files[-1].position + 1
            rows = await self._rows(connection, files)
            self._read += [row for row in rows if place is None or row.place > place]
        return self._read[:count]


async def scored_files(connection: Connection, job_id: UUID) -> AsyncIterator[list[ScoredFile]]:
    """The job's completed files in their order, some at a time."""
    first = 0
    while files := await detection_jobs.scores(connection, job_id, first, FILES_AT_ONCE):
        yield files
        first = files[-1].position + 1


def learned(job: DetectionJob) -> list[LearnedType]:
    """What the job's model has learned of its types, in their order."""
    return [LearnedType(**of_type) for of_type in job.types]


def unpacked(job_id: UUID, file: ScoredFile) -> Scores:
    """The scores. Raises StoredObjectDamagedError."""
    try:
        return Scores.unpack(file.scores)
    except ValueError as error:
        log.exception("stored scores are damaged", detection_job_id=str(job_id))
        raise StoredObjectDamagedError(
            f"the stored scores of file {file.file_id} are damaged: search it again"
        ) from error


async def annotated(connection: Connection, set_id: UUID, files: Sequence[ScoredFile]) -> Annotated:
    """What is annotated in these files, as training counts it. A file without annotations has no entry."""
    rows = await annotations.spans(connection, set_id, [file.file_id for file in files], LIKELY)
    return await asyncio.to_thread(_by_file, rows)


def _by_file(rows: Sequence[ChannelSpans]) -> Annotated:
    of_files: dict[UUID, dict[tuple[str, int | None], Spans]] = {}
    for row in rows:
        spans = np.stack([row.starts_ms, row.ends_ms], axis=1).astype(np.int64)
        of_files.setdefault(row.audio_file_id, {})[row.artifact_type, row.channel] = spans
    return {file_id: by_type(of_channels) for file_id, of_channels in of_files.items()}
