"""Validators of detection jobs: nothing that they find is lost or doubled. Violations are text."""

from collections import defaultdict
from collections.abc import Iterator

from bench.faults.observations import Observations, Search
from bench.faults.tables import SearchJob, Tables
from earmark.v1 import detection_service_pb2 as pb

FINAL = {
    pb.DETECTION_JOB_STATUS_COMPLETED: "completed",
    pb.DETECTION_JOB_STATUS_FAILED: "failed",
    pb.DETECTION_JOB_STATUS_CANCELLED: "cancelled",
}


def searches_are_kept(observed: Observations, tables: Tables) -> Iterator[str]:
    """A detection job that Create acknowledged is never lost and never made twice for one request_id."""
    rows = defaultdict(list)
    for row in tables.searches:
        rows[row.request_id].append(row.id)
    for request_id, ids in rows.items():
        if len(ids) > 1:
            yield f"request {request_id} made {len(ids)} detection jobs: {ids}"
    for search in observed.searches:
        if search.job_id not in rows[search.request_id]:
            yield f"request {search.request_id} was acknowledged with {search.job_id}, which does not exist"


def searches_end_once(observed: Observations, tables: Tables) -> Iterator[str]:
    """A detection job has one end, fails for nobody's fault, and its figures are those of its files."""
    cancelled = {search.job_id for search in observed.searches if search.is_cancelled}
    for row in tables.searches:
        for problem in (*_row_problems(row), *_end_problems(row, tables.search_events[row.id])):
            yield f"detection job {row.id}: {problem}"
        if row.status == "failed" or (row.status == "cancelled" and row.id not in cancelled):
            yield f"detection job {row.id} is {row.status}, and nobody asked for it"


def _row_problems(row: SearchJob) -> Iterator[str]:
    statuses = [status for status, _ in row.files]
    counted = (statuses.count("completed"), statuses.count("failed"), sum(count for _, count in row.files))
    stored = (row.completed_files, row.failed_files, row.total_detections)
    if counted != stored:
        yield f"its files have (completed, failed, detections) {counted}, and its row {stored}"
    if row.failed_files:
        yield f"{row.failed_files} files failed, and all of them are good"
    if row.status == "completed" and row.completed_files != row.total_files:
        yield f"it is completed with {row.completed_files} of {row.total_files} files"


def _end_problems(row: SearchJob, events: list[pb.DetectionEvent]) -> Iterator[str]:
    ends = [event for event in events if event.status_changed.to in FINAL]
    if [FINAL[end.status_changed.to] for end in ends] != [row.status] or events[-1] is not ends[-1]:
        yield f"it is {row.status}, and its events end it {len(ends)} times"
    if [event.revision for event in events] != list(range(1, row.revision + 1)):
        yield f"its revision is {row.revision}, and the events are not those from 1 to there"
    done = [event.progress.completed_files for event in events if event.HasField("progress")]
    if done != sorted(done) or done[-1:] not in ([], [row.completed_files]):
        yield f"its events count the completed files {done}, and there are {row.completed_files}"


def searches_find_the_same(observed: Observations, tables: Tables) -> Iterator[str]:
    """Every completed job of one model finds the same in the same files, whatever happened meanwhile."""
    completed = {row.id: row for row in tables.searches if row.status == "completed"}
    first: tuple[str, list[tuple[object, ...]]] | None = None
    for search in observed.searches:
        if search.job_id not in completed:
            continue
        found = _found(search)
        row = completed[search.job_id]
        if len(found) != row.total_detections:
            yield f"detection job {row.id} lists {len(found)} of {row.total_detections} detections"
        first = first or (row.id, found)
        if found != first[1]:
            yield f"detection job {row.id} does not find what {first[0]} finds in the same files"


def _found(search: Search) -> list[tuple[object, ...]]:
    return [
        (each.file_id, each.detection.artifact_type, each.detection.start_ms, each.detection.end_ms)
        for each in search.found
    ]


def search_watches_are_whole(observed: Observations, tables: Tables) -> Iterator[str]:
    """No watcher of a detection job misses an event, or gets one twice."""
    for search in observed.searches:
        if search.events != tables.search_events.get(search.job_id):
            yield f"the watcher of detection job {search.job_id} has other events than those recorded"
