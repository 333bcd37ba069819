"""A broken watch of all jobs resumes at the cursor of the last message, event or heartbeat."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from earmark.client import explain
from earmark.v1 import training_service_pb2 as training
from earmark.v1 import training_service_pb2_grpc
from tests.client.both import Reach, Reached
from tests.client.small_gateway import QUICK, cut, early_end, refuse, unavailable

COMPLETED = training.TRAINING_JOB_STATUS_COMPLETED
DELETED = training.TRAINING_EVENT_KIND_DELETED


def event(number: int) -> training.WatchTrainingJobsResponse:
    body = training.TrainingEvent(training_job_id=f"job-{number % 2}", revision=number)
    return training.WatchTrainingJobsResponse(event=body, cursor=str(number))


def heartbeat(number: int) -> training.WatchTrainingJobsResponse:
    return training.WatchTrainingJobsResponse(
        heartbeat=training.WatchTrainingJobsResponse.Heartbeat(), cursor=str(number)
    )


class Log(training_service_pb2_grpc.TrainingServiceServicer):
    """Sends two events after the requested cursor, and a heartbeat if `beats`, then ends the stream."""

    def __init__(self, ending: Callable[[grpc.ServicerContext], None], *, beats: bool = False) -> None:
        self.ending, self.beats = ending, beats
        self.asked: list[training.WatchTrainingJobsRequest] = []

    def WatchTrainingJobs(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self.asked.append(request)
        after = int(request.after_cursor or 0)
        if not (request.after_cursor or request.from_start):
            after = 40
            yield heartbeat(after)
        yield from (event(after + 1), event(after + 2))
        if self.beats:
            yield heartbeat(after + 10)
        self.ending(context)


def cursors(reached: Reached, count: int, **arguments: Any) -> list[str]:
    """The cursors of the first `count` events of a watch; each must be that of its event."""
    received = reached.items(lambda api, client: api.watch_jobs(client, backoff=QUICK, **arguments), count)
    cursors = [job_event.cursor for job_event in received]
    assert cursors == [str(job_event.event.revision) for job_event in received]
    return cursors


@pytest.mark.parametrize("ending", [unavailable, cut, early_end])
def test_a_broken_stream_is_resumed_by_cursor(reach: Reach, ending: Any) -> None:
    log = Log(ending)

    assert cursors(reach(log), 5, from_start=True) == ["1", "2", "3", "4", "5"]
    assert [(request.from_start, request.after_cursor) for request in log.asked] == [
        (True, ""),
        (False, "2"),
        (False, "4"),
    ]


def test_a_watch_resumes_after_the_cursor_of_a_heartbeat(reach: Reach) -> None:
    log = Log(unavailable, beats=True)

    assert cursors(reach(log), 4, after_cursor="7") == ["8", "9", "18", "19"]
    assert [request.after_cursor for request in log.asked] == ["7", "17"]


def test_only_the_first_stream_begins_from_now(reach: Reach) -> None:
    log = Log(unavailable)

    assert cursors(reach(log), 4) == ["41", "42", "43", "44"]
    assert [(request.from_start, request.after_cursor) for request in log.asked] == [
        (False, ""),
        (False, "42"),
    ]


def test_every_stream_has_the_filter(reach: Reach) -> None:
    log = Log(unavailable)

    cursors(
        reach(log),
        3,
        dataset_ids=iter(["d"]),
        kinds=iter([DELETED]),
        statuses=iter([COMPLETED]),
        metadata={"team": "tts"},
    )

    for request in log.asked:
        assert (list(request.dataset_ids), list(request.statuses)) == (["d"], [COMPLETED])
        assert list(request.kinds) == [DELETED]
        assert dict(request.metadata) == {"team": "tts"}


def test_a_cursor_that_is_too_old_is_an_error(reach: Reach) -> None:
    log = Log(lambda context: refuse(context, "OUT_OF_RANGE", "too old", "CURSOR_OUT_OF_RANGE"))

    with pytest.raises(grpc.RpcError) as caught:
        cursors(reach(log), 3)
    assert explain(caught.value).reason == "CURSOR_OUT_OF_RANGE"
    assert len(log.asked) == 1
