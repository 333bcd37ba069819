"""A trained model: in memory, and as the two objects that it is stored as.

The weights are a safetensors file, everything else is JSON. Nothing is pickled.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import jax
import numpy as np
import safetensors.numpy
from jaxtyping import Float32

from earmark.storage.objects import ObjectStore
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.features.version import FRONTEND_VERSION
from earmark.trainer.job import TrainingConfig
from earmark.trainer.network import Architecture, Weights, default_dtype, initial_parameters
from earmark.trainer.pytrees import from_arrays, to_arrays

MODEL_FORMAT = 6
# In the metadata of the weights: the digest of the JSON configuration.
CONFIG_SHA256 = "config_sha256"


class UnreadableModelError(ValueError):
    """This trainer cannot run the stored model. `reason`: see earmark.trainer.failures."""

    reason: Literal["STORED_DATA_DAMAGED", "MODEL_OUTDATED"] = "STORED_DATA_DAMAGED"


class OutdatedModelError(UnreadableModelError):
    """The stored model is of another format or another front end than this trainer's."""

    reason = "MODEL_OUTDATED"


@dataclass(frozen=True, slots=True)
class LearnedType:
    """An artifact type, and what training learned of it besides the weights.

    `smoothing` is the length of the median filter for its scores, an odd number of frames. `offset` is added
    to its logits, so that 0.5 is a good threshold. Detections no further apart than `merge_window_ms` are
    joined, and then those shorter than `min_duration_ms` are dropped, unless the caller sets other values.
    """

    name: str
    smoothing: int = 1
    min_duration_ms: int = 0
    offset: float = 0.0
    merge_window_ms: int = 200


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """The SHA-256 of the files that a model and its base models were trained on, and of others held out."""

    trained: frozenset[str] = frozenset()
    held_out: frozenset[str] = frozenset()

    def extended(self, trained: Collection[str], held_out: Collection[str]) -> "KnownFiles":
        """What is known after a training that starts from this model."""
        every = self.trained | set(trained)
        return KnownFiles(every, (self.held_out | set(held_out)) - every)


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model in memory. `mean` and `deviation` normalise the features."""

    architecture: Architecture
    types: tuple[LearnedType, ...]
    parameters: Weights
    mean: Float32[np.ndarray, " features"]
    deviation: Float32[np.ndarray, " features"]
    files: KnownFiles = KnownFiles()


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model as it is stored: its JSON configuration, and its weights as a safetensors file."""

    config: bytes
    weights: bytes


@dataclass(frozen=True, slots=True)
class StoredModel:
    """Where a model is stored. `size_bytes` and `sha256` are those of the weights."""

    weights: str
    config: str
    size_bytes: int
    sha256: str


def store_model(
    objects: ObjectStore,
    prefix: str,
    model: Model,
    config: TrainingConfig,
    best_epoch: int,
    thresholds: Mapping[str, float],
) -> StoredModel:
    """Stores the weights, and the JSON configuration with the recommended `thresholds`, below `prefix`."""
    description = {
        "format": MODEL_FORMAT,
        "frontend": FRONTEND_VERSION,
        "architecture": asdict(model.architecture),
        "artifact_types": [asdict(learned) for learned in model.types],
        "mean": model.mean.tolist(),
        "deviation": model.deviation.tolist(),
        "recommended_thresholds": dict(thresholds),
        "training_config": asdict(config),
        "best_epoch": best_epoch,
        "files": {"trained": sorted(model.files.trained), "held_out": sorted(model.files.held_out)},
    }
    weights_key, config_key = f"{prefix}/model.safetensors", f"{prefix}/model.json"
    stored_config = json.dumps(description, indent=1).encode()
    # So that the digest of the weights stands for both objects.
    metadata = {CONFIG_SHA256: hashlib.sha256(stored_config).hexdigest()}
    weights = safetensors.numpy.save(to_arrays(model.parameters), metadata)
    objects.put(weights_key, weights)
    objects.put(config_key, stored_config)
    return StoredModel(weights_key, config_key, len(weights), hashlib.sha256(weights).hexdigest())


def read_files(objects: ObjectStore, weights_key: str, config_key: str, sha256: str) -> ModelFiles:
    """Reads the files of a stored model. `sha256` is the digest of its weights.

    Raises ObjectNotFoundError, OutdatedModelError if it is of another version, and UnreadableModelError if it
    is not what was stored.
    """
    files = ModelFiles(objects.get(config_key), objects.get(weights_key))
    if hashlib.sha256(files.weights).hexdigest() != sha256:
        raise UnreadableModelError(f"the weights {weights_key} are damaged: their SHA-256 is another one")
    with _readable(config_key):
        _check_version(json.loads(files.config))
        _check_config(files.config, files.weights)
    return files


def load_model(objects: ObjectStore, weights_key: str, config_key: str, sha256: str) -> Model:
    """Reads a stored model. `sha256` is the digest of its weights. Raises what read_files raises."""
    files = read_files(objects, weights_key, config_key, sha256)
    with _readable(config_key):
        return _model(json.loads(files.config), safetensors.numpy.load(files.weights))


def empty_model(architecture: Architecture) -> Model:
    """A model that has learnt nothing, for code that is compiled before there is one."""
    shapes = jax.eval_shape(lambda: initial_parameters(architecture, 0))
    weights = jax.device_put(jax.tree.map(lambda shape: np.zeros(shape.shape, shape.dtype), shapes))
    zeros, ones = np.zeros(FEATURES, np.float32), np.ones(FEATURES, np.float32)
    return Model(architecture, (LearnedType("any"),), weights, zeros, ones)


@contextmanager
def _readable(config_key: str) -> Iterator[None]:
    """Raises UnreadableModelError if what is stored is no model."""
    try:
        yield
    except OutdatedModelError:
        raise
    except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise UnreadableModelError(f"the model {config_key} cannot be read: {error}") from error


def _check_config(config: bytes, weights: bytes) -> None:
    """Raises ValueError if the configuration is not the one that was stored with these weights."""
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    if hashlib.sha256(config).hexdigest() != header["__metadata__"][CONFIG_SHA256]:
        raise ValueError("it is damaged: its SHA-256 is another one")


def _check_version(config: Mapping[str, Any]) -> None:
    """Raises OutdatedModelError for a model of another format or front end."""
    if (config["format"], config["frontend"]) != (MODEL_FORMAT, FRONTEND_VERSION):
        raise OutdatedModelError(
            f"it is of format {config['format']} and front end {config['frontend']}, this trainer has "
            f"{MODEL_FORMAT} and {FRONTEND_VERSION}: train it again"
        )


def _model(config: Mapping[str, Any], weights: dict[str, np.ndarray]) -> Model:
    stored: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in config["architecture"].items()
    }
    architecture = replace(Architecture(**stored), dtype=default_dtype())
    template = jax.eval_shape(lambda: initial_parameters(architecture, 0))
    return Model(
        architecture,
        tuple(LearnedType(**learned) for learned in config["artifact_types"]),
        jax.device_put(from_arrays(template, weights)),
        np.array(config["mean"], np.float32),
        np.array(config["deviation"], np.float32),
        KnownFiles(frozenset(config["files"]["trained"]), frozenset(config["files"]["held_out"])),
    )
