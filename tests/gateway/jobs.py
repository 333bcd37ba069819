"""Creates and watches jobs through a running gateway."""

from contextlib import asynccontextmanager

from earmark.storage.database import Database
from earmark.v1 import model_service_pb2
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.model_service_pb2_grpc import ModelServiceStub
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway import rows
from tests.gateway.calls import opened

S = pb.TrainingJobStatus


@asynccontextmanager
async def gateway(database_url, tmp_path, trainers="", **settings):
    """Runs a gateway inside the block and yields a channel to it."""
    async with opened(database_url, tmp_path, trainers=trainers, **settings) as running:
        yield running.channel


async def build_one(database_url) -> rows.Built:
    async with Database(database_url) as database, database.transaction() as connection:
        return await rows.dataset(connection)


async def create(channel, built: rows.Built, **config) -> pb.TrainingJob:
    request = pb.CreateTrainingJobRequest(
        dataset_id=str(built.dataset_id),
        annotation_set_id=str(built.annotation_set_id),
        config={"artifact_types": ["glitch"], "epochs": 2, "seed": 7} | config,
    )
    return (await TrainingServiceStub(channel).CreateTrainingJob(request)).training_job


async def watched(channel, job_id: str, after: int = 0) -> list[pb.TrainingEvent]:
    request = pb.WatchTrainingJobRequest(training_job_id=job_id, after_revision=after)
    stream = TrainingServiceStub(channel).WatchTrainingJob(request)
    return [r.event async for r in stream if r.HasField("event")]


async def until(channel, job_id: str, short: str) -> None:
    """Waits for an event of the job that `summaries` gives the name `short`."""
    call = TrainingServiceStub(channel).WatchTrainingJob(pb.WatchTrainingJobRequest(training_job_id=job_id))
    async for response in call:
        if summaries([response.event]) == [short]:
            call.cancel()
            return


async def until_epoch(channel, job_id: str, number: int) -> None:
    """Waits until the job has completed this epoch."""
    call = TrainingServiceStub(channel).WatchTrainingJob(pb.WatchTrainingJobRequest(training_job_id=job_id))
    async for response in call:
        if response.event.epoch_completed.epoch == number:
            call.cancel()
            return


async def model_of(channel, job: pb.TrainingJob) -> model_service_pb2.Model:
    request = model_service_pb2.GetModelRequest(model_id=job.model_id)
    return (await ModelServiceStub(channel).GetModel(request)).model


async def job_now(channel, job_id: str) -> pb.TrainingJob:
    reply = await TrainingServiceStub(channel).GetTrainingJob(
        pb.GetTrainingJobRequest(training_job_id=job_id)
    )
    return reply.training_job


def summaries(events: list[pb.TrainingEvent]) -> list[str]:
    """A word for each event: the new status of a status change, otherwise the kind of the event."""
    return [
        S.Name(e.status_changed.to).removeprefix("TRAINING_JOB_STATUS_").lower()
        if e.HasField("status_changed")
        else e.WhichOneof("kind")
        for e in events
    ]
