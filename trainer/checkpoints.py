"""What a job stores: checkpoints to resume from, and the model. Safetensors and JSON; nothing is pickled."""

import hashlib
import json
from dataclasses import asdict, astuple, dataclass

import jax
import numpy as np
import safetensors.numpy

from storage.objects import ObjectStore
from trainer.detect import MODEL_FORMAT, Model
from trainer.events import Completed, EvalMetrics
from trainer.frontend import FRONTEND_VERSION
from trainer.job import TrainingConfig, TrainingJob
from trainer.trees import Tree, from_arrays, to_arrays


class UnusableCheckpointError(ValueError):
    """The checkpoint is of another job, configuration or version."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where training is: `epoch` epochs are done, and the weights of `best_epoch` are kept.

    The highest F1, `best_score`, was first reached in `improved_epoch`.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -1.0
    improved_epoch: int = 0


def save_checkpoint(
    objects: ObjectStore,
    job: TrainingJob,
    fingerprint: str,
    position: Position,
    state: Tree,
) -> str:
    """Stores the whole state under the job's prefix and gives its key; keeps the one before, no older."""
    key = _checkpoint_key(job.prefix, position.epoch)
    meta = json.dumps({"fingerprint": fingerprint, **asdict(position)})
    objects.put(key, safetensors.numpy.save(to_arrays(state), {"earmark": meta}))
    objects.delete(_checkpoint_key(job.prefix, position.epoch - 2))
    return key


def load_checkpoint(
    objects: ObjectStore,
    key: str,
    fingerprint: str,
    template: Tree,
) -> tuple[Position, Tree]:
    """Raises ObjectNotFoundError, and UnusableCheckpointError where it does not fit this job."""
    data = objects.get(key)
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        meta = json.loads(header["__metadata__"]["earmark"])
        if meta.pop("fingerprint") != fingerprint:
            raise UnusableCheckpointError(f"{key} was made from other data, settings or code")
        state = from_arrays(template, safetensors.numpy.load(data))
        return Position(**meta), jax.device_put(state)
    except (KeyError, TypeError, safetensors.SafetensorError) as error:
        raise UnusableCheckpointError(f"{key} is no checkpoint") from error


def _checkpoint_key(prefix: str, epoch: int) -> str:
    return f"{prefix}/checkpoint-{epoch:04d}.safetensors"


def fingerprint(job: TrainingJob, *shapes: object) -> str:
    """Equal for attempts whose training is the same step by step: data, settings, base, code, shapes."""
    files = sorted(
        (file.audio_file_id, file.sha256, file.features, sorted(map(astuple, file.annotations)))
        for file in job.files
    )
    parts = (FRONTEND_VERSION, job.config, job.base, files, shapes)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def save_model(
    objects: ObjectStore,
    prefix: str,
    model: Model,
    config: TrainingConfig,
    best_epoch: int,
    metrics: EvalMetrics,
) -> Completed:
    """Stores weights and configuration, and says so."""
    thresholds = {
        kind: figures.best_threshold
        for kind, figures in metrics.per_type.items()
        if figures.best_threshold is not None
    }
    weights = safetensors.numpy.save(to_arrays(model.parameters))
    description = {
        "format": MODEL_FORMAT,
        "frontend": FRONTEND_VERSION,
        "architecture": asdict(model.architecture),
        "artifact_types": [asdict(kind) for kind in model.types],
        "mean": _floats(model.mean),
        "deviation": _floats(model.deviation),
        "recommended_thresholds": thresholds,
        "training_config": asdict(config),
        "best_epoch": best_epoch,
    }
    weights_key, config_key = f"{prefix}/model.safetensors", f"{prefix}/model.json"
    objects.put(weights_key, weights)
    objects.put(config_key, json.dumps(description, indent=1).encode())
    digest = hashlib.sha256(weights).hexdigest()
    return Completed(weights_key, config_key, len(weights), digest, metrics, thresholds, best_epoch)


def _floats(values: np.ndarray) -> list[float]:
    return [float(value) for value in values]
