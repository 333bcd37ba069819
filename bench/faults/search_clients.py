"""Clients that search the files of a dataset by detection jobs."""

import asyncio
import time
from uuid import UUID

from grpc import aio

from bench.faults.api import DISCONNECTED, PAUSE, Api
from bench.faults.clients import REQUEST
from bench.faults.dataset import TrainingData
from bench.faults.observations import Failure, Search, SearchStream
from earmark.v1 import detection_service_pb2 as pb
from earmark.v1 import model_service_pb2 as models

UNFINISHED_JOBS = 2
FINAL = frozenset(
    {pb.DETECTION_JOB_STATUS_COMPLETED, pb.DETECTION_JOB_STATUS_FAILED, pb.DETECTION_JOB_STATUS_CANCELLED}
)
THRESHOLD = 0.2  # so low that also a tiny network finds something


async def searches(api: Api, data: TrainingData, model_id: str, stop: asyncio.Event) -> None:
    """Until `stop`, keeps at most UNFINISHED_JOBS jobs unfinished. Returns when all of them have ended."""
    slots = asyncio.Semaphore(UNFINISHED_JOBS)
    async with asyncio.TaskGroup() as running:
        while not stop.is_set():
            await slots.acquire()
            if stop.is_set():
                return
            request_id = str(UUID(int=api.rng.getrandbits(128), version=4))
            request = pb.CreateDetectionJobRequest(
                model_id=model_id,
                dataset_id=data.dataset_id,
                config={"threshold": THRESHOLD},
                metadata={REQUEST: request_id},
                request_id=request_id,
            )
            # Sometimes the same request is sent twice at the same time.
            calls = [api.answer("CreateDetectionJob", request) for _ in range(api.rng.choice((1, 1, 2)))]
            replies = await asyncio.gather(*calls)
            if replies[0] is None:
                slots.release()
                continue
            search = Search(replies[0].detection_job.id, request_id)
            api.observed.searches.append(search)
            running.create_task(_follow(api, search, slots))
            if api.rng.random() < 0.2:  # noqa: PLR2004 - every fifth
                running.create_task(_cancel(api, search))
            await api.pause(0, 2)


async def active_model(api: Api) -> str:
    """Waits until a training job has made a model, activates it, and returns its id."""
    request = models.ListModelsRequest(page_size=1)
    while not (reply := await api.answer("ListModels", request)).models:
        await api.pause(0.5, 1)
    model_id: str = reply.models[0].id
    update = models.UpdateModelRequest(
        model={"id": model_id, "is_active": True}, update_mask={"paths": ["is_active"]}
    )
    await api.answer("UpdateModel", update)
    return model_id


async def _cancel(api: Api, search: Search) -> None:
    await api.pause(0, 3)
    search.is_cancelled = True
    request = pb.CancelDetectionJobRequest(detection_job_id=search.job_id)
    await api.answer("CancelDetectionJob", request, expected=("WRONG_STATE",))


async def _follow(api: Api, search: Search, slots: asyncio.Semaphore) -> None:
    """Watches the job to its end, at any gateway, and then reads what it found."""
    while not _is_over(search):
        await _read(api, search)
        failure = search.streams[-1].failure
        if failure is not None and failure.code not in DISCONNECTED:
            break
        await api.pause(*PAUSE)
    slots.release()
    api.observed.progressed.set()
    request = pb.ListDetectionsRequest(detection_job_id=search.job_id, page_size=1000)
    while True:
        page = await api.answer("ListDetections", request)
        if page is None:
            return
        search.found += page.detections
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def _read(api: Api, search: Search) -> None:
    """Reads one stream to its end."""
    gateway = api.any_gateway()
    stream = SearchStream(gateway, time.time())
    search.streams.append(stream)
    request = pb.WatchDetectionJobRequest(detection_job_id=search.job_id, after_revision=search.revision)
    call = api.stream(gateway, "WatchDetectionJob", request)
    try:
        async for response in call:
            if response.HasField("event"):
                stream.events.append(response.event)
    except aio.AioRpcError as error:
        stream.failure = Failure.from_error(error)
    finally:
        call.cancel()
        stream.ended = time.time()


def _is_over(search: Search) -> bool:
    events = search.events
    return bool(events) and events[-1].status_changed.to in FINAL
