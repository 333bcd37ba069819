"""Clients that create, cancel and watch jobs."""

import asyncio
import time
from contextlib import suppress
from uuid import UUID

import grpc
from grpc import aio

from bench.faults.api import DISCONNECTED, PAUSE, Api
from bench.faults.dataset import TrainingData
from bench.faults.observations import Failure, Observations, Stream, Watcher
from earmark.client import connect, watch
from earmark.client.backoff import Backoff
from earmark.v1 import training_service_pb2 as pb

UNFINISHED_JOBS = 4
# Some seconds of training with the tiny network, so that faults occur in the middle of a job.
EPOCHS = (20, 60)
FINAL = frozenset(
    {pb.TRAINING_JOB_STATUS_COMPLETED, pb.TRAINING_JOB_STATUS_FAILED, pb.TRAINING_JOB_STATUS_CANCELLED}
)
# The metadata key for the request_id of a job, by which the tables are matched with the calls.
REQUEST = "request"
BACKOFF = Backoff(longest=1.0, patience=120.0, first_contact=120.0)


async def jobs(api: Api, data: TrainingData, stop: asyncio.Event) -> None:
    """Until `stop`, keeps at most UNFINISHED_JOBS jobs unfinished. Returns when all of them have ended."""
    slots = asyncio.Semaphore(UNFINISHED_JOBS)
    async with asyncio.TaskGroup() as running:
        while not stop.is_set():
            await slots.acquire()
            if stop.is_set():
                return
            request = new_job(api, data)
            # Sometimes the same request is sent twice at the same time.
            calls = [api.answer("CreateTrainingJob", request) for _ in range(api.rng.choice((1, 1, 1, 2)))]
            replies = await asyncio.gather(*calls)
            await api.pause(0, 1)
            if replies[0] is None:
                slots.release()
                continue
            job_id = replies[0].training_job.id
            running.create_task(_follow(api, job_id, slots))
            if api.rng.random() < 0.25:  # noqa: PLR2004 - every fourth
                running.create_task(_cancel(api, job_id))


def new_job(api: Api, data: TrainingData) -> pb.CreateTrainingJobRequest:
    """A request with a new request_id."""
    request_id = str(UUID(int=api.rng.getrandbits(128), version=4))
    return pb.CreateTrainingJobRequest(
        dataset_id=data.dataset_id,
        annotation_set_id=data.set_id,
        config={
            "artifact_types": data.types,
            "epochs": api.rng.randint(*EPOCHS),
            "seed": api.rng.getrandbits(32),
        },
        metadata={REQUEST: request_id},
        request_id=request_id,
    )


async def _cancel(api: Api, job_id: str) -> None:
    await api.pause(0, 12)
    await api.answer(
        "CancelTrainingJob",
        pb.CancelTrainingJobRequest(
            training_job_id=job_id, request_id=str(UUID(int=api.rng.getrandbits(128), version=4))
        ),
        expected=("WRONG_STATE",),
    )


async def _follow(api: Api, job_id: str, slots: asyncio.Semaphore) -> None:
    """Runs all watchers of one job.

    One watches from its creation on, one starts later, one is slow, and sometimes one uses client.watch.
    """
    async with asyncio.TaskGroup() as watchers:
        first = watchers.create_task(_watch(api, job_id, "first"))
        first.add_done_callback(lambda _: slots.release())
        watchers.create_task(_watch(api, job_id, "later", delay=api.rng.uniform(2, 10)))
        watchers.create_task(_watch(api, job_id, "slow", event_seconds=api.rng.uniform(0.05, 0.3)))
        if api.rng.random() < 0.3:  # noqa: PLR2004 - only some: each needs a thread
            watchers.create_task(asyncio.to_thread(_watch_in_thread, api, job_id))


async def _watch(api: Api, job_id: str, name: str, *, delay: float = 0.0, event_seconds: float = 0.0) -> None:
    """Runs one watcher, resumed at any gateway, until the job's last event.

    `delay`: seconds before it starts; `event_seconds`: the time it spends on each event.
    """
    await asyncio.sleep(delay)
    watcher = Watcher(f"{name} watcher", job_id)
    api.observed.watchers.append(watcher)
    while not is_over(watcher):
        await _read(api, watcher, event_seconds)
        if watcher.streams[-1].failure and watcher.streams[-1].failure.code not in DISCONNECTED:
            return
        await api.pause(*PAUSE)


async def _read(api: Api, watcher: Watcher, event_seconds: float) -> None:
    """Reads one stream to its end."""
    gateway = api.any_gateway()
    stream = Stream(gateway, watcher.revision, time.time())
    watcher.streams.append(stream)
    request = pb.WatchTrainingJobRequest(training_job_id=watcher.job_id, after_revision=stream.after)
    call = api.stream(gateway, "WatchTrainingJob", request)
    try:
        async for response in call:
            if response.HasField("event"):
                stream.events.append(response.event)
                _signal_progress(api.observed, response.event)
                await asyncio.sleep(event_seconds)
    except aio.AioRpcError as error:
        stream.failure = Failure.from_error(error)
    finally:
        call.cancel()
        stream.ended = time.time()


def _signal_progress(observed: Observations, event: pb.TrainingEvent) -> None:
    if event.HasField("epoch_completed") or event.status_changed.to in FINAL:
        observed.progressed.set()


def _watch_in_thread(api: Api, job_id: str) -> None:
    """Watches as most callers do, with the client's helper, which resumes by itself."""
    gateway = api.any_gateway()
    watcher = Watcher("client.watch", job_id)
    stream = Stream(gateway, 0, time.time())
    watcher.streams.append(stream)
    api.observed.watchers.append(watcher)
    with connect(api.addresses[gateway], api_key=api.key) as client, suppress(grpc.RpcError):
        stream.events.extend(watch(client, job_id, backoff=BACKOFF))
    stream.ended = time.time()


def is_over(watcher: Watcher) -> bool:
    """Whether the watcher has received the job's last event."""
    events = watcher.streams[-1].events if watcher.streams else []
    return bool(events) and events[-1].status_changed.to in FINAL
