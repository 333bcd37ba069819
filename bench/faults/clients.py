"""Clients that create, cancel and watch jobs."""

import asyncio
import time
from contextlib import suppress
from uuid import UUID

import grpc
from earmark.client import connect, watch
from earmark.client.backoff import Backoff
from earmark.v1 import training_service_pb2 as pb
from grpc import aio

from bench.faults.api import CUT, PAUSE, Api
from bench.faults.dataset import Trainable
from bench.faults.history import Failure, History, Stream, Watcher

UNFINISHED_JOBS = 4
# Of the tiny network: some seconds of training, so that what happens meets jobs in the middle of it.
EPOCHS = (20, 60)
FINAL = frozenset(
    {pb.TRAINING_JOB_STATUS_COMPLETED, pb.TRAINING_JOB_STATUS_FAILED, pb.TRAINING_JOB_STATUS_CANCELLED}
)
# What every job of the drill carries, so that it is known again in the tables.
REQUEST = "request"
PATIENCE = Backoff(longest=1.0, patience=120.0, first_contact=120.0)


async def jobs(api: Api, data: Trainable, stop: asyncio.Event) -> None:
    """Creates a job whenever few are unfinished, until `stop`; returns when all of them have ended."""
    room = asyncio.Semaphore(UNFINISHED_JOBS)
    async with asyncio.TaskGroup() as running:
        while not stop.is_set():
            await room.acquire()
            if stop.is_set():
                return
            request = new_job(api, data)
            # Now and then both gateways hear the same request at once.
            calls = [api.answer("CreateTrainingJob", request) for _ in range(api.rng.choice((1, 1, 1, 2)))]
            replies = await asyncio.gather(*calls)
            await api.pause(0, 1)
            if replies[0] is None:
                room.release()
                continue
            job_id = replies[0].training_job.id
            running.create_task(_follow(api, job_id, room))
            if api.rng.random() < 0.25:  # noqa: PLR2004 - every fourth
                running.create_task(_cancel(api, job_id))


def new_job(api: Api, data: Trainable) -> pb.CreateTrainingJobRequest:
    """A request with an id of its own."""
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


async def _follow(api: Api, job_id: str, room: asyncio.Semaphore) -> None:
    """All watchers of one job: from the creation on, later from the start, a slow one, the client's own."""
    async with asyncio.TaskGroup() as watchers:
        first = watchers.create_task(_watch(api, job_id, "first"))
        first.add_done_callback(lambda _: room.release())
        watchers.create_task(_watch(api, job_id, "later", delay=api.rng.uniform(2, 10)))
        watchers.create_task(_watch(api, job_id, "slow", each=api.rng.uniform(0.05, 0.3)))
        if api.rng.random() < 0.3:  # noqa: PLR2004 - a thread each
            watchers.create_task(asyncio.to_thread(_watch_in_thread, api, job_id))


async def _watch(api: Api, job_id: str, name: str, *, delay: float = 0.0, each: float = 0.0) -> None:
    """One watcher, resumed at any gateway until the job's last event. `each`: seconds it takes over one."""
    await asyncio.sleep(delay)
    watcher = Watcher(f"{name} watcher", job_id)
    api.history.watchers.append(watcher)
    while not is_over(watcher):
        await _read(api, watcher, each)
        if watcher.streams[-1].failure and watcher.streams[-1].failure.code not in CUT:
            return
        await api.pause(*PAUSE)


async def _read(api: Api, watcher: Watcher, each: float) -> None:
    """One stream, to its end."""
    gateway = api.any_gateway()
    stream = Stream(gateway, watcher.revision, time.time())
    watcher.streams.append(stream)
    request = pb.WatchTrainingJobRequest(training_job_id=watcher.job_id, after_revision=stream.after)
    call = api.stream(gateway, "WatchTrainingJob", request)
    try:
        async for response in call:
            if response.HasField("event"):
                stream.events.append(response.event)
                _tell_progress(api.history, response.event)
                await asyncio.sleep(each)
    except aio.AioRpcError as error:
        stream.failure = Failure.of(error)
    finally:
        call.cancel()
        stream.ended = time.time()


def _tell_progress(history: History, event: pb.TrainingEvent) -> None:
    if event.HasField("epoch_completed") or event.status_changed.to in FINAL:
        history.progressed.set()


def _watch_in_thread(api: Api, job_id: str) -> None:
    """As most callers do it, with the helper that resumes by itself."""
    gateway = api.any_gateway()
    watcher = Watcher("client.watch", job_id)
    stream = Stream(gateway, 0, time.time())
    watcher.streams.append(stream)
    api.history.watchers.append(watcher)
    with connect(api.addresses[gateway]) as client, suppress(grpc.RpcError):
        stream.events.extend(watch(client, job_id, backoff=PATIENCE))
    stream.ended = time.time()


def is_over(watcher: Watcher) -> bool:
    """Whether it saw the job's end."""
    events = watcher.streams[-1].events if watcher.streams else []
    return bool(events) and events[-1].status_changed.to in FINAL
