"""One attempt at one detection job."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeAlias
from uuid import UUID

from grpc import aio

from earmark.gateway import object_keys
from earmark.gateway.app import App
from earmark.gateway.convert import event_bodies
from earmark.gateway.convert.attempts import detect_file_request, detect_files_request
from earmark.gateway.dispatcher.attempt import Attempt, Ending, StaleAttemptError
from earmark.gateway.dispatcher.outcome import DetectionOutcome
from earmark.gateway.dispatcher.retries import retry_until_available
from earmark.gateway.fleet.trainers import Trainer, TrainerLostError, send
from earmark.gateway.watching import topics
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.storage.queries import detection_jobs, models
from earmark.storage.queries.detection_jobs import FileFailure, FileResult, ManifestFile, Report
from earmark.storage.records import DetectionJob, Model
from earmark.v1.error_reason_pb2 import ErrorReason

# Results are stored together, since each transaction costs about as much as many results.
STORE_SECONDS = 0.5
STORE_BYTES = 4 << 20

Call: TypeAlias = "aio.StreamStreamCall[pb.DetectFilesRequest, pb.DetectFilesResponse]"


class DetectionAttempt(Attempt[DetectionJob]):
    """Has a trainer search the job's files that have no result yet."""

    crashed_reason = "DETECTION_CRASHED"
    _outcome: DetectionOutcome

    def __init__(self, app: App, trainer: Trainer, job: DetectionJob) -> None:
        super().__init__(app, trainer, job, detection_jobs.JOBS, DetectionOutcome(app, job))
        self._results = ResultRecorder(app, job)
        self._sending: asyncio.Task[None] | None = None
        # Why files are left for a later attempt; empty if none is.
        self._waits_for = ""

    async def run(self) -> None:
        """Returns when the attempt's end is recorded, or when the attempt is no longer the current one."""
        try:
            await super().run()
        finally:
            if self._sending is not None:
                self._sending.cancel()
                await asyncio.gather(self._sending, return_exceptions=True)

    def _open(self) -> Call:
        tenant = self._job.tenant_id
        read = tuple(
            below(tenant)
            for below in (object_keys.all_audio, object_keys.all_recordings, object_keys.all_jobs)
        )
        return self._trainer.stub.DetectFiles(
            metadata=self._trainer.signer.metadata("DetectFiles", reads=read)
        )

    async def _begin(self, call: Call) -> None:
        await send(call, detect_files_request(self._job, await self._model()))

    async def _record(self, call: Call, response: pb.DetectFilesResponse) -> Ending | None:
        if response.HasField("accepted"):
            # The trainer reads files only as it has room for them, so they are sent beside its answers.
            self._sending = asyncio.create_task(self._send_files(call))
        if response.HasField("waiting"):
            self._waits_for = response.waiting.message
        if await self._results.add(response):
            self._trainer.record_success()
        return None

    async def _run_call(self, call: Call) -> Ending:
        ending = await super()._run_call(call)
        # Also after a loss: what was found is kept, and it is known which files were being worked on.
        await self._results.store()
        return ending

    async def _stream_ended(self) -> Ending:
        self._trainer.record_success()
        return partial(self._outcome.completed, waits_for=self._waits_for)

    def _mark_busy(self) -> None:
        self._trainer.capacity.free_detection_slots = 0

    async def _model(self) -> Model:
        async def read() -> Model | None:
            async with self._app.system.connection() as connection:
                return await models.get(connection, self._job.tenant_id, self._job.model_id)

        model = await retry_until_available(read)
        assert model is not None  # an unfinished job prevents its deletion
        return model

    async def _send_files(self, call: Call) -> None:
        async def read() -> list[ManifestFile]:
            async with self._app.system.connection() as connection:
                return await detection_jobs.manifest(connection, self._job.id)

        files = await retry_until_available(read)
        # If the call has ended, its answers say why.
        with suppress(TrainerLostError):
            for file in files:
                await send(
                    call, detect_file_request(self._job.tenant_id, file, self._trainer.capacity.frontend)
                )
            await call.done_writing()


class ResultRecorder:
    """Collects what one attempt reports, and stores it in a transaction from time to time.

    What is lost with this gateway in between is searched again by the next attempt.
    """

    def __init__(self, app: App, job: DetectionJob) -> None:
        self._app = app
        # As of the last report.
        self._job = job
        self._done_before = job.completed_files + job.failed_files
        self._started: list[UUID] = []
        self._results: list[FileResult] = []
        self._failures: list[FileFailure] = []
        self._scores: dict[UUID, bytearray] = {}
        self._stored_at = self._began_at = time.monotonic()

    async def add(self, response: pb.DetectFilesResponse) -> bool:
        """Adds one message of the trainer. Returns whether results were stored. Raises StaleAttemptError."""
        match response.WhichOneof("content"):
            case "started":
                self._started.append(UUID(response.started.file_id))
            case "scores":
                self._scores.setdefault(UUID(response.scores.file_id), bytearray()).extend(
                    response.scores.data
                )
            case "completed":
                self._complete(response.completed)
            case "failed":
                self._fail(response.failed)
        size = sum(len(result.scores) for result in self._results)
        if time.monotonic() - self._stored_at < STORE_SECONDS and size < STORE_BYTES:
            return False
        return await self.store()

    def _complete(self, completed: pb.DetectFilesResponse.Completed) -> None:
        file_id = UUID(completed.file_id)
        scores = bytes(self._scores.pop(file_id, b""))
        self._app.detection_counts.add(self._job.model_id)
        self._results.append(FileResult(file_id, completed.duration_ms, completed.detection_count, scores))

    def _fail(self, failed: pb.DetectFilesResponse.Failed) -> None:
        file_id = UUID(failed.file_id)
        self._scores.pop(file_id, None)
        # A newer trainer may have reasons that this gateway does not know.
        is_known = f"ERROR_REASON_{failed.reason}" in ErrorReason.keys()  # noqa: SIM118 (no mapping)
        reason = failed.reason if is_known else "DETECTION_CRASHED"
        self._failures.append(FileFailure(file_id, reason, failed.message))

    async def store(self) -> bool:
        """Stores what was added since the last time. Returns whether there were results."""
        report = Report(self._started, self._results, self._failures)
        self._started, self._results, self._failures = [], [], []
        self._stored_at = time.monotonic()
        if not (report.started or report.has_results):
            return False

        async def write() -> DetectionJob | None:
            return await self._write(report)

        job = await retry_until_available(write)
        if job is None:
            raise StaleAttemptError
        self._job = job
        if report.has_results:
            self._app.bus.publish(topics.events(job.tenant_id))
        return report.has_results

    async def _write(self, report: Report) -> DetectionJob | None:
        """One transaction; None if the attempt is no longer the current one."""
        async with self._app.system.transaction() as connection:
            locked = await detection_jobs.JOBS.lock_attempt(connection, self._job.id, self._job.attempt)
            if locked is None or locked.revision > self._job.revision:
                # An earlier try committed, but its reply was lost.
                return locked
            added = await detection_jobs.store(connection, locked.id, report)
            if not (added.completed_files or added.failed_files):
                return locked
            event = event_bodies.files_done(locked, added)
            lease = self._app.settings.lease_seconds
            return await detection_jobs.advance(
                connection, locked, lease, added, event, self._eta(locked, added)
            )

    def _eta(self, job: DetectionJob, added: detection_jobs.Progress) -> datetime:
        """When the job will be done if the files that are left take as long as those of this attempt."""
        done = job.completed_files + job.failed_files + added.completed_files + added.failed_files
        of_attempt = done - self._done_before
        left = max(0, job.total_files - done)
        seconds = (time.monotonic() - self._began_at) / max(1, of_attempt) * left
        return datetime.now(UTC) + timedelta(seconds=seconds)
