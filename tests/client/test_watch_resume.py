"""A watch goes on where it was cut: every event once, in order, however often the stream breaks."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
from earmark.client import Client, connect, explain, wait_until_ready, watch
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import audio_service_pb2_grpc, training_service_pb2_grpc
from earmark.v1 import training_service_pb2 as training

from tests.client.small_gateway import QUICK, refuse

Serve = Callable[..., Client]
LAST = 6


def response(revision: int) -> training.WatchTrainingJobResponse:
    event = training.TrainingEvent(revision=revision)
    if revision == LAST:
        event.status_changed.to = training.TRAINING_JOB_STATUS_COMPLETED
    else:
        event.progress.epoch = revision
    return training.WatchTrainingJobResponse(event=event)


class Breaking(training_service_pb2_grpc.TrainingServiceServicer):
    """Sends events from the revision asked for, and ends each stream as the test says."""

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


def unavailable(context: grpc.ServicerContext) -> None:
    refuse(context, "UNAVAILABLE", "stopping", "STOPPING")


def too_slow(context: grpc.ServicerContext) -> None:
    refuse(context, "RESOURCE_EXHAUSTED", "this watcher is too slow")


def cut(context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.INTERNAL, "RST_STREAM")


def early_end(_context: grpc.ServicerContext) -> None:
    """A stream that ends well, but before the job does."""


class Away(Breaking):
    """Has no database at first."""

    def WatchTrainingJob(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        if not self.asked:
            self.asked.append(request.after_revision)
            refuse(context, "UNAVAILABLE", "the database does not answer", "DATABASE_UNAVAILABLE")
        yield from super().WatchTrainingJob(request, context)


def test_a_gateway_that_says_why_it_is_unavailable_has_been_reached(serve: Serve) -> None:
    impatient = replace(QUICK, first_contact=0)

    assert len(list(watch(serve(Away()), "job", backoff=impatient))) == LAST


@pytest.mark.parametrize("ending", [unavailable, too_slow, cut, early_end])
def test_a_broken_stream_is_resumed_by_revision(serve: Serve, ending: Any) -> None:
    gateway = Breaking(ending, ending)

    seen = [event.revision for event in watch(serve(gateway), "job", backoff=QUICK)]

    assert seen == [1, 2, 3, 4, 5, 6]
    assert gateway.asked == [0, 2, 4]


def test_a_watch_starts_after_a_revision(serve: Serve) -> None:
    gateway = Breaking()

    assert [event.revision for event in watch(serve(gateway), "job", 4, backoff=QUICK)] == [5, 6]


def test_a_break_after_the_last_event_does_not_matter(serve: Serve) -> None:
    gateway = Breaking(unavailable, each=LAST)

    assert [event.revision for event in watch(serve(gateway), "job", backoff=QUICK)] == [1, 2, 3, 4, 5, 6]
    assert gateway.asked == [0]


def test_events_that_come_again_are_dropped(serve: Serve) -> None:
    class Repeating(training_service_pb2_grpc.TrainingServiceServicer):
        def WatchTrainingJob(self, _request: Any, _context: grpc.ServicerContext) -> Iterator[Any]:
            yield from map(response, (1, 1, 2, 1, LAST))

    assert [event.revision for event in watch(serve(Repeating()), "job", backoff=QUICK)] == [1, 2, LAST]


def test_a_gateway_that_restarts_is_waited_for(serve: Serve) -> None:
    client = serve(Breaking(unavailable))
    events = watch(client, "job", backoff=QUICK)
    assert next(events).revision == 1

    client.gateway.stop()
    client.gateway.start()

    assert [event.revision for event in events] == [2, 3, 4, 5, 6]


def test_a_refusal_is_raised(serve: Serve) -> None:
    class NoSuchJob(training_service_pb2_grpc.TrainingServiceServicer):
        def WatchTrainingJob(self, _request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            refuse(context, "NOT_FOUND", "there is no training job 7", "NOT_FOUND")
            yield

    with pytest.raises(grpc.RpcError) as caught:
        list(watch(serve(NoSuchJob()), "7", backoff=QUICK))
    assert explain(caught.value).reason == "NOT_FOUND"


def test_a_bug_of_the_gateways_is_raised(serve: Serve) -> None:
    gateway = Breaking(lambda context: refuse(context, "INTERNAL", "request 9", "INTERNAL"))

    with pytest.raises(grpc.RpcError):
        list(watch(serve(gateway), "job", backoff=QUICK))


def test_a_wrong_address_is_told_soon() -> None:
    with connect("127.0.0.1:1") as client, pytest.raises(grpc.RpcError) as caught:
        list(watch(client, "job", backoff=QUICK))
    assert explain(caught.value).code == "UNAVAILABLE"


def test_a_watcher_that_leaves_closes_its_stream(serve: Serve) -> None:
    gone = threading.Event()

    class Endless(training_service_pb2_grpc.TrainingServiceServicer):
        def WatchTrainingJob(self, _request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            context.add_callback(gone.set)
            yield response(1)
            gone.wait(10)

    events = watch(serve(Endless()), "job", backoff=QUICK)
    next(events)
    events.close()

    assert gone.wait(5)


def file_response(revision: int, name: str, status: int) -> audio.WatchAudioFilesResponse:
    return audio.WatchAudioFilesResponse(
        audio_file=audio.AudioFile(id=name, revision=revision, processing_status=status)
    )


def test_files_are_waited_for_through_breaks(serve: Serve) -> None:
    asked: list[int] = []
    history = [
        file_response(1, "a", audio.AUDIO_PROCESSING_STATUS_PENDING),
        file_response(2, "b", audio.AUDIO_PROCESSING_STATUS_PENDING),
        file_response(3, "a", audio.AUDIO_PROCESSING_STATUS_READY),
        file_response(4, "b", audio.AUDIO_PROCESSING_STATUS_FAILED),
    ]

    class Files(audio_service_pb2_grpc.AudioServiceServicer):
        def WatchAudioFiles(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            asked.append(request.after_revision)
            yield from history[request.after_revision : request.after_revision + 2]
            if request.after_revision + 2 < len(history):
                unavailable(context)

    files = wait_until_ready(serve(Files()), "dataset", backoff=QUICK)

    assert asked == [0, 2]
    assert [(file.id, file.processing_status) for file in files] == [
        ("a", audio.AUDIO_PROCESSING_STATUS_READY),
        ("b", audio.AUDIO_PROCESSING_STATUS_FAILED),
    ]


def test_a_dataset_without_files_is_ready_at_once(serve: Serve) -> None:
    class NoFiles(audio_service_pb2_grpc.AudioServiceServicer):
        def WatchAudioFiles(self, _request: Any, _context: grpc.ServicerContext) -> Iterator[Any]:
            return iter(())

    assert wait_until_ready(serve(NoFiles()), "dataset", backoff=QUICK) == []
