"""The parts of a running trainer that its rpcs share: processes, slots, object store, scratch directory."""

import asyncio
import hashlib
import os
import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from earmark.background import Background
from earmark.storage.objects import ObjectStore
from earmark.storage.sources import Sources
from earmark.trainer.service.audio_pool import AudioPool
from earmark.trainer.service.changes import Changes
from earmark.trainer.service.detection_process import DetectionProcess
from earmark.trainer.service.detection_slot import DetectionSlot
from earmark.trainer.service.device import device_environment
from earmark.trainer.service.environment import Environment
from earmark.trainer.service.scratch import ScratchDirectory
from earmark.trainer.service.slot import TrainingSlot
from earmark.trainer.service.supervisor import Supervisor
from earmark.trainer.settings import TrainerSettings

TRAINING = "earmark.trainer.workers.training"
DETECTION = "earmark.trainer.workers.detection"

# The variables that the processes with JAX get: those of JAX and the device's libraries, of the object store,
# and of the way to it.
_JAX = ("CUDA", "CUDNN", "JAX_", "MKL_", "NCCL_", "NVIDIA_", "OMP_", "OPENBLAS_", "TF_", "XLA_")
_STORES = ("AWS_", "AZURE_", "GOOGLE_", "IDENTITY_", "MSI_")
_NETWORK = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_DIR", "SSL_CERT_FILE")
_FOLDERS = ("HOME", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Runtime:
    """One running trainer. `changes` is notified whenever its capacity changes."""

    settings: TrainerSettings
    objects: ObjectStore
    sources: Sources
    scratch: ScratchDirectory
    changes: Changes
    environment: Environment
    training_process: Supervisor
    training_slot: TrainingSlot
    audio_pool: AudioPool
    detection_process: DetectionProcess
    detection_slot: DetectionSlot
    background: Background

    @property
    def device(self) -> str:
        """The device that training runs on; empty until the training process has been warm once."""
        return self.training_process.device

    def slots(self) -> dict[str, int]:
        """How much work of each kind the trainer does at a time."""
        live = self.settings.live_streams
        return {"training": 1, "detection": 1, "audio": self.audio_pool.size, "live": live}

    def free_slots(self) -> dict[str, int]:
        """How much more it can begin now: nothing while its environment has a problem."""
        if self.environment.problem:
            return dict.fromkeys(self.slots(), 0)
        return {
            "training": int(self.training_slot.free),
            "detection": int(self.detection_slot.free),
            "audio": self.audio_pool.free,
            "live": self.audio_pool.free_live,
        }

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: TrainerSettings, *, trains: bool = True) -> AsyncIterator[Self]:
        """Starts every process, that of training only if it `trains`, and ends them all on exit."""
        changes = Changes()
        training = Supervisor(TRAINING, settings, _training_environment(settings), changes)
        detection = Supervisor(DETECTION, settings, _detection_environment(settings), changes)
        objects, scratch = ObjectStore.open(settings.object_store_url), settings.data_dir / "scratch"
        runtime = cls(
            settings=settings,
            objects=objects,
            sources=Sources(settings.detection_sources),
            scratch=ScratchDirectory(scratch),
            changes=changes,
            environment=Environment(objects, scratch, settings.disk_reserve_mb << 20, changes),
            training_process=training,
            training_slot=TrainingSlot(training, changes),
            audio_pool=AudioPool(settings, changes),
            detection_process=DetectionProcess(detection),
            detection_slot=DetectionSlot(detection, changes),
            background=Background(),
        )
        loops = {
            **({"training process": training.run} if trains else {}),
            "detection process": detection.run,
            "replies of the detection process": runtime.detection_process.run,
            "checking the environment": runtime.environment.run,
        }
        tasks = [runtime.background.start(name, loop) for name, loop in loops.items()]
        try:
            yield runtime
        finally:
            await runtime.training_slot.wait_for_released_jobs()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await runtime.audio_pool.close()
            runtime.scratch.close()


def _training_environment(settings: TrainerSettings) -> dict[str, str]:
    return {
        **_jax_environment(settings),
        "XLA_PYTHON_CLIENT_MEM_FRACTION": str(settings.gpu_memory_fraction),
    }


def _detection_environment(settings: TrainerSettings) -> dict[str, str]:
    """Allocates memory only when it is needed, so that detection fits on the GPU beside training."""
    return {
        **_jax_environment(settings),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "XLA_PYTHON_CLIENT_MEM_FRACTION": str(settings.gpu_detection_memory_fraction),
    }


def _jax_environment(settings: TrainerSettings) -> dict[str, str]:
    """Chooses the device, and keeps compiled code on disk, so that a job after a restart starts in seconds.

    Variables that are already set take precedence, but not over the device. These processes also get the
    credentials of the object store, which they read datasets and models from: they touch users' bytes only as
    features. Everything else of the environment stays here.
    """
    passed = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_JAX + _STORES) or name.upper() in _NETWORK or name in _FOLDERS
    }
    defaults = {
        "JAX_COMPILATION_CACHE_DIR": str((settings.data_dir / "compiled" / _processor()).absolute()),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        # When XLA loads cached code, it warns at length that the code may not fit this machine, because of
        # tuning hints that are not processor features (prefer-no-gather). Real errors are raised by JAX.
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    return defaults | passed | device_environment(settings.device)


def _processor() -> str:
    """Identifies this machine's instruction set: code compiled for another one might crash."""
    description = platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        description += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(description.encode()).hexdigest()[:16]
