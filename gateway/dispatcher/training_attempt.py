"""One attempt at one training job."""

import asyncio
from typing import TypeAlias
from uuid import UUID

from grpc import aio

from earmark.gateway import object_keys
from earmark.gateway.app import App
from earmark.gateway.convert.attempts import train_file_requests, train_job_request
from earmark.gateway.dispatcher.attempt import Attempt, Ending
from earmark.gateway.dispatcher.outcome import TrainingOutcome
from earmark.gateway.dispatcher.recorder import Recorder
from earmark.gateway.dispatcher.retries import retry_until_available
from earmark.gateway.fleet.trainers import Trainer, send
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.storage.objects import ObjectStoreError
from earmark.storage.queries import models, training
from earmark.storage.records import Model, TrainingJob
from earmark.tracing import UNTRACED, Attributes

# Time a trainer has to store a checkpoint when it hands a job back.
HAND_BACK_SECONDS = 10.0
# The outcomes of attempts that went wrong.
FAULTS = ("failed", "lost")

Call: TypeAlias = "aio.StreamStreamCall[pb.TrainRequest, pb.TrainResponse]"


class TrainingAttempt(Attempt[TrainingJob]):
    """Has a trainer train one model."""

    crashed_reason = "TRAINING_CRASHED"
    _outcome: TrainingOutcome

    def __init__(self, app: App, trainer: Trainer, job: TrainingJob) -> None:
        super().__init__(app, trainer, job, training.JOBS, TrainingOutcome(app, job))
        self._recorder = Recorder(app, trainer, job)
        self._span = UNTRACED

    async def run(self) -> None:
        job = self._job
        attributes: Attributes = {
            "earmark.training_job_id": str(job.id),
            "earmark.attempt": job.attempt,
            "server.address": self._trainer.address,
        }
        self._span = self._app.tracer.begin("training attempt", "client", job.traceparent or "", attributes)
        try:
            await super().run()
        finally:
            outcome = self._ended_as
            self._span.end(outcome if outcome in FAULTS else "", {"earmark.outcome": outcome})

    def _open(self) -> Call:
        job = self._job
        grant = self._trainer.signer.metadata(
            "Train",
            reads=(object_keys.all_audio(job.tenant_id), object_keys.all_jobs(job.tenant_id)),
            writes=(object_keys.attempt(job.tenant_id, job.id, job.attempt),),
        )
        return self._trainer.stub.Train(metadata=(*grant, *self._span.metadata))

    async def _begin(self, call: Call) -> None:
        await send(call, train_job_request(self._job, await self._base_model()))

    async def _record(self, call: Call, response: pb.TrainResponse) -> Ending | None:
        if response.HasField("accepted"):
            await self._send_files(call)
        if response.HasField("completed"):
            result = response.completed
            self._trainer.record_success()
            return lambda connection: self._outcome.completed(connection, result)
        await self._recorder.record(response)
        return None

    async def _stream_ended(self) -> Ending:
        return self._lost("its trainer ended the stream without a model")

    def _mark_busy(self) -> None:
        self._trainer.capacity.free_training_slots = 0

    async def hand_back(self) -> None:
        """Asks the trainer to store a checkpoint and release the job, so that `run` returns soon."""
        self._handing_back = True
        request = pb.HandBackRequest(training_job_id=str(self._job.id), attempt=self._job.attempt)
        grant = self._trainer.signer.metadata("HandBack", request.SerializeToString())
        try:
            await self._trainer.stub.HandBack(request, timeout=HAND_BACK_SECONDS, metadata=grant)
        except aio.AioRpcError as error:
            self._log.warning("the trainer does not hand the job back", error=error.details())
            self._call.cancel()

    async def _after_end(self) -> None:
        """Removes the checkpoints of all the job's attempts if the job is finished."""

        async def is_finished() -> bool:
            async with self._app.system.connection() as connection:
                job = await training.get(connection, self._job.tenant_id, self._job.id)
            return job is not None and job.finished_at is not None

        if await retry_until_available(is_finished):
            try:
                prefix = object_keys.job(self._job.tenant_id, self._job.id)
                keys = await asyncio.to_thread(list, self._app.objects.keys(prefix))
                await self._app.objects.delete_async(*filter(object_keys.is_checkpoint, keys))
            except ObjectStoreError as error:
                self._log.warning("checkpoints are left for a later clean-up", error=str(error))

    async def _base_model(self) -> Model | None:
        """The model that training starts from, also if it was archived: its files are kept."""
        job = self._job
        model_id = job.config.get("base_model_id")

        async def read() -> Model | None:
            async with self._app.system.connection() as connection:
                return await models.get(connection, job.tenant_id, UUID(model_id))

        return await retry_until_available(read) if model_id else None

    async def _send_files(self, call: Call) -> None:
        """Sends the manifest, once the job is accepted: a refusal during a write is lost (grpc #36066)."""

        async def read() -> list[training.ManifestFile]:
            async with self._app.system.connection() as connection:
                return await training.manifest(connection, self._job)

        for file in await retry_until_available(read):
            for request in train_file_requests(self._job.tenant_id, file):
                await send(call, request)
        await call.done_writing()
