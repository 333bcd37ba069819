"""The loops that claim work, start it on trainers, take over lost jobs and remove what is too old."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import structlog

from earmark.gateway.app import App
from earmark.gateway.convert import event_bodies
from earmark.gateway.dispatcher.attempt import LAST_WRITE_SECONDS, Attempt
from earmark.gateway.dispatcher.audio import AudioProcessing
from earmark.gateway.dispatcher.detection_attempt import DetectionAttempt
from earmark.gateway.dispatcher.features import FeatureProcessing, FeatureUpdates
from earmark.gateway.dispatcher.orphans import remove_orphans
from earmark.gateway.dispatcher.outcome import DetectionOutcome, TrainingOutcome
from earmark.gateway.dispatcher.training_attempt import TrainingAttempt
from earmark.gateway.fleet.trainers import Trainer
from earmark.gateway.waits import wait_for_event
from earmark.gateway.watching import topics
from earmark.storage.database import Connection, DatabaseUnavailableError
from earmark.storage.objects import ObjectStoreError
from earmark.storage.queries import (
    audio,
    audit_entries,
    detection_jobs,
    events,
    idempotency,
    queues,
    quotas,
    training,
)
from earmark.storage.queries.jobs import Jobs
from earmark.storage.records import Job

log = structlog.get_logger("dispatcher")

# Nothing wakes the dispatcher when a pause or a lease ends, so it polls.
POLL_SECONDS = 2.0
BACKOFF_SECONDS = 0.5
CLEAN_UP_SECONDS = 600.0
# Of a recording that no detection job names.
RECORDING_SECONDS = 86_400.0
# So many old entries of the audit log are removed with one statement.
AUDIT_ENTRIES = 5000
GATEWAY_LOST = "its gateway was lost"


class Dispatcher:
    """Runs the loops, and one task per job and audio file that this gateway has given to a trainer."""

    def __init__(self, app: App) -> None:
        self._app = app
        # By address: the jobs of each kind, and the files.
        self._training: Counter[str] = Counter()
        self._detection: Counter[str] = Counter()
        self._files: Counter[str] = Counter()
        self._feature_updates = FeatureUpdates(app)
        self._attempts: set[Attempt[Any]] = set()
        self._running: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        lease = self._app.settings.lease_seconds
        loops = {
            "dispatching jobs": partial(self._run_on_wake, topics.QUEUE, self._dispatch_jobs),
            "dispatching audio files": partial(self._run_on_wake, topics.AUDIO, self._dispatch_files),
            "taking over lost jobs": partial(self._run_every, lease / 4, self._take_over_lost_jobs),
            "cleaning up": partial(self._run_every, CLEAN_UP_SECONDS, self._clean_up),
        }
        self._loops = [self._app.background.start(name, loop) for name, loop in loops.items()]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hands the running work back, so that it does not wait for its lease to expire."""
        await _cancel_all(self._loops)
        await asyncio.gather(*(attempt.hand_back() for attempt in self._attempts))
        if self._running:
            await asyncio.wait(self._running, timeout=LAST_WRITE_SECONDS)
        await _cancel_all(self._running)

    async def _run_on_wake(self, topic: str, work: Callable[[], Awaitable[None]]) -> None:
        """Runs `work` when the topic or the trainers' capacity changes, and every POLL_SECONDS."""
        with self._app.bus.subscribe(topic) as woken, self._app.trainers.subscribe(woken):
            while True:
                woken.clear()
                await self._try(work)
                await wait_for_event(woken, POLL_SECONDS)

    async def _run_every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._try(work)
            await asyncio.sleep(seconds)

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (DatabaseUnavailableError, ObjectStoreError) as error:
            log.warning("database or object store unavailable; trying again", error=str(error))
            await asyncio.sleep(BACKOFF_SECONDS)

    async def _dispatch_jobs(self) -> None:
        # Mostly nothing waits, and to ask costs less than to try. What comes later wakes this again.
        async with self._app.system.connection() as connection:
            waiting = await queues.waiting(connection)
        if waiting.training_pending:
            await self._queue_pending(training.JOBS, "training")
        if waiting.detection_pending:
            await self._queue_pending(detection_jobs.JOBS, "detection")
        if waiting.training_pending or waiting.training_queued:
            for trainer in self._app.trainers.for_training():
                while self._free_training_slots(trainer) > 0 and await self._start_training(trainer):
                    pass
        if waiting.detection_pending or waiting.detection_queued:
            for trainer in self._app.trainers.for_training():
                while self._free_detection_slots(trainer) > 0 and await self._start_detection(trainer):
                    pass

    # The free slots that a trainer reported, reduced by the jobs and files started since that report.

    def _free_training_slots(self, trainer: Trainer) -> int:
        capacity = trainer.capacity
        return min(capacity.free_training_slots, capacity.training_slots - self._training[trainer.address])

    def _free_detection_slots(self, trainer: Trainer) -> int:
        capacity = trainer.capacity
        return min(capacity.free_detection_slots, capacity.detection_slots - self._detection[trainer.address])

    def _free_audio_slots(self, trainer: Trainer) -> int:
        capacity = trainer.capacity
        return min(capacity.free_audio_slots, capacity.audio_slots - self._files[trainer.address])

    async def _queue_pending(self, kind_jobs: Jobs[Any], kind: str) -> None:
        event = event_bodies.status_changed("pending", "queued", "waiting for a trainer", kind)
        queued = True
        while queued:
            async with self._app.system.transaction() as connection:
                jobs = await kind_jobs.queue_pending(connection, event)
            self._publish(jobs)
            queued = bool(jobs)

    async def _start_training(self, trainer: Trainer) -> bool:
        event = event_bodies.status_changed("queued", "training", "given to a trainer")
        settings = self._app.settings
        async with self._app.system.transaction() as connection:
            job = await training.claim(
                connection,
                trainer.address,
                settings.lease_seconds,
                event,
                self._app.quotas.defaults.running_training_jobs,
                frontend=trainer.capacity.frontend,
            )
        if job is None:
            return False
        self._publish([job])
        self._start_attempt(TrainingAttempt(self._app, trainer, job), self._training, trainer)
        return True

    async def _start_detection(self, trainer: Trainer) -> bool:
        event = event_bodies.status_changed("queued", "processing", "given to a trainer", "detection")
        lease, limits = self._app.settings.lease_seconds, self._app.quotas.defaults
        async with self._app.system.transaction() as connection:
            job = await detection_jobs.claim(
                connection,
                trainer.address,
                lease,
                event,
                limits.running_detection_jobs,
                limits.detection_seconds_per_day,
            )
        if job is None:
            return False
        self._publish([job])
        self._start_attempt(DetectionAttempt(self._app, trainer, job), self._detection, trainer)
        return True

    def _start_attempt(self, attempt: Attempt[Any], running: Counter[str], trainer: Trainer) -> None:
        self._start(self._run(attempt), running, trainer.address, topics.QUEUE)

    async def _run(self, attempt: Attempt[Any]) -> None:
        self._attempts.add(attempt)
        try:
            await attempt.run()
        finally:
            self._attempts.discard(attempt)

    async def _dispatch_files(self) -> None:
        for trainer in self._app.trainers.for_audio():
            free = self._free_audio_slots(trainer)
            if free > 0 and not await self._start_files(trainer, free):
                break
        frontend = await self._feature_updates.frontend()
        if frontend is None:
            return
        for trainer in self._app.trainers.for_audio():
            # New uploads come first, and find a free slot.
            if (free := self._free_audio_slots(trainer) - int(trainer.capacity.audio_slots > 1)) > 0:
                await self._start_feature_updates(trainer, frontend, free)

    async def _start_files(self, trainer: Trainer, limit: int) -> bool:
        """Returns whether more may wait."""
        async with self._app.system.transaction() as connection:
            files = await audio.claim(connection, limit, self._app.settings.lease_seconds)
        self._start_all(trainer, (AudioProcessing(self._app, trainer, file) for file in files))
        return len(files) == limit

    async def _start_feature_updates(self, trainer: Trainer, frontend: str, limit: int) -> None:
        async with self._app.system.transaction() as connection:
            files = await audio.claim_outdated(connection, frontend, limit, self._app.settings.lease_seconds)
        self._start_all(trainer, (FeatureProcessing(self._app, trainer, file) for file in files))

    def _start_all(self, trainer: Trainer, files: Iterable[AudioProcessing]) -> None:
        for file in files:
            self._start(file.run(), self._files, trainer.address, topics.AUDIO)

    def _start(
        self, work: Coroutine[Any, Any, None], running: Counter[str], address: str, topic: str
    ) -> None:
        def done(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            running[address] -= 1
            self._app.bus.wake(topic)
            if not task.cancelled() and task.exception():
                log.error("a task of the dispatcher failed", exc_info=task.exception())

        running[address] += 1
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(done)

    async def _take_over_lost_jobs(self) -> None:
        """Queues the jobs whose lease has expired: their gateway was lost."""

        async def take_over_training(connection: Connection) -> Sequence[Job]:
            jobs = await training.JOBS.expired(connection)
            for job in jobs:
                await TrainingOutcome(self._app, job).lost(connection, GATEWAY_LOST)
            return jobs

        async def take_over_detection(connection: Connection) -> Sequence[Job]:
            jobs = await detection_jobs.JOBS.expired(connection)
            for job in jobs:
                await DetectionOutcome(self._app, job).lost(connection, GATEWAY_LOST)
            return jobs

        for take_over in (take_over_training, take_over_detection):
            expired = True
            while expired:
                async with self._app.system.transaction() as connection:
                    jobs = await take_over(connection)
                expired = bool(jobs)
                if expired:
                    self._app.bus.publish(topics.QUEUE)
                    self._publish(jobs)

    def _publish(self, jobs: Sequence[Job]) -> None:
        """Notifies watchers of the jobs' new events."""
        self._app.bus.publish(*{topics.events(job.tenant_id) for job in jobs})

    async def _clean_up(self) -> None:
        days = self._app.settings.event_retention_days
        async with self._app.system.connection() as connection:
            await idempotency.delete_old(connection)
        deleted = 1
        while deleted:
            async with self._app.system.transaction() as connection:
                deleted = await detection_jobs.delete_unused_recordings(connection, RECORDING_SECONDS)
        await events.compact(self._app.system, days)
        await self._remove_old_audit_entries()
        await quotas.compact(self._app.system)
        await remove_orphans(self._app.system, self._app.objects)

    async def _remove_old_audit_entries(self) -> None:
        deleted = AUDIT_ENTRIES
        while deleted == AUDIT_ENTRIES:
            async with self._app.system.connection() as connection:
                deleted = await audit_entries.delete_old(
                    connection, self._app.settings.audit_days, AUDIT_ENTRIES
                )


async def _cancel_all(tasks: Iterable[asyncio.Task[None]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
