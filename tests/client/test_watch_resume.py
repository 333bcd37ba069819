"""A broken watch of a job resumes: it yields every event once, in order, however often the stream breaks."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest

from earmark.client import Backoff, explain, watch
from earmark.v1 import training_service_pb2 as training
from earmark.v1 import training_service_pb2_grpc
from tests.client.both import Reach, Reached
from tests.client.small_gateway import QUICK, Serve, cut, early_end, refuse, too_slow, unavailable

LAST = 6
NOTICE, PROGRESS = training.TRAINING_EVENT_KIND_NOTICE, training.TRAINING_EVENT_KIND_PROGRESS
STATUS_CHANGED = training.TRAINING_EVENT_KIND_STATUS_CHANGED


def response(revision: int) -> training.WatchTrainingJobResponse:
    event = training.TrainingEvent(revision=revision)
    if revision == LAST:
        event.status_changed.to = training.TRAINING_JOB_STATUS_COMPLETED
    else:
        event.progress.epoch = revision
    return training.WatchTrainingJobResponse(event=event)


class Breaking(training_service_pb2_grpc.TrainingServiceServicer):
    """Sends events after the requested revision, and ends one stream with each of `endings`."""

    def __init__(self, *endings: Callable[[grpc.ServicerContext], None], each: int = 2) -> None:
        self.endings = list(endings)
        self.each = each
        self.asked: list[int] = []

    def WatchTrainingJob(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self.asked.append(request.after_revision)
        yield training.WatchTrainingJobResponse(
            heartbeat=training.WatchTrainingJobResponse.Heartbeat(revision=request.after_revision)
        )
        ending = self.endings.pop(0) if self.endings else None
        last = request.after_revision + self.each if ending else LAST
        for revision in range(request.after_revision + 1, last + 1):
            yield response(revision)
        if ending:
            ending(context)


class WithoutDatabase(Breaking):
    """Cannot reach its database at the first request."""

    def WatchTrainingJob(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        if not self.asked:
            self.asked.append(request.after_revision)
            refuse(context, "UNAVAILABLE", "the database does not answer", "DATABASE_UNAVAILABLE")
        yield from super().WatchTrainingJob(request, context)


def revisions(reached: Reached, job_id: str = "job", after: int = 0, backoff: Backoff = QUICK) -> list[int]:
    """The revisions of a watch's events."""
    events = reached.items(lambda api, client: api.watch(client, job_id, after, backoff=backoff))
    return [event.revision for event in events]


def test_an_unavailable_gateway_that_gives_a_reason_counts_as_contacted(reach: Reach) -> None:
    impatient = replace(QUICK, first_contact=0)

    assert len(revisions(reach(WithoutDatabase()), backoff=impatient)) == LAST


@pytest.mark.parametrize("ending", [unavailable, too_slow, cut, early_end])
def test_a_broken_stream_is_resumed_by_revision(reach: Reach, ending: Any) -> None:
    gateway = Breaking(ending, ending)

    assert revisions(reach(gateway)) == [1, 2, 3, 4, 5, 6]
    assert gateway.asked == [0, 2, 4]


def test_a_watch_starts_after_a_revision(reach: Reach) -> None:
    assert revisions(reach(Breaking()), after=4) == [5, 6]


def test_a_break_after_the_last_event_is_ignored(reach: Reach) -> None:
    gateway = Breaking(unavailable, each=LAST)

    assert revisions(reach(gateway)) == [1, 2, 3, 4, 5, 6]
    assert gateway.asked == [0]


@pytest.mark.parametrize(
    ("kinds", "seen"), [([NOTICE], []), ([NOTICE, STATUS_CHANGED], [LAST]), ([PROGRESS], [1, 2, 3, 4, 5])]
)
def test_a_filtered_watch_ends_with_its_job(reach: Reach, kinds: Any, seen: list[int]) -> None:
    """The last event may be filtered out, so that the client does not receive it."""

    class Filtering(Breaking):
        def WatchTrainingJob(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            for sent in super().WatchTrainingJob(request, context):
                kind = STATUS_CHANGED if sent.event.revision == LAST else PROGRESS
                if sent.HasField("heartbeat") or kind in request.kinds:
                    yield sent

    gateway = Filtering(unavailable)
    events = reach(gateway).items(
        lambda api, client: api.watch(client, "job", kinds=iter(kinds), backoff=QUICK)
    )

    assert [event.revision for event in events] == seen
    assert len(gateway.asked) == 2


def test_repeated_events_are_dropped(reach: Reach) -> None:
    class Repeating(training_service_pb2_grpc.TrainingServiceServicer):
        def WatchTrainingJob(self, _request: Any, _context: grpc.ServicerContext) -> Iterator[Any]:
            yield from map(response, (1, 1, 2, 1, LAST))

    assert revisions(reach(Repeating())) == [1, 2, LAST]


def test_a_gateway_that_restarts_is_waited_for(serve: Serve) -> None:
    client = serve(Breaking(unavailable))
    events = watch(client, "job", backoff=QUICK)
    assert next(events).revision == 1

    client.gateway.stop()
    client.gateway.start()

    assert [event.revision for event in events] == [2, 3, 4, 5, 6]


def test_a_refusal_is_raised(reach: Reach) -> None:
    class NoSuchJob(training_service_pb2_grpc.TrainingServiceServicer):
        def WatchTrainingJob(self, _request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            refuse(context, "NOT_FOUND", "there is no training job 7", "NOT_FOUND")
            yield

    with pytest.raises(grpc.RpcError) as caught:
        revisions(reach(NoSuchJob()), "7")
    assert explain(caught.value).reason == "NOT_FOUND"


def test_an_internal_error_is_raised(reach: Reach) -> None:
    gateway = Breaking(lambda context: refuse(context, "INTERNAL", "request 9", "INTERNAL"))

    with pytest.raises(grpc.RpcError):
        revisions(reach(gateway))


def test_a_wrong_address_is_reported_soon_and_with_a_hint(reach: Reach) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        revisions(reach(address="127.0.0.1:1"))

    explanation = explain(caught.value)
    assert explanation.code == "UNAVAILABLE"
    assert "earmark up" in str(explanation)


def test_a_closed_watch_cancels_its_stream(serve: Serve) -> None:
    cancelled = threading.Event()

    class Endless(training_service_pb2_grpc.TrainingServiceServicer):
        def WatchTrainingJob(self, _request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            context.add_callback(cancelled.set)
            yield response(1)
            cancelled.wait(10)

    events = watch(serve(Endless()), "job", backoff=QUICK)
    next(events)
    events.close()

    assert cancelled.wait(5)
