"""The part of earmark.v1.DetectionService that compares detection jobs with annotations."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from earmark.gateway import lookup
from earmark.gateway.app import App
from earmark.gateway.convert.evaluation import (
    error_kind_names,
    evaluation_error_message,
    evaluation_response,
)
from earmark.gateway.evaluation.errors import Error, errors
from earmark.gateway.evaluation.tally import Tally
from earmark.gateway.paging import PageRequest, Pair
from earmark.gateway.rules.detection import check_types
from earmark.gateway.rules.evaluation import check_comparable
from earmark.gateway.services.job_detections import settings
from earmark.gateway.services.scored_files import (
    Annotated,
    FileRows,
    annotated,
    learned,
    scored_files,
    unpacked,
)
from earmark.scores import DetectionConfig
from earmark.storage.database import Connection
from earmark.storage.queries.detection_jobs import ScoredFile
from earmark.storage.records import AnnotationSet, DetectionJob
from earmark.timeline import ScoredRegion
from earmark.v1 import detection_service_pb2_grpc
from earmark.v1 import evaluation_pb2 as pb


class EvaluationService(detection_service_pb2_grpc.DetectionServiceServicer):
    """Evaluates completed detection jobs. All of it is computed in threads, for few callers at a time."""

    _app: App

    async def EvaluateDetectionJob(
        self, request: pb.EvaluateDetectionJobRequest, _: Any
    ) -> pb.EvaluateDetectionJobResponse:
        async with self._app.lane.connection() as connection:
            job, annotation_set, config = await _facts(connection, request)
            tally = Tally(learned(job), _type_names(job, annotation_set), config)
            async for files in scored_files(connection, job.id):
                real = await annotated(connection, annotation_set.id, files)
                await asyncio.to_thread(tally.add, (_region(job.id, file, real) for file in files))
            await check_kept(connection, job.id, annotation_set.id)
            return await asyncio.to_thread(evaluation_response, tally, job.failed_files)

    async def ListEvaluationErrors(
        self, request: pb.ListEvaluationErrorsRequest, _: Any
    ) -> pb.ListEvaluationErrorsResponse:
        page_request = PageRequest.by_pair(request)
        async with self._app.lane.connection() as connection:
            job, annotation_set, config = await _facts(connection, request)
            wanted = _Wanted(frozenset(error_kind_names(request.kinds)), frozenset(request.artifact_types))

            async def read(connection: Connection, files: Sequence[ScoredFile]) -> list[_Row]:
                real = await annotated(connection, annotation_set.id, files)
                return await asyncio.to_thread(_rows, job, config, files, real, wanted)

            rows = FileRows(job.id, list(map(UUID, request.file_ids)), read)

            async def after(place: Pair | None, count: int) -> list[_Row]:
                return await rows.after(connection, place, count)

            page = await page_request.page(after, _message, lambda row: row.place)
            await check_kept(connection, job.id, annotation_set.id)
        return pb.ListEvaluationErrorsResponse(errors=page.messages, next_page_token=page.next_page_token)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which errors are wanted. What is empty matches all."""

    kinds: frozenset[str]
    artifact_types: frozenset[str]

    def selects(self, error: Error) -> bool:
        return (not self.kinds or error.kind in self.kinds) and (
            not self.artifact_types or error.artifact_type in self.artifact_types
        )


@dataclass(frozen=True, slots=True)
class _Row:
    """A wanted error, its file, and its place in the list."""

    place: Pair
    file: ScoredFile
    error: Error


async def _facts(connection: Connection, request: Any) -> tuple[DetectionJob, AnnotationSet, DetectionConfig]:
    """The job, the set and the settings of a request. Raises if they cannot be compared."""
    job = await lookup.detection_job(connection, UUID(request.detection_job_id))
    annotation_set = await lookup.annotation_set(connection, UUID(request.annotation_set_id))
    check_comparable(annotation_set, job)
    return job, annotation_set, checked_settings(job, request)


def checked_settings(job: DetectionJob, request: Any, field: str = "config") -> DetectionConfig:
    """The settings in this field of the request, or the job's own. Raises InvalidArgumentError."""
    names = [of_type.name for of_type in learned(job)]
    check_types(getattr(request, field), job.model_id, names, field)
    return settings(job, request, field)


async def check_kept(connection: Connection, job_id: UUID, set_id: UUID) -> None:
    """Raises NotFoundError if one of them was deleted while it was read: then a part may be missing."""
    await lookup.detection_job(connection, job_id)
    await lookup.check_annotation_set(connection, set_id)


def _type_names(job: DetectionJob, annotation_set: AnnotationSet) -> list[str]:
    """The model's types, then those that only the set has."""
    return list(dict.fromkeys([*(of_type.name for of_type in learned(job)), *sorted(annotation_set.totals)]))


def _region(job_id: UUID, file: ScoredFile, real: Annotated) -> ScoredRegion:
    scores = unpacked(job_id, file)
    return ScoredRegion(scores.counted, real.get(file.file_id, {}), scores.duration_ms)


def _rows(
    job: DetectionJob,
    config: DetectionConfig,
    files: Sequence[ScoredFile],
    real: Annotated,
    wanted: _Wanted,
) -> list[_Row]:
    types = learned(job)
    names = [of_type.name for of_type in types]
    rows = []
    for file in files:
        scores = unpacked(job.id, file)
        found = scores.detections(types, config)
        for number, error in enumerate(errors(scores, found, real.get(file.file_id, {}), names)):
            if wanted.selects(error):
                rows.append(_Row((file.position, number), file, error))
    return rows


def _message(row: _Row) -> pb.EvaluationError:
    return evaluation_error_message(row.file.file_id, row.file.filename, row.error)
