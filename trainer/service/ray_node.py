"""What an actor of Ray does: the work of a trainer, on the node that it lies on.

It imports no Ray. What passes between it and the front are plain values with keys of objects, never paths.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from earmark.trainer.events import Completed, Event
from earmark.trainer.features.version import FRONTEND_VERSION
from earmark.trainer.logs import configure_logging
from earmark.trainer.packed_job import PackedJob
from earmark.trainer.service.call_failures import failure_of
from earmark.trainer.service.detection_job import DetectionJob, FileEvent, JobFile, Quiet
from earmark.trainer.service.device import check_device
from earmark.trainer.service.errors import CallError
from earmark.trainer.service.executor import AudioEvent, StoredAudio
from earmark.trainer.service.local import LocalExecutor
from earmark.trainer.service.runtime import Runtime
from earmark.trainer.settings import TrainerSettings

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Report:
    """What a node has, as its executor says; see Executor."""

    device: str
    slots: Mapping[str, int]
    free_slots: Mapping[str, int]
    problem: str
    store_id: str
    frontend: str
    decode_failures: Mapping[str, int]

    def problem_at(self, store_id: str) -> str:
        """Why a front with this store gives the node no work; empty if it does."""
        if self.store_id not in ("", store_id):
            return "a node of the Ray cluster has another object store: EARMARK_OBJECT_STORE must reach one"
        if self.frontend != FRONTEND_VERSION:
            return (
                f"a node of the Ray cluster has front end {self.frontend}, and the trainer"
                f" {FRONTEND_VERSION}: install the same version of Earmark"
            )
        return self.problem


@dataclass(frozen=True, slots=True)
class CallFailure:
    """The last item of a call that failed; see CallError, which cannot be pickled."""

    reason: str
    message: str
    field: str = ""


def settings_of_node(settings: TrainerSettings, cpus: int) -> dict[str, Any]:
    """The settings of a node with so many CPUs: the front's, without its secrets."""
    store, is_set = settings.object_store_url, "audio_processes" in settings.model_fields_set
    own = {
        "executor": "local",
        "audio_processes": settings.audio_processes if is_set else cpus,
        "data_dir": settings.data_dir.absolute(),
        "object_store": store if "://" in store else str(Path(store).absolute()),
        "trainer_secret": None,
        "trainer_tls_key": None,
        "trainer_tls_certificate": None,
        "trainer_tls_ca": None,
    }
    return settings.model_dump() | own


class RayNode:
    """The trainer of one node. It begins with the first call, and ends with `close` or with its process."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """`settings`: those of `settings_of_node`."""
        self._settings = TrainerSettings(**settings)
        configure_logging(self._settings.log_level)
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._local: LocalExecutor | None = None
        # The files of each call of detect_files that have been taken and not begun.
        self._files: dict[str, asyncio.Queue[JobFile | None]] = {}

    async def reports(self) -> AsyncGenerator[Report]:
        """Yields a report at once, and whenever one differs from the one before."""
        local = await self._opened()
        last = None
        while True:
            changed = local.changes.next
            report = Report(
                device=local.device,
                slots=local.slots(),
                free_slots=local.free_slots(),
                problem=local.problem,
                store_id=local.runtime.environment.store_id,
                frontend=FRONTEND_VERSION,
                decode_failures=dict(local.decode_failures),
            )
            if report != last:
                yield report
                last = report
            await changed.wait()

    async def train(self, packed: PackedJob) -> AsyncGenerator[Event | CallFailure]:
        """Runs one attempt. Yields its events."""

        async def events(local: LocalExecutor) -> AsyncGenerator[Event]:
            with local.claim_training(packed.job.job_id, packed.job.attempt) as claim:
                await claim.start(packed)
                event = None
                while not isinstance(event, Completed):
                    event = await claim.next_event(None)
                    if event is not None:
                        yield event

        async with aclosing(self._answered("train", events)) as answered:
            async for item in answered:
                yield item

    async def hand_back(self, job_id: str, attempt: int) -> None:
        """Ends this attempt and keeps its work. Returns when the slot is free, or if it was."""
        local = await self._opened()
        with suppress(CallError):
            await local.hand_back(job_id, attempt)

    async def process_audio(self, file: StoredAudio) -> AsyncGenerator[AudioEvent | CallFailure]:
        """Decodes a file, and stores its features; see Executor."""
        async with aclosing(
            self._answered("process_audio", lambda local: local.process_audio(file))
        ) as answered:
            async for item in answered:
                yield item

    async def detect_files(self, call: str, job: DetectionJob) -> AsyncGenerator[FileEvent | CallFailure]:
        """Searches the files that `take_file` gets for the same `call`. Yields Quiet once it takes them."""
        files = self._files[call] = asyncio.Queue(1)

        async def events(local: LocalExecutor) -> AsyncGenerator[FileEvent]:
            with local.claim_detection(call) as claim:
                async with claim.search(job, files.get) as detection:
                    yield Quiet()
                    while event := await detection.next_event(None):
                        yield event

        try:
            async with aclosing(self._answered("detect_files", events)) as answered:
                async for item in answered:
                    yield item
        finally:
            del self._files[call]
            while not files.empty():  # each lets one go on that waits to put
                files.get_nowait()

    async def take_file(self, call: str, file: JobFile | None) -> None:
        """Takes the next file of a call, None after the last. Returns when there is room for another."""
        if (files := self._files.get(call)) is not None:
            await files.put(file)

    async def close(self) -> None:
        """Ends all work and every process."""
        await self._stack.aclose()

    async def _opened(self) -> LocalExecutor:
        async with self._opening:
            if self._local is None:
                await asyncio.to_thread(check_device, self._settings)
                runtime = await self._stack.enter_async_context(Runtime.open(self._settings))
                self._local = LocalExecutor(runtime)
        return self._local

    async def _answered(
        self, work: str, events: Callable[[LocalExecutor], AsyncGenerator[Item]]
    ) -> AsyncGenerator[Item | CallFailure]:
        """Yields the events, and what ended them if that was an error."""
        local = await self._opened()
        failure = None
        try:
            async with aclosing(events(local)) as items:
                async for item in items:
                    yield item
        except Exception as error:  # noqa: BLE001 it becomes a value, and a line in the log if it is unknown
            failure = failure_of(error, work, local.runtime.environment)
        if failure is not None:
            yield CallFailure(failure.reason, str(failure), failure.field)
