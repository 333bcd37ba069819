"""The drill's validators of detection jobs find what they are for, and nothing in a drill that went well."""

from dataclasses import replace

import pytest

from bench.faults.observations import Observations, Search, SearchStream
from bench.faults.search_validators import (
    search_watches_are_whole,
    searches_are_kept,
    searches_end_once,
    searches_find_the_same,
)
from bench.faults.tables import SearchJob, Tables
from earmark.v1 import detection_service_pb2 as pb

VALIDATORS = (searches_are_kept, searches_end_once, searches_find_the_same, search_watches_are_whole)


def events(*changes) -> list[pb.DetectionEvent]:
    result = [pb.DetectionEvent(revision=number, **change) for number, change in enumerate(changes, 1)]
    for event in result:
        event.detection_job_id = "one"
    return result


def status(name: str) -> dict:
    return {"status_changed": {"to": f"DETECTION_JOB_STATUS_{name}"}}


def done(files: int) -> dict:
    return {"progress": {"completed_files": files}}


GOOD = events(
    status("PENDING"), status("QUEUED"), status("PROCESSING"), done(1), done(2), status("COMPLETED")
)
ROW = SearchJob("one", "request", "completed", 6, 2, 2, 0, 3, [("completed", 1), ("completed", 2)])


def found(*starts: int) -> list[pb.JobDetection]:
    return [
        pb.JobDetection(
            file_id="file", detection={"artifact_type": "x", "start_ms": start, "end_ms": start + 5}
        )
        for start in starts
    ]


def problems(row: SearchJob = ROW, seen=GOOD, recorded=GOOD, listed=(1, 2, 3), **search) -> list[str]:
    observed = Observations()
    stream = SearchStream(0, 0.0, events=list(seen))
    observed.searches.append(Search("one", "request", streams=[stream], found=found(*listed), **search))
    tables = Tables(searches=[row], search_events={"one": list(recorded)})
    return [problem for validator in VALIDATORS for problem in validator(observed, tables)]


def test_nothing_is_wrong_with_a_good_job():
    assert problems() == []


def test_a_cancelled_job_is_fine_if_somebody_asked_for_it():
    cancelled = [*GOOD[:4], events(*[status("CANCELLED")] * 5)[-1]]
    row = replace(
        ROW, status="cancelled", revision=5, completed_files=1, total_detections=1, files=[("completed", 1)]
    )
    same = {"row": row, "seen": cancelled, "recorded": cancelled, "listed": (1,)}
    assert problems(**same, is_cancelled=True) == []
    assert any("nobody asked" in problem for problem in problems(**same))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"row": replace(ROW, request_id="other")}, "does not exist"),
        ({"row": replace(ROW, completed_files=1)}, "(completed, failed, detections)"),
        ({"row": replace(ROW, total_detections=4)}, "(completed, failed, detections)"),
        ({"row": replace(ROW, revision=7)}, "its revision is 7"),
        ({"row": replace(ROW, status="failed")}, "nobody asked"),
        ({"recorded": [*GOOD, GOOD[-1]]}, "end it 2 times"),
        ({"recorded": GOOD[:-1]}, "end it 0 times"),
        ({"seen": GOOD[1:]}, "has other events"),
        ({"seen": [*GOOD, GOOD[-1]]}, "has other events"),
        ({"listed": (1, 2)}, "lists 2 of 3"),
        ({"listed": (1, 2, 2, 3)}, "lists 4 of 3"),
    ],
)
def test_what_is_wrong_is_found(change, problem):
    assert any(problem in each for each in problems(**change)), problems(**change)


def test_two_jobs_that_find_different_things_are_found():
    observed = Observations()
    for number, starts in enumerate(((1, 2, 3), (1, 2, 4))):
        stream = SearchStream(0, 0.0, events=GOOD)
        observed.searches.append(Search(f"{number}", f"{number}", streams=[stream], found=found(*starts)))
    tables = Tables(searches=[replace(ROW, id=f"{number}", request_id=f"{number}") for number in range(2)])
    assert any("does not find what" in problem for problem in searches_find_the_same(observed, tables))
