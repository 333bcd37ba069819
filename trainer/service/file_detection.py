"""Detection in the files of one job: fetched, decoded and scored side by side, each answered by itself."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import structlog

from earmark.storage.objects import ObjectNotFoundError
from earmark.storage.sources import ReferenceRefusedError, SourceAwayError, SourceObjectError
from earmark.trainer.failures import FailureKind, kind_of
from earmark.trainer.service.decoding import AudioFiles
from earmark.trainer.service.detection_job import (
    DetectionJob,
    FileCompleted,
    FileEvent,
    FileFailed,
    FileScores,
    FileStarted,
    FileWaiting,
    JobFile,
    Quiet,
)
from earmark.trainer.service.errors import CallError
from earmark.trainer.service.runtime import Runtime
from earmark.trainer.service.scratch import write_file
from earmark.trainer.workers.wire import Decoded, Unreadable

TRIES = 3  # of a file that ends its decoder
# Beside those that are decoded: enough to fill a batch with files of a few seconds.
WAITING_FILES = 16
WAITING_EVENTS = 16
# Features of more bytes are a long file's. Beside those of files that are fetched or decoded, the disk has
# those of one long file, which waits for its scores.
LARGE_BYTES = 64 << 20
PART_BYTES = 1 << 20
# The caller of all files of jobs: there is one job at a time.
JOB = "job"
MAX_RECORDING_BYTES = 524_288_000
OBJECT_SECONDS = 900.0  # to read an object of another store

log = structlog.get_logger()


class UnusableFileError(Exception):
    """This file cannot be used, which says nothing about the others. `reason` names an ErrorReason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class _AwayError(Exception):
    """The place of a file is away, so the file waits. The message is for the job's owner."""


class FileDetection:
    """The work of one call. As an asynchronous context manager, it ends all of it.

    `next_file` returns None after the last file. It is called when there is room for a file, so that what all
    of them take on the disk is bounded.
    """

    def __init__(
        self, runtime: Runtime, job: DetectionJob, next_file: Callable[[], Awaitable[JobFile | None]]
    ) -> None:
        processes = runtime.settings.audio_processes
        self._runtime = runtime
        self._objects = runtime.objects
        self._job = job
        self._next_file = next_file
        self._events: asyncio.Queue[FileEvent | Exception | None] = asyncio.Queue(WAITING_EVENTS)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(2 * processes + WAITING_FILES)
        self._preparing = asyncio.Semaphore(processes + 2)
        self._large = asyncio.Semaphore(1)
        # The places of other stores that are away, and what that means for their files.
        self._away: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        self._work = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._work.cancel()
        await asyncio.wait({self._work})

    @property
    def busy(self) -> bool:
        """Whether files have been read and are not answered."""
        return bool(self._in_flight)

    async def next_event(self, seconds: float | None) -> FileEvent | None:
        """Returns the next event, Quiet if there is none within `seconds`, and None after the last.

        Raises CallError, ObjectStoreError, OSError or ProcessLostError if the job cannot go on here.
        """
        try:
            async with asyncio.timeout(seconds):
                event = await self._events.get()
        except TimeoutError:
            return Quiet()
        if isinstance(event, Exception):
            raise event
        return event

    async def _run(self) -> None:
        """Puts every event into the queue, and then None, or the error that ended the work."""
        end: Exception | None = None
        try:
            async with asyncio.TaskGroup() as group:
                await self._answer_all(group)
        except ExceptionGroup as errors:
            end = errors.exceptions[0]
        await self._events.put(end)

    async def _answer_all(self, group: asyncio.TaskGroup) -> None:
        self._objects = await asyncio.to_thread(self._runtime.objects.identified)
        await self._runtime.detection_process.load(self._job)
        while True:
            await self._room.acquire()
            file = await self._next_file()
            if file is None:
                return
            task = group.create_task(self._answer(file))
            self._in_flight.add(task)
            task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._room.release()

    async def _answer(self, file: JobFile) -> None:
        with self._runtime.scratch.folder() as folder:
            try:
                await self._detect(file, AudioFiles(folder))
            except UnusableFileError as error:
                log.info("a file of a job is unusable", file_id=file.file_id, error=str(error))
                await self._events.put(FileFailed(file.file_id, error.reason, str(error)))
            except _AwayError as error:
                await self._events.put(FileWaiting(file.file_id, str(error)))

    async def _detect(self, file: JobFile, files: AudioFiles) -> None:
        """Puts the events of a file into the queue. Raises UnusableFileError."""
        async with AsyncExitStack() as stack:
            async with self._preparing:
                await self._events.put(FileStarted(file.file_id))
                duration_ms = await self._prepare(file, files)
                if files.features.stat().st_size > LARGE_BYTES:
                    await stack.enter_async_context(self._large)
            scored = await self._runtime.detection_process.score(
                self._job, files.features, files.scores, duration_ms
            )
        if isinstance(scored, Unreadable):
            raise UnusableFileError("STORED_DATA_DAMAGED", f"its features are damaged: {scored.message}")
        with files.scores.open("rb") as packed:
            while part := await asyncio.to_thread(packed.read, PART_BYTES):
                await self._events.put(FileScores(file.file_id, part))
        await self._events.put(FileCompleted(file.file_id, duration_ms, scored.detection_count))

    async def _prepare(self, file: JobFile, files: AudioFiles) -> int:
        """Writes the features. Returns the length of the audio in ms. Raises UnusableFileError."""
        if file.features:
            await self._fetch(file.features, files.features)
            return file.duration_ms

        async def fetch() -> None:
            if file.uri:
                await self._fetch_object(file.uri, files.source)
            else:
                await self._fetch(file.source, files.source)

        for _ in range(TRIES):
            await fetch()
            outcome = await self._runtime.audio_pool.decode(files, JOB, fetch=fetch, of_job=True)
            if isinstance(outcome, Decoded):
                return outcome.duration_ms
            failed = outcome
            if kind_of(failed.reason) is not FailureKind.ATTEMPT:
                break
        if kind_of(failed.reason) is FailureKind.ENVIRONMENT:
            raise CallError(failed.reason, failed.message)
        raise UnusableFileError(failed.reason, failed.message)

    async def _fetch(self, key: str, path: Path) -> None:
        try:
            await write_file(path, self._objects.stream(key))
        except ObjectNotFoundError:
            raise UnusableFileError(
                "STORED_DATA_DAMAGED", "its bytes are gone: upload the file again"
            ) from None

    async def _fetch_object(self, uri: str, path: Path) -> None:
        """Writes an object of another store. One whose place is away is not asked for again by this call."""
        sources = self._runtime.sources
        try:
            place = sources.place_of(uri)
            if place in self._away:
                raise _AwayError(self._away[place])
            async with asyncio.timeout(OBJECT_SECONDS):
                await write_file(path, sources.stream(uri, MAX_RECORDING_BYTES))
        except ReferenceRefusedError as error:
            # The gateway allows it.
            log.warning("a reference is refused: is EARMARK_DETECTION_SOURCES that of the gateway?", uri=uri)
            raise _AwayError("a trainer does not allow the place of a file") from error
        except SourceObjectError as error:
            raise UnusableFileError("SOURCE_OBJECT_UNUSABLE", str(error)) from None
        except (SourceAwayError, TimeoutError) as error:
            log.warning("a place of detection sources is away", place=place, error=str(error))
            self._away[place] = f"{place} is away: the job waits for it"
            raise _AwayError(self._away[place]) from error
