"""Checkpoints to resume a job from. They are safetensors files; nothing is pickled."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass

import jax
import safetensors.numpy

from storage.objects import ObjectStore
from trainer.events import Checkpoint
from trainer.features.frontend import FRONTEND_VERSION
from trainer.job import TrainingJob
from trainer.pytrees import Tree, from_arrays, to_arrays

CHECKPOINT_SECONDS = 60.0  # of work that a lost trainer costs at most


class UnusableCheckpointError(ValueError):
    """The checkpoint is of another job, configuration or version."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where training is: `epoch` epochs are done, and the weights of `best_epoch` are kept.

    The highest F1, `best_score`, was first reached in `improved_epoch`. Of the next epoch, `step` steps are
    done, in `seconds`.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -1.0
    improved_epoch: int = 0
    step: int = 0
    seconds: float = 0.0


class Checkpoints:
    """An attempt's checkpoints below its prefix, and the one it starts from.

    None is deleted here: which one the next attempt starts from is the gateway's to say, and one that hangs
    says it late.

    `fingerprint` is of the training: a checkpoint of another is not resumed from.
    """

    def __init__(self, objects: ObjectStore, prefix: str, fingerprint: str) -> None:
        self._objects = objects
        self._prefix = prefix
        self._fingerprint = fingerprint
        self._stored = (0, 0)
        self._stored_at = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether a trainer lost now would cost more than it may."""
        return time.monotonic() - self._stored_at >= CHECKPOINT_SECONDS

    def store(self, position: Position, state: Tree) -> Iterator[Checkpoint]:
        """Stores the whole state and says so; does nothing where that is stored already."""
        if (position.epoch, position.step) == self._stored:
            return
        key = f"{self._prefix}/checkpoint-{position.epoch:04d}-{position.step:06d}.safetensors"
        meta = json.dumps({"fingerprint": self._fingerprint, **asdict(position)})
        self._objects.put(key, safetensors.numpy.save(to_arrays(state), {"earmark": meta}))
        self._reached(position)
        yield Checkpoint(position.epoch, position.step, key)

    def load(self, key: str, template: Tree) -> tuple[Position, Tree]:
        """Raises ObjectNotFoundError, and UnusableCheckpointError where it does not fit this training."""
        data = self._objects.get(key)
        try:
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            meta = json.loads(header["__metadata__"]["earmark"])
            if meta.pop("fingerprint") != self._fingerprint:
                raise UnusableCheckpointError(f"{key} was made from other data, settings or code")
            position, state = Position(**meta), from_arrays(template, safetensors.numpy.load(data))
        except (KeyError, TypeError, safetensors.SafetensorError) as error:
            raise UnusableCheckpointError(f"{key} is no checkpoint") from error
        self._reached(position)
        return position, jax.device_put(state)

    def _reached(self, position: Position) -> None:
        self._stored, self._stored_at = (position.epoch, position.step), time.monotonic()


def fingerprint(job: TrainingJob, *shapes: object) -> str:
    """Equal for attempts whose training is the same step by step: data, settings, base, code, shapes."""
    files = sorted(
        (file.audio_file_id, file.sha256, file.features, sorted(map(astuple, file.annotations)))
        for file in job.files
    )
    parts = (FRONTEND_VERSION, job.config, job.base, files, shapes)
    return hashlib.sha256(repr(parts).encode()).hexdigest()
