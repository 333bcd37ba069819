"""The executor that does all work on this machine."""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from dataclasses import dataclass

from earmark.trainer.events import EpochCompleted
from earmark.trainer.service.changes import Changes
from earmark.trainer.service.detection_job import DetectionJob
from earmark.trainer.service.executor import (
    AudioEvent,
    DetectionClaim,
    FileEvents,
    NextFile,
    StoredAudio,
    TrainingClaim,
)
from earmark.trainer.service.file_detection import FileDetection
from earmark.trainer.service.runtime import Runtime
from earmark.trainer.service.stored_audio import process_stored


@dataclass(frozen=True, slots=True)
class LocalExecutor:
    """See Executor."""

    runtime: Runtime

    @property
    def changes(self) -> Changes:
        return self.runtime.changes

    @property
    def device(self) -> str:
        return self.runtime.device

    @property
    def problem(self) -> str:
        return self.runtime.environment.problem

    @property
    def epochs(self) -> int:
        return self.runtime.training_slot.epochs

    @property
    def last_epoch(self) -> EpochCompleted | None:
        return self.runtime.training_slot.last_epoch

    @property
    def decode_failures(self) -> Mapping[str, int]:
        return self.runtime.audio_pool.failures

    def slots(self) -> dict[str, int]:
        return self.runtime.slots()

    def free_slots(self) -> dict[str, int]:
        return self.runtime.free_slots()

    def claim_training(self, job_id: str, attempt: int) -> AbstractContextManager[TrainingClaim]:
        return self.runtime.training_slot.claim(job_id, attempt)

    async def hand_back(self, job_id: str, attempt: int) -> None:
        await self.runtime.training_slot.hand_back(job_id, attempt)

    async def close(self) -> None:
        await self.runtime.training_slot.close()

    def process_audio(self, file: StoredAudio) -> AsyncGenerator[AudioEvent]:
        return process_stored(self.runtime, file)

    @contextmanager
    def claim_detection(self, job_id: str) -> Iterator[DetectionClaim]:
        with self.runtime.detection_slot.claim(job_id) as device:
            yield LocalDetectionClaim(self.runtime, device)


@dataclass(frozen=True, slots=True)
class LocalDetectionClaim:
    """See DetectionClaim."""

    runtime: Runtime
    device: str

    def search(self, job: DetectionJob, next_file: NextFile) -> AbstractAsyncContextManager[FileEvents]:
        return FileDetection(self.runtime, job, next_file)
