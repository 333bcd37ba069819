"""Measures how long the system takes to recover from a kill, at the default settings.

    python -m bench.recovery [--rounds N]

Starts its own system. Prints one line of JSON per figure, which bench/README.md describes.
"""

import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated
from uuid import UUID

import structlog
import typer
from grpc import aio

from bench.faults.api import Api
from bench.faults.dataset import TrainingData, create_training_data
from bench.faults.observations import Observations
from bench.faults.system import Service, System
from earmark.grants import Signer
from earmark.internal.v1 import trainer_service_pb2 as trainer_pb
from earmark.internal.v1.trainer_service_pb2_grpc import TrainerServiceStub
from earmark.storage.database import Database
from earmark.v1 import training_service_pb2 as pb

EPOCHS = 100  # more than a job completes in any round
POLL_SECONDS = 0.02


class Job:
    """A job that trains until it is cancelled, watched through any gateway that answers."""

    def __init__(self, api: Api, job_id: str) -> None:
        self.id = job_id
        self._api = api
        self._revision = 0

    @classmethod
    async def create(cls, api: Api, data: TrainingData) -> "Job":
        """Creates a job. Returns when it makes progress."""
        config = {"artifact_types": data.types, "epochs": EPOCHS, "seed": 1}
        request = pb.CreateTrainingJobRequest(
            dataset_id=data.dataset_id, annotation_set_id=data.set_id, config=config
        )
        job = cls(api, (await api.answer("CreateTrainingJob", request)).training_job.id)
        await job.until(_is_progress)
        return job

    async def cancel(self) -> None:
        """Cancels the job. Returns when its trainer is free again."""
        request = pb.CancelTrainingJobRequest(training_job_id=self.id)
        await self._api.answer("CancelTrainingJob", request)
        await self.until(lambda event: event.status_changed.to == pb.TRAINING_JOB_STATUS_CANCELLED)

    async def until(self, wanted: Callable[[pb.TrainingEvent], bool]) -> pb.TrainingEvent:
        """Waits for the next event for which `wanted` is true, and returns it."""
        while True:
            async for event in self._events():
                self._revision = event.revision
                if wanted(event):
                    return event
            await asyncio.sleep(POLL_SECONDS)

    async def _events(self) -> AsyncIterator[pb.TrainingEvent]:
        request = pb.WatchTrainingJobRequest(training_job_id=self.id, after_revision=self._revision)
        call = self._api.stream(self._api.any_gateway(), "WatchTrainingJob", request)
        try:
            async for response in call:
                if response.HasField("event"):
                    yield response.event
        except aio.AioRpcError:
            return
        finally:
            call.cancel()


def _is_training(event: pb.TrainingEvent) -> bool:
    return event.status_changed.to == pb.TRAINING_JOB_STATUS_TRAINING


def _is_progress(event: pb.TrainingEvent) -> bool:
    return event.HasField("progress")


class Recovery:
    """The rounds, on one system. `figures`: the seconds of all rounds by the name of the figure."""

    def __init__(self, system: System, api: Api, data: TrainingData) -> None:
        self._system, self._api, self._data = system, api, data
        self.figures: dict[str, list[float]] = defaultdict(list)

    async def trainer(self, name: str) -> None:
        """One round: kills the trainer of a job and starts it again. `name` describes the other trainers."""
        job = await Job.create(self._api, self._data)
        _, trainer = await self._services_of(job)
        await trainer.kill()
        killed = time.monotonic()
        starting = asyncio.create_task(trainer.start())
        await job.until(_is_training)
        self._record(f"trainer killed, {name}, to its job training", killed)
        await job.until(_is_progress)
        self._record(f"trainer killed, {name}, to its job's progress", killed)
        await starting
        await job.cancel()
        await self._wait_until_all_warm()

    async def gateway(self) -> None:
        """One round: kills the gateway that runs a job and starts it again. Another gateway keeps running."""
        job = await Job.create(self._api, self._data)
        gateway, _ = await self._services_of(job)
        await gateway.kill()
        killed = time.monotonic()
        training = asyncio.create_task(job.until(_is_training))
        training.add_done_callback(lambda _: self._record("gateway killed to its job training", killed))
        starting = asyncio.create_task(gateway.start())
        await self._first_success(job, self._system.gateways.index(gateway))
        self._record("gateway restarted to its first success", killed)
        await asyncio.gather(training, starting)
        await job.cancel()

    async def postgres(self) -> None:
        """One round: kills PostgreSQL, which its supervisor starts again."""
        job = await Job.create(self._api, self._data)
        killed = time.monotonic()
        await self._system.postgres.crash()
        await self._first_success(job, 0)
        self._record("PostgreSQL killed to the first success", killed)
        await job.cancel()

    async def _services_of(self, job: Job) -> tuple[Service, Service]:
        """The gateway and the trainer of the job: its attempt's row has the address of their link."""
        async with Database(self._system.postgres.dsn) as database, database.connection() as connection:
            address = await connection.fetchval(
                "SELECT trainer FROM training_attempts WHERE training_job_id = $1 AND number = 1",
                UUID(job.id),
            )
        link = next(link for link in self._system.links if link.address == address)
        gateway, trainer = link.name.split(" to ")
        by_name = {service.name: service for service in (*self._system.gateways, *self._system.trainers)}
        return by_name[gateway], by_name[trainer]

    async def _first_success(self, job: Job, gateway: int) -> None:
        request = pb.GetTrainingJobRequest(training_job_id=job.id)
        while (await self._api.call("GetTrainingJob", request, gateway=gateway)).failure is not None:
            await self._api.pause(0, 2 * POLL_SECONDS)

    async def _wait_until_all_warm(self) -> None:
        for trainer, address in zip(self._system.trainers, self._system.trainer_addresses, strict=True):
            if trainer.up.is_set():
                await _wait_until_warm(address, self._system.signer)

    def _record(self, figure: str, since: float) -> None:
        self.figures[figure].append(round(time.monotonic() - since, 2))


async def _wait_until_warm(address: str, signer: Signer) -> None:
    request = trainer_pb.WatchCapacityRequest()
    async with aio.insecure_channel(address) as channel:
        grant = signer.metadata("WatchCapacity", request.SerializeToString())
        call = TrainerServiceStub(channel).WatchCapacity(request, metadata=grant)
        async for response in call:
            if response.capacity.free_training_slots:
                call.cancel()
                return


async def measure(rounds: int, folder: Path) -> dict[str, list[float]]:
    """The seconds of every round, by the name of the figure."""
    async with (
        System(folder, print) as system,
        Api("recovery", system.addresses, Observations(), random.Random(0)) as api,
    ):
        data = await asyncio.to_thread(create_training_data, system.addresses[0], folder / "audio")
        recovery = Recovery(system, api, data)
        for _ in range(rounds):
            await recovery.trainer("another being warm")
        await system.trainers[1].stop()
        for _ in range(rounds):
            await recovery.trainer("being the only one")
        for _ in range(rounds):
            await recovery.gateway()
        for _ in range(rounds):
            await recovery.postgres()
        return recovery.figures


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each kind of kill.")] = 5,
) -> None:
    """Measure recovery."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with tempfile.TemporaryDirectory(prefix="earmark-recovery-") as folder:
        figures = asyncio.run(measure(rounds, Path(folder)))
    for figure, seconds in figures.items():
        summary = {"median": round(statistics.median(seconds), 2), "max": max(seconds), "rounds": seconds}
        print(json.dumps({"seconds": figure, **summary}), flush=True)


if __name__ == "__main__":
    typer.run(main)
