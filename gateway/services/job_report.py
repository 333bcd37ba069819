"""What the report of a detection job says, from the scores that are stored with the job."""

import asyncio
import heapq
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from earmark.gateway.reports.detection_job import BINS, FileFigures, JobFigures, TypeFigures
from earmark.gateway.reports.strips import Strip, lane
from earmark.gateway.services.scored_files import learned, scored_files, unpacked
from earmark.scores import NO_SPANS, Detection, DetectionConfig, Scores
from earmark.storage.database import Connection
from earmark.storage.queries import detection_jobs
from earmark.storage.queries.detection_jobs import ScoredFile
from earmark.storage.records import DetectionJob

LOWEST = 0.1  # confidence that is counted
MOST_FILES = 20
MOST_STRIPS = 10
STRIP_MS = 60_000

# The number of detections, the position (the first file first), the file, and its strip.
# By detections; a file without any has no strip.
_Ranked = tuple[int, int, FileFigures, Strip | None]


class JobReport:
    """The figures of one job with these settings."""

    def __init__(self, job: DetectionJob, config: DetectionConfig) -> None:
        self._job = job
        self._config = config
        self._types = learned(job)
        thresholds = {each.name: min(LOWEST, config.for_type(each)[0]) for each in self._types}
        self._lower = replace(config, thresholds=thresholds)
        self._detections = {each.name: 0 for each in self._types}
        self._files = {each.name: 0 for each in self._types}
        self._confidences = {each.name: np.zeros(BINS, np.int64) for each in self._types}
        self._most: list[_Ranked] = []

    async def figures(self, connection: Connection) -> JobFigures:
        """Reads all of the job's scores, those of some files at a time. Raises StoredObjectDamagedError."""
        async for files in scored_files(connection, self._job.id):
            await asyncio.to_thread(self._add, files)
        most = sorted(self._most, reverse=True)
        return JobFigures(
            await detection_jobs.status_counts(connection, self._job.id),
            await detection_jobs.failure_counts(connection, self._job.id),
            [
                TypeFigures(
                    each.name,
                    self._config.for_type(each)[0],
                    self._detections[each.name],
                    self._files[each.name],
                    self._confidences[each.name].tolist(),
                )
                for each in self._types
            ],
            [file for *_, file, _ in most],
            [strip for *_, strip in most[:MOST_STRIPS] if strip],
        )

    def _add(self, files: Sequence[ScoredFile]) -> None:
        for file in files:
            scores = unpacked(self._job.id, file)
            counts = {each.name: 0 for each in self._types}
            found = scores.detections(self._types, self._config)
            for each in found:
                counts[each.artifact_type] += 1
            for name, count in counts.items():
                self._detections[name] += count
                self._files[name] += count > 0
            for each in scores.detections(self._types, self._lower):
                self._confidences[each.artifact_type][min(BINS - 1, int(each.confidence * BINS))] += 1
            self._rank(file, FileFigures(file.filename, scores.duration_ms, counts), scores, found)

    def _rank(
        self, file: ScoredFile, figures: FileFigures, scores: Scores, found: Sequence[Detection]
    ) -> None:
        most, rank = self._most, (figures.detections, -file.position)
        if len(most) == MOST_FILES and most[0][:2] > rank:
            return
        strip = self._strip(file, scores, found) if found else None
        heapq.heappush(most, (*rank, figures, strip))
        if len(most) > MOST_FILES:
            heapq.heappop(most)

    def _strip(self, file: ScoredFile, scores: Scores, found: Sequence[Detection]) -> Strip:
        part = _densest(found, scores.duration_ms)
        there = {each.artifact_type for each in found if each.end_ms > part[0] and each.start_ms < part[1]}
        lanes = [
            lane(each, number, part, scores, self._config, found, NO_SPANS)
            for number, each in enumerate(self._types)
            if each.name in there
        ]
        return Strip(file.filename, *part, lanes)


def _densest(found: Sequence[Detection], duration_ms: int) -> tuple[int, int]:
    """The part of at most STRIP_MS in which most of the detections, one or more by onset, begin."""
    if duration_ms <= STRIP_MS:
        return 0, duration_ms
    starts = np.array([each.start_ms for each in found])
    counts = np.searchsorted(starts, starts + STRIP_MS) - np.arange(len(starts))
    first = min(int(starts[counts.argmax()]), duration_ms - STRIP_MS)
    return first, first + STRIP_MS
