"""The part of earmark.v1.DetectionService that compares detection jobs with each other."""

import asyncio
import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np

from earmark.gateway import lookup
from earmark.gateway.app import App
from earmark.gateway.convert.evaluation import comparison_response, file_to_mark_message
from earmark.gateway.evaluation.marking import Disagreement, Uncertainty, disagreement, uncertainty
from earmark.gateway.evaluation.tally import Tally
from earmark.gateway.paging import PageRequest
from earmark.gateway.rules.evaluation import check_comparable, check_markable, shared_types
from earmark.gateway.services.evaluation import check_kept, checked_settings
from earmark.gateway.services.scored_files import (
    Annotated,
    LearnedType,
    annotated,
    learned,
    scored_files,
    unpacked,
)
from earmark.scores import DetectionConfig, Scores, Spans
from earmark.storage.database import Connection
from earmark.storage.queries import annotations, detection_jobs
from earmark.storage.queries.detection_jobs import ScoredFile
from earmark.storage.records import AnnotationSet, DetectionJob
from earmark.timeline import ScoredRegion
from earmark.v1 import detection_service_pb2_grpc
from earmark.v1 import evaluation_pb2 as pb


class ComparisonService(detection_service_pb2_grpc.DetectionServiceServicer):
    """Compares the scores of completed detection jobs, in threads, for few callers at a time."""

    _app: App

    async def CompareDetectionJobs(
        self, request: pb.CompareDetectionJobsRequest, _: Any
    ) -> pb.CompareDetectionJobsResponse:
        async with self._app.lane.connection() as connection:
            job, other = await _both(connection, request)
            annotation_set = await lookup.annotation_set(connection, UUID(request.annotation_set_id))
            check_comparable(annotation_set, job, other)
            sides = _sides(request, job, other)
            tallies = [side.tally() for side in sides]
            async for files in scored_files(connection, job.id):
                pairs = await _pairs(connection, other, files)
                real = await annotated(connection, annotation_set.id, files)
                for side, tally in zip(sides, tallies, strict=True):
                    await asyncio.to_thread(tally.add, side.regions(pairs, real))
            await check_kept(connection, job.id, annotation_set.id)
            await lookup.detection_job(connection, other.id)
            first, second = tallies
            return await asyncio.to_thread(comparison_response, first, second, job.total_files)

    async def ListFilesToMark(self, request: pb.ListFilesToMarkRequest, _: Any) -> pb.ListFilesToMarkResponse:
        page_request = PageRequest.by_number(request)
        most = (page_request.after or 0) + page_request.size + 1
        async with self._app.lane.connection() as connection:
            best = await _best(connection, request, most)

        async def read(after: int | None, count: int) -> Sequence[tuple[int, _Mark]]:
            first = after or 0
            return list(enumerate(best, start=1))[first : first + count]

        page = await page_request.page(read, _message, lambda row: row[0])
        return pb.ListFilesToMarkResponse(files=page.messages, next_page_token=page.next_page_token)


@dataclass(frozen=True, slots=True)
class _Side:
    """One of two jobs: its number, its settings, and the types that count, at these places in its scores."""

    number: int
    job: DetectionJob
    config: DetectionConfig
    types: Sequence[LearnedType]
    columns: Sequence[int]

    def tally(self) -> Tally:
        return Tally(self.types, [of_type.name for of_type in self.types], self.config)

    def scores(self, pair: Sequence[ScoredFile]) -> Scores:
        """The scores of the types that count. Raises StoredObjectDamagedError."""
        scores = unpacked(self.job.id, pair[self.number])
        return Scores(scores.values[:, :, self.columns], scores.channels, scores.begins, scores.duration_ms)

    def regions(self, pairs: Sequence[Sequence[ScoredFile]], real: Annotated) -> Iterator[ScoredRegion]:
        for pair in pairs:
            scores = self.scores(pair)
            yield ScoredRegion(scores.counted, real.get(pair[0].file_id, {}), scores.duration_ms)

    def found(self, scores: Scores) -> Mapping[str, Spans]:
        """What this job found of each type."""
        spans: dict[str, list[tuple[int, int]]] = {}
        for each in scores.detections(self.types, self.config):
            spans.setdefault(each.artifact_type, []).append((each.start_ms, each.end_ms))
        return {name: np.array(of_type, np.int64) for name, of_type in spans.items()}


@dataclass(frozen=True, slots=True)
class _Mark:
    """A file, and why marking it would help."""

    position: int
    file_id: UUID
    filename: str
    duration_ms: int
    reason: Uncertainty | Disagreement

    @property
    def score(self) -> float:
        return self.reason.per_minute(self.duration_ms)


async def _both(connection: Connection, request: Any) -> tuple[DetectionJob, DetectionJob]:
    job = await lookup.detection_job(connection, UUID(request.detection_job_id))
    return job, await lookup.detection_job(connection, UUID(request.other_detection_job_id))


def _sides(request: Any, job: DetectionJob, other: DetectionJob | None) -> list[_Side]:
    """The jobs with the types that both have. Raises InvalidArgumentError."""
    jobs = [(job, "config")] if other is None else [(job, "config"), (other, "other_config")]
    names = [[of_type.name for of_type in learned(each)] for each, _ in jobs]
    shared = shared_types(names[0], names[-1])
    sides = []
    for number, (each, field) in enumerate(jobs):
        columns = [names[number].index(name) for name in shared]
        types = [learned(each)[column] for column in columns]
        sides.append(_Side(number, each, checked_settings(each, request, field), types, columns))
    return sides


async def _pairs(
    connection: Connection, other: DetectionJob, files: Sequence[ScoredFile]
) -> list[tuple[ScoredFile, ...]]:
    """The files that the other job has completed too, with both jobs' scores."""
    file_ids = [file.file_id for file in files]
    others = await detection_jobs.scores(connection, other.id, 0, len(files), file_ids)
    by_id = {file.file_id: file for file in others}
    return [(file, by_id[file.file_id]) for file in files if file.file_id in by_id]


async def _best(connection: Connection, request: pb.ListFilesToMarkRequest, most: int) -> list[_Mark]:
    """At most so many files, the best first. Those that would not help are left out."""
    job, other, marked = await _markable(connection, request)
    sides = _sides(request, job, other)
    best: list[_Mark] = []
    async for files in scored_files(connection, job.id):
        pairs: list[tuple[ScoredFile, ...]] = [(file,) for file in files]
        if other is not None:
            pairs = await _pairs(connection, other, files)
        if marked is not None:
            spans = await annotations.spans(connection, marked.id, [file.file_id for file in files], 0.0)
            done = {of_channel.audio_file_id for of_channel in spans}
            pairs = [pair for pair in pairs if pair[0].file_id not in done]
        new = await asyncio.to_thread(_marks, sides, pairs)
        best = heapq.nsmallest(most, [*best, *new], key=lambda mark: (-mark.score, mark.position))
    await lookup.detection_job(connection, job.id)
    return best


async def _markable(
    connection: Connection, request: pb.ListFilesToMarkRequest
) -> tuple[DetectionJob, DetectionJob | None, AnnotationSet | None]:
    """The jobs of the request and the set of what is marked already. Raises if they do not fit."""
    job, other, marked = await lookup.detection_job(connection, UUID(request.detection_job_id)), None, None
    if request.other_detection_job_id:
        other = await lookup.detection_job(connection, UUID(request.other_detection_job_id))
    if request.annotation_set_id:
        marked = await lookup.annotation_set(connection, UUID(request.annotation_set_id))
    check_markable(marked, *filter(None, (job, other)))
    return job, other, marked


def _marks(sides: Sequence[_Side], pairs: Sequence[Sequence[ScoredFile]]) -> list[_Mark]:
    """The files that would help."""
    marks = []
    for pair in pairs:
        scores = [side.scores(pair) for side in sides]
        reason: Uncertainty | Disagreement
        if len(sides) == 1:
            reason = uncertainty(scores[0], sides[0].types, sides[0].config)
        else:
            reason = disagreement(*(side.found(each) for side, each in zip(sides, scores, strict=True)))
        file = pair[0]
        marks.append(_Mark(file.position, file.file_id, file.filename, scores[0].duration_ms, reason))
    return [mark for mark in marks if mark.score > 0]


def _message(row: tuple[int, _Mark]) -> pb.FileToMark:
    _, mark = row
    return file_to_mark_message(mark.file_id, mark.filename, mark.duration_ms, mark.score, mark.reason)
