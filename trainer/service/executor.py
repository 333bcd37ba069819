"""What stands between the rpcs and the work: the trainer does it on its own machine, or on a cluster."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from earmark.trainer.events import EpochCompleted, Event
from earmark.trainer.packed_job import PackedJob
from earmark.trainer.service.changes import Changes
from earmark.trainer.service.detection_job import DetectionJob, FileEvent, JobFile
from earmark.trainer.workers.wire import Decoded, Failed, Featured

NextFile = Callable[[], Awaitable[JobFile | None]]


@dataclass(frozen=True, slots=True)
class StoredAudio:
    """A file of the object store, by the keys of what is read and written. Without `audio`, it is not stored.

    Callers take turns.
    """

    audio_file_id: str
    source: str
    audio: str
    features: str
    caller: str


# What comes of it, in order: Decoded and then Featured. Failed, at any time, is the file's own fault.
AudioEvent: TypeAlias = Decoded | Featured | Failed


class TrainingClaim(Protocol):
    """One attempt's claim on a training slot. `hand_back_requested` is set when the work is to be kept."""

    @property
    def device(self) -> str:
        """What the job will run on, such as "cpu"."""

    @property
    def hand_back_requested(self) -> asyncio.Event:
        """Set when the job is to end with its work kept."""

    async def start(self, packed: PackedJob) -> None:
        """Begins the job. Raises StoppingError if its hand-back has been requested already."""

    async def next_event(self, seconds: float | None) -> Event | None:
        """Returns the next event, or None if none arrives within `seconds`. The last event is Completed.

        Raises CallError if the job failed or was lost, StoppingError if it was handed back.
        """


class FileEvents(Protocol):
    """The events of a detection job that runs."""

    @property
    def busy(self) -> bool:
        """Whether files have been read and are not answered."""

    async def next_event(self, seconds: float | None) -> FileEvent | None:
        """Returns the next event, Quiet if there is none within `seconds`, and None after the last.

        Raises CallError, ObjectStoreError, OSError or ProcessLostError if the job cannot go on.
        """


class DetectionClaim(Protocol):
    """One detection job's claim on a detection slot."""

    @property
    def device(self) -> str:
        """What the job will run on, such as "cpu"."""

    def search(self, job: DetectionJob, next_file: NextFile) -> AbstractAsyncContextManager[FileEvents]:
        """Searches the files that `next_file` returns, until it returns None. The block ends all of it.

        `next_file` is called when there is room for a file.
        """


class Executor(Protocol):
    """Does the work of training jobs, audio files and detection jobs.

    A recording that a caller sends, live audio and exports stay with the front.
    """

    @property
    def changes(self) -> Changes:
        """Notified whenever the capacity changes."""

    @property
    def device(self) -> str:
        """What training runs on; empty until that is known."""

    @property
    def problem(self) -> str:
        """Why it takes no work, in words; empty if it does."""

    @property
    def epochs(self) -> int:
        """How many epochs have ended, of all jobs that have run here."""

    @property
    def last_epoch(self) -> EpochCompleted | None:
        """The last of them."""

    @property
    def decode_failures(self) -> Mapping[str, int]:
        """How often audio was not decoded, by the reason."""

    def slots(self) -> dict[str, int]:
        """How much work of each kind it does at a time."""

    def free_slots(self) -> dict[str, int]:
        """How much more it can begin now."""

    def claim_training(self, job_id: str, attempt: int) -> AbstractContextManager[TrainingClaim]:
        """Claims a training slot for the block, which runs the attempt.

        Raises CallError if none is free, StoppingError once it is closed.
        """

    async def hand_back(self, job_id: str, attempt: int) -> None:
        """Ends this attempt, keeps its work, and returns when the slot is free.

        Raises CallError if the attempt has no slot.
        """

    async def close(self) -> None:
        """Takes no more training jobs. Hands back those that run, and returns when their slots are free."""

    def process_audio(self, file: StoredAudio) -> AsyncGenerator[AudioEvent]:
        """Decodes the file, and stores its features. Close the generator: the work ends with it.

        Raises CallError, ObjectStoreError, OSError or ProcessLostError for what is not the file's fault.
        """

    def claim_detection(self, job_id: str) -> AbstractContextManager[DetectionClaim]:
        """Claims a detection slot for the block. Raises CallError if none is free."""
