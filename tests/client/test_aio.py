"""The asyncio client: what is cancelled leaves nothing behind, neither here nor on the gateway."""

import asyncio
import inspect
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from earmark import client
from earmark.client import aio
from earmark.client.aio import (
    Backoff,
    Client,
    connect,
    detect,
    download,
    explain,
    upload,
    watch,
    watch_jobs,
)
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import (
    audio_service_pb2_grpc,
    dataset_service_pb2_grpc,
    detection_service_pb2,
    detection_service_pb2_grpc,
    training_service_pb2_grpc,
)
from earmark.v1 import dataset_service_pb2 as datasets
from earmark.v1 import training_service_pb2 as training
from tests.client.small_gateway import CONTENT, QUICK, Gateway, Store, refuse, unavailable


@asynccontextmanager
async def serving(*servicers: Any) -> AsyncIterator[Client]:
    """Give the block a client of a gateway. It must leave no other task and no open generator behind."""
    gateway = Gateway(*servicers)
    try:
        async with connect(gateway.address) as client:
            client.gateway = gateway
            with generators() as started:
                yield client
                await nothing_else_runs()
                assert [one for one in started if one.ag_frame is not None] == []
    finally:
        await asyncio.to_thread(gateway.stop)


@contextmanager
def generators() -> Iterator[list[Any]]:
    """Give the block a list of the async generators that start in it."""
    started: list[Any] = []
    firstiter, finalizer = sys.get_asyncgen_hooks()

    def start(generator: Any) -> None:
        started.append(generator)
        firstiter(generator)

    sys.set_asyncgen_hooks(start, finalizer)
    try:
        yield started
    finally:
        sys.set_asyncgen_hooks(firstiter, finalizer)


async def nothing_else_runs(*known: asyncio.Task[Any]) -> None:
    """Wait until no task runs but this and the known ones: gRPC's tasks end when their call has ended."""
    async with asyncio.timeout(10):
        while others := asyncio.all_tasks() - {asyncio.current_task(), *known}:
            await asyncio.wait(others)


def test_both_clients_have_the_same_names_and_arguments() -> None:
    assert set(aio.__all__) == {*client.__all__, "interceptors"}
    for name in client.__all__:
        one, other = getattr(client, name), getattr(aio, name)
        if inspect.isfunction(one):
            assert parameters(one) == parameters(other), name
    assert set(vars(client.Client)) - set(vars(aio.Client)) == {"__enter__", "__exit__"}


def parameters(function: Callable[..., Any]) -> list[tuple[Any, ...]]:
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]


class Endless(
    audio_service_pb2_grpc.AudioServiceServicer,
    dataset_service_pb2_grpc.DatasetServiceServicer,
    detection_service_pb2_grpc.DetectionServiceServicer,
    training_service_pb2_grpc.TrainingServiceServicer,
):
    """Never ends a call by itself. `reached` is set when a call is there, `ended` when it was cancelled."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.ended = threading.Event()

    def _begin(self, context: grpc.ServicerContext) -> None:
        assert context.add_callback(self.ended.set)

    def _wait(self) -> None:
        self.reached.set()
        self.ended.wait(30)

    def GetDataset(self, _request: Any, context: grpc.ServicerContext) -> Any:
        self._begin(context)
        self._wait()
        return datasets.GetDatasetResponse()

    def WatchTrainingJob(self, _request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self._begin(context)
        yield training.WatchTrainingJobResponse(event=training.TrainingEvent(revision=1))
        self._wait()

    def WatchTrainingJobs(self, _request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self._begin(context)
        yield training.WatchTrainingJobsResponse(event=training.TrainingEvent(revision=1), cursor="1")
        self._wait()

    def UploadAudio(self, _requests: Any, context: grpc.ServicerContext) -> Any:
        self._begin(context)
        self._wait()
        return audio.UploadAudioResponse()

    def GetAudioFile(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        return audio.GetAudioFileResponse()

    def DownloadAudio(self, _request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self._begin(context)
        yield audio.DownloadAudioResponse(data=CONTENT[:1000])
        self._wait()

    def Detect(self, _requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self._begin(context)
        yield detection_service_pb2.DetectResponse()
        self._wait()


async def read(events: AsyncIterator[Any]) -> None:
    async for _ in events:
        pass


@pytest.mark.parametrize(
    "waiting",
    [
        lambda client, _: client.datasets.GetDataset(datasets.GetDatasetRequest()),
        lambda client, _: read(watch(client, "job", backoff=QUICK)),
        lambda client, _: read(watch_jobs(client, backoff=QUICK)),
        lambda client, path: upload(client, "dataset", path, backoff=QUICK),
        lambda client, path: download(client, "file", path.with_name("back.wav")),
        lambda client, path: detect(client, "model", path),
    ],
    ids=["unary", "watch", "watch_jobs", "upload", "download", "detect"],
)
async def test_cancelling_a_task_cancels_its_call(
    waiting: Callable[[Client, Path], Any], recording: Path
) -> None:
    endless = Endless()

    async def run(client: Client) -> None:
        await waiting(client, recording)

    async with serving(endless) as client:
        task = asyncio.create_task(run(client))
        assert await asyncio.to_thread(endless.reached.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert await asyncio.to_thread(endless.ended.wait, 10)
        assert list(recording.parent.iterdir()) == [recording]


@pytest.mark.parametrize("start", [lambda client: watch(client, "job"), watch_jobs])
async def test_closing_a_watch_cancels_its_call(start: Callable[[Client], Any]) -> None:
    endless = Endless()
    async with serving(endless) as client:
        events = start(client)
        await anext(events)
        await events.aclose()

        assert await asyncio.to_thread(endless.ended.wait, 10)


async def test_a_watch_that_waits_for_its_next_try_can_be_cancelled() -> None:
    class Stopping(training_service_pb2_grpc.TrainingServiceServicer):
        def WatchTrainingJob(self, _request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            yield training.WatchTrainingJobResponse(event=training.TrainingEvent(revision=1))
            unavailable(context)

    async with serving(Stopping()) as client:
        events = watch(client, "job", backoff=Backoff(initial=3600, longest=3600, patience=3600))
        await anext(events)
        task = asyncio.create_task(anext(events))
        await nothing_else_runs(task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_gateway_that_restarts_is_waited_for() -> None:
    class TwoEvents(training_service_pb2_grpc.TrainingServiceServicer):
        def WatchTrainingJob(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            event = training.TrainingEvent(revision=request.after_revision + 1)
            if event.revision == 2:
                event.status_changed.to = training.TRAINING_JOB_STATUS_COMPLETED
            yield training.WatchTrainingJobResponse(event=event)
            unavailable(context)

    async with serving(TwoEvents()) as client:
        events = watch(client, "job", backoff=QUICK)
        assert (await anext(events)).revision == 1

        await asyncio.to_thread(client.gateway.stop)
        client.gateway.start()

        assert [event.revision async for event in events] == [2]


async def test_many_calls_at_once(recording: Path) -> None:
    store = Store()
    async with serving(store) as client, asyncio.TaskGroup() as uploads:
        for _ in range(8):
            uploads.create_task(upload(client, "dataset", recording))

    assert len(store.uploads) == 8
    for requests in store.uploads:
        assert b"".join(request.part.data for request in requests) == CONTENT


@pytest.mark.parametrize("use", [upload, detect])
async def test_a_refusal_during_an_upload_is_raised(use: Callable[..., Any], recording: Path) -> None:
    """Even if grpc.aio loses its status, as it sometimes does (grpc #36066), and here does once."""

    class Refusing(
        audio_service_pb2_grpc.AudioServiceServicer, detection_service_pb2_grpc.DetectionServiceServicer
    ):
        def __init__(self) -> None:
            self.lost = 0

        def _refuse(self, context: grpc.ServicerContext) -> None:
            if not self.lost:
                self.lost += 1
                context.abort(grpc.StatusCode.INTERNAL, "Internal error from Core")
            refuse(context, "NOT_FOUND", "there is no such thing", "NOT_FOUND")

        def UploadAudio(self, _requests: Any, context: grpc.ServicerContext) -> None:
            self._refuse(context)

        def Detect(self, _requests: Any, context: grpc.ServicerContext) -> None:
            self._refuse(context)

    refusing = Refusing()
    async with serving(refusing) as client:
        with pytest.raises(grpc.RpcError) as caught:
            await use(client, "id", recording)
    assert explain(caught.value).reason == "NOT_FOUND"
    assert refusing.lost == 1
