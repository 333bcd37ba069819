"""Checkpoints, from which a job is resumed. They are safetensors files; nothing is pickled."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import jax
import safetensors.numpy

from earmark.storage.objects import ObjectStore
from earmark.trainer.events import Checkpoint
from earmark.trainer.features.version import FRONTEND_VERSION
from earmark.trainer.job import TrainingJob
from earmark.trainer.pytrees import Tree, from_arrays, to_arrays

CHECKPOINT_SECONDS = 60.0  # the most work that is lost with a trainer


class UnusableCheckpointError(ValueError):
    """The checkpoint is damaged, or comes from another job, configuration or version."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far training is: `epoch` epochs are done, and `step` steps of the next one, which took `seconds`.

    The best weights so far are those of `best_epoch`. The highest F1 so far is `best_score`, first reached in
    `improved_epoch`.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -1.0
    improved_epoch: int = 0
    step: int = 0
    seconds: float = 0.0


class Checkpoints:
    """Stores an attempt's checkpoints below its prefix, and loads the one that the attempt resumes from.

    No checkpoint is deleted here: the gateway chooses the one that the next attempt resumes from, and it may
    choose late. A checkpoint with another `fingerprint` belongs to another training and is refused.

    `dtype` is the type of this attempt's activations. It is stored and not compared: the weights are float32
    on every device, so that a CPU goes on with the work of a GPU.
    """

    def __init__(self, objects: ObjectStore, prefix: str, fingerprint: str, dtype: str) -> None:
        self._objects = objects
        self._prefix = prefix
        self._fingerprint = fingerprint
        self._dtype = dtype
        self._stored = (0, 0)
        self._stored_at = time.monotonic()

    @property
    def due(self) -> bool:
        """True if losing the trainer now would lose CHECKPOINT_SECONDS of work or more."""
        return time.monotonic() - self._stored_at >= CHECKPOINT_SECONDS

    def store(self, position: Position, state: Tree) -> Iterator[Checkpoint]:
        """Stores the state and yields the event, unless the latest checkpoint is of the same position."""
        if (position.epoch, position.step) == self._stored:
            return
        key = f"{self._prefix}/checkpoint-{position.epoch:04d}-{position.step:06d}.safetensors"
        meta = json.dumps({"fingerprint": self._fingerprint, "dtype": self._dtype, **asdict(position)})
        self._objects.put(key, safetensors.numpy.save(to_arrays(state), {"earmark": meta}))
        self._note_stored(position)
        yield Checkpoint(position.epoch, position.step, key)

    def load(self, key: str, template: Tree) -> tuple[Position, Tree, str]:
        """Loads a checkpoint into the structure of `template`; the last value is its dtype.

        Raises ObjectNotFoundError, and ValueError (often UnusableCheckpointError) if it does not fit.
        """
        data = self._objects.get(key)
        try:
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            meta = json.loads(header["__metadata__"]["earmark"])
            if meta.pop("fingerprint") != self._fingerprint:
                raise UnusableCheckpointError(f"{key} was made from other data, settings or code")
            dtype = str(meta.pop("dtype"))
            position, state = Position(**meta), from_arrays(template, safetensors.numpy.load(data))
        except (KeyError, TypeError, safetensors.SafetensorError) as error:
            raise UnusableCheckpointError(f"{key} is not a checkpoint") from error
        self._note_stored(position)
        return position, jax.device_put(state), dtype

    def _note_stored(self, position: Position) -> None:
        self._stored, self._stored_at = (position.epoch, position.step), time.monotonic()


def fingerprint(job: TrainingJob, *shapes: object) -> str:
    """Equal for attempts with the same training, step by step: data, settings, base model, code, shapes.

    `shapes` may not depend on the device.
    """
    files = sorted(
        (
            file.audio_file_id,
            file.sha256,
            file.features,
            file.group or "",
            list(map(tuple, file.annotations)),
        )
        for file in job.files
    )
    parts = (FRONTEND_VERSION, job.config, job.base, files, shapes)
    return hashlib.sha256(repr(parts).encode()).hexdigest()
