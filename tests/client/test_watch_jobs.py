"""A watch of all jobs goes on where it was cut, by the cursor of whatever came last."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import grpc
import pytest
from earmark.client import Client, JobEvent, explain, watch_jobs
from earmark.v1 import training_service_pb2 as training
from earmark.v1 import training_service_pb2_grpc

from tests.client.small_gateway import QUICK, refuse

Serve = Callable[..., Client]
COMPLETED = training.TRAINING_JOB_STATUS_COMPLETED


def event(number: int) -> training.WatchTrainingJobsResponse:
    told = training.TrainingEvent(training_job_id=f"job-{number % 2}", revision=number)
    return training.WatchTrainingJobsResponse(event=told, cursor=str(number))


def heartbeat(number: int) -> training.WatchTrainingJobsResponse:
    return training.WatchTrainingJobsResponse(
        heartbeat=training.WatchTrainingJobsResponse.Heartbeat(), cursor=str(number)
    )


class Log(training_service_pb2_grpc.TrainingServiceServicer):
    """Events 1, 2, 3 ... from the cursor asked for, two to a stream, each of which ends as the test says."""

    def __init__(self, ending: Callable[[grpc.ServicerContext], None], *, beats: bool = False) -> None:
        self.ending, self.beats = ending, beats
        self.asked: list[training.WatchTrainingJobsRequest] = []

    def WatchTrainingJobs(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self.asked.append(request)
        after = int(request.after_cursor or 0)
        if request.from_now:
            after = 40
            yield heartbeat(after)
        yield from (event(after + 1), event(after + 2))
        if self.beats:
            yield heartbeat(after + 10)
        self.ending(context)


def unavailable(context: grpc.ServicerContext) -> None:
    refuse(context, "UNAVAILABLE", "stopping", "STOPPING")


def cut(context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.INTERNAL, "RST_STREAM")


def early_end(_context: grpc.ServicerContext) -> None:
    """A stream that ends well, as that of a gateway that stops."""


def taken(events: Iterator[JobEvent], count: int) -> list[str]:
    """The cursors of that many events, each of which must be its event's own."""
    found = list(islice(events, count))
    assert [told.cursor for told in found] == [str(told.event.revision) for told in found]
    return [told.cursor for told in found]


@pytest.mark.parametrize("ending", [unavailable, cut, early_end])
def test_a_broken_stream_is_resumed_by_cursor(serve: Serve, ending: Any) -> None:
    log = Log(ending)

    assert taken(watch_jobs(serve(log), backoff=QUICK), 5) == ["1", "2", "3", "4", "5"]
    assert [request.after_cursor for request in log.asked] == ["", "2", "4"]


def test_a_heartbeats_cursor_counts_too(serve: Serve) -> None:
    log = Log(unavailable, beats=True)

    assert taken(watch_jobs(serve(log), after_cursor="7", backoff=QUICK), 4) == ["8", "9", "18", "19"]
    assert [request.after_cursor for request in log.asked] == ["7", "17"]


def test_only_the_first_stream_begins_now(serve: Serve) -> None:
    log = Log(unavailable)

    assert taken(watch_jobs(serve(log), from_now=True, backoff=QUICK), 4) == ["41", "42", "43", "44"]
    assert [(request.from_now, request.after_cursor) for request in log.asked] == [(True, ""), (False, "42")]


def test_the_filter_goes_with_every_stream(serve: Serve) -> None:
    log = Log(unavailable)
    events = watch_jobs(
        serve(log),
        dataset_id="d",
        statuses=iter([COMPLETED]),
        metadata={"team": "tts"},
        backoff=QUICK,
    )

    taken(events, 3)

    for request in log.asked:
        assert (request.dataset_id, list(request.statuses)) == ("d", [COMPLETED])
        assert dict(request.metadata) == {"team": "tts"}


def test_a_cursor_that_is_too_old_is_told(serve: Serve) -> None:
    log = Log(lambda context: refuse(context, "OUT_OF_RANGE", "too old", "CURSOR_OUT_OF_RANGE"))

    with pytest.raises(grpc.RpcError) as caught:
        taken(watch_jobs(serve(log), backoff=QUICK), 3)
    assert explain(caught.value).reason == "CURSOR_OUT_OF_RANGE"
    assert len(log.asked) == 1
