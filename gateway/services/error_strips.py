"""The worst errors of a model, for its report, from a detection job over its own dataset."""

import asyncio
import heapq
from collections.abc import Sequence

from earmark.gateway.convert.detection_jobs import settings_of
from earmark.gateway.convert.values import from_json
from earmark.gateway.evaluation.errors import Error, errors
from earmark.gateway.reports.model import WorstErrors
from earmark.gateway.reports.strips import Strip, lane
from earmark.gateway.services.scored_files import Annotated, annotated, learned, scored_files, unpacked
from earmark.scores import NO_SPANS, Detection, Scores
from earmark.storage.database import Connection
from earmark.storage.queries import detection_jobs
from earmark.storage.queries.detection_jobs import ScoredFile
from earmark.storage.records import DetectionJob, Model
from earmark.v1.detection_pb2 import DetectionConfig

SHOWN = 6  # of the misses and of the false detections
AROUND_MS = 2_000  # before and after an error
MISSED, FALSE = "missed", "false_detection"

# How bad it is, where it is (the first file first), and its strip.
_Ranked = tuple[float, int, int, Strip]


async def worst_errors(connection: Connection, model: Model) -> WorstErrors | None:
    """The errors in the newest completed job of the model over its dataset; None if there is no such job."""
    job = await detection_jobs.latest_of_model(connection, model.tenant_id, model.id, model.dataset_id)
    if job is None:
        return None
    worst = _Worst(job)
    async for files in scored_files(connection, job.id):
        real = await annotated(connection, model.annotation_set_id, files)
        await asyncio.to_thread(worst.add, files, real)
    return WorstErrors(
        str(job.id),
        job.completed_files,
        worst.counts[MISSED],
        worst.counts[FALSE],
        worst.strips(MISSED),
        worst.strips(FALSE),
    )


class _Worst:
    def __init__(self, job: DetectionJob) -> None:
        self._job = job
        self._types = learned(job)
        self._names = [each.name for each in self._types]
        self._config = settings_of(from_json(job.config, DetectionConfig))
        self.counts = {MISSED: 0, FALSE: 0}
        self._heaps: dict[str, list[_Ranked]] = {MISSED: [], FALSE: []}

    def strips(self, kind: str) -> list[Strip]:
        """The worst first."""
        return [strip for *_, strip in sorted(self._heaps[kind], reverse=True)]

    def add(self, files: Sequence[ScoredFile], real: Annotated) -> None:
        for file in files:
            scores = unpacked(self._job.id, file)
            found = scores.detections(self._types, self._config)
            for number, error in enumerate(errors(scores, found, real.get(file.file_id, {}), self._names)):
                self.counts[error.kind] += 1
                # A miss is the worse, the lower the scores are there; a false detection, the surer it is.
                badness = error.confidence if error.kind == FALSE else 1 - error.confidence
                heap, rank = self._heaps[error.kind], (badness, -file.position, -number)
                if len(heap) == SHOWN and heap[0][:3] > rank:
                    continue
                heapq.heappush(heap, (*rank, self._strip(file, error, scores, found, real)))
                if len(heap) > SHOWN:
                    heapq.heappop(heap)

    def _strip(
        self, file: ScoredFile, error: Error, scores: Scores, found: Sequence[Detection], real: Annotated
    ) -> Strip:
        part = max(0, error.start_ms - AROUND_MS), min(scores.duration_ms, error.end_ms + AROUND_MS)
        of_file = real.get(file.file_id, {})
        lanes = [
            lane(each, number, part, scores, self._config, found, of_file.get(each.name, NO_SPANS))
            for number, each in enumerate(self._types)
            if each.name in (error.artifact_type, error.other_type)
        ]
        return Strip(_title(file, error), *part, lanes)


def _title(file: ScoredFile, error: Error) -> str:
    where = f"{error.artifact_type} in {file.filename} at {error.start_ms / 1000:.2f} s"
    if error.kind == MISSED:
        instead = f", found as {error.other_type}" if error.other_type else ""
        return f"{where}: highest score {error.confidence:.2f}{instead}"
    instead = f", annotated as {error.other_type}" if error.other_type else ""
    return f"{where}: confidence {error.confidence:.2f}{instead}"
