"""The processes that do the trainer's work, and what its rpcs share."""

import asyncio
import hashlib
import os
import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from storage.objects import ObjectStore
from trainer.service.audio_pool import AudioPool
from trainer.service.changes import Changes
from trainer.service.scoring import Scoring
from trainer.service.scratch import ScratchDirectory
from trainer.service.slot import TrainingSlot
from trainer.service.supervisor import Supervisor
from trainer.settings import TrainerSettings


@dataclass(frozen=True, slots=True)
class Runtime:
    """One running trainer."""

    settings: TrainerSettings
    objects: ObjectStore
    scratch: ScratchDirectory
    changes: Changes
    supervisor: Supervisor
    training: TrainingSlot
    audio: AudioPool
    scoring: Scoring

    @property
    def device(self) -> str:
        """What it trains on; empty until that is known."""
        return self.supervisor.device

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: TrainerSettings) -> AsyncIterator[Self]:
        """Starts every process; all are gone at the end."""
        changes = Changes()
        supervisor = Supervisor(
            "trainer.workers.training", settings, _training_environment(settings), changes
        )
        detection = Supervisor(
            "trainer.workers.detection", settings, _detection_environment(settings), changes
        )
        runtime = cls(
            settings=settings,
            objects=ObjectStore.open(settings.object_store_url),
            scratch=ScratchDirectory(settings.data_dir / "scratch"),
            changes=changes,
            supervisor=supervisor,
            training=TrainingSlot(supervisor, changes),
            audio=AudioPool(settings, changes),
            scoring=Scoring(detection),
        )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part.run()) for part in (supervisor, detection, runtime.scoring)]
            try:
                yield runtime
            finally:
                await runtime.training.settle()
                for task in tasks:
                    task.cancel()
                await runtime.audio.close()
                runtime.scratch.close()


def _training_environment(settings: TrainerSettings) -> dict[str, str]:
    return {
        **_jax_environment(settings.data_dir),
        "XLA_PYTHON_CLIENT_MEM_FRACTION": str(settings.gpu_memory_fraction),
    }


def _detection_environment(settings: TrainerSettings) -> dict[str, str]:
    """Takes memory as it needs it, so that it fits beside the training process."""
    return {
        **_jax_environment(settings.data_dir),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "XLA_PYTHON_CLIENT_MEM_FRACTION": str(settings.gpu_detection_memory_fraction),
    }


def _jax_environment(data_dir: Path) -> dict[str, str]:
    """What is compiled is kept, so that a job after a restart starts in seconds. Set variables win."""
    ours = {
        "JAX_COMPILATION_CACHE_DIR": str((data_dir / "compiled" / _processor()).absolute()),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        # XLA calls kept code unfit for its own machine, at length, over tuning hints that are no processor's
        # features (prefer-no-gather). What matters JAX raises.
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return {name: os.environ.get(name, value) for name, value in ours.items()}


def _processor() -> str:
    """Names what this machine's processor can do: code compiled for another might crash."""
    known = platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        known += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(known.encode()).hexdigest()[:16]
