"""A model that no job has trained, in an object store and as a row."""

import hashlib
from collections.abc import Mapping

import jax
import numpy as np

from earmark.storage.objects import ObjectStore
from earmark.trainer.features.frontend import FEATURES, SPECTRUM
from earmark.trainer.features.spectrum import FLOORS
from earmark.trainer.job import TrainingConfig
from earmark.trainer.model import LearnedType, Model, store_model
from earmark.trainer.network import STEP, Architecture, initial_parameters
from earmark.trainer.pytrees import from_arrays, to_arrays
from tests.gateway.model_rows import one_model

KEYS = {
    "weights": "default/jobs/untrained/model.safetensors",
    "model_config": "default/jobs/untrained/model.json",
}
LOUD_KEYS = {name: key.replace("untrained", "loud") for name, key in KEYS.items()}
RMS = SPECTRUM + FLOORS + 1  # a column of the features, ln of the amplitude
LOUD = np.log(0.1)


def store_untrained_model(objects: ObjectStore) -> None:
    """A model with the score 0.5 everywhere."""
    _store(objects, "default/jobs/untrained", {})


def store_loud_model(objects: ObjectStore) -> None:
    """A model that finds a glitch wherever the root mean square is above 0.1, and never an echo."""
    kernel, head = np.zeros((2 * (FEATURES + 1), 8), np.float32), np.zeros((8, STEP * 4), np.float32)
    kernel[RMS, 0], kernel[RMS, 1] = 100, -100
    head[0, ::4] = 20  # where it is loud, the norm leaves the first unit only
    weights = {"stem/kernel": kernel, "norm/scale": np.ones(8, np.float32), "head/kernel": head}
    weights["head/bias"] = np.full(STEP * 4, -10, np.float32)
    _store(objects, "default/jobs/loud", {f"{name}/value": array for name, array in weights.items()})


def _store(objects: ObjectStore, prefix: str, weights: Mapping[str, np.ndarray]) -> None:
    types = ("glitch", "echo")
    architecture = Architecture(outputs=4, width=8, dilations=(1,))
    shapes = jax.eval_shape(lambda: initial_parameters(architecture, 0))
    zeros = to_arrays(jax.tree.map(lambda array: np.zeros(array.shape, array.dtype), shapes))
    parameters = from_arrays(shapes, {**zeros, **weights})
    mean, deviation = np.zeros(FEATURES, np.float32), np.ones(FEATURES, np.float32)
    mean[RMS] = LOUD
    model = Model(architecture, tuple(map(LearnedType, types)), parameters, mean, deviation)
    config = TrainingConfig(types, 1, 0.2, 0.001, 8, 500, 250, 0)
    store_model(objects, prefix, model, config, 1, {})


async def loud_model(database_url, objects: ObjectStore) -> str:
    """The id of the model that `store_loud_model` stored."""
    sha256 = hashlib.sha256(objects.get(LOUD_KEYS["weights"])).hexdigest()
    return await untrained_model(database_url, sha256=sha256, **LOUD_KEYS)


async def untrained_model(database_url, objects: ObjectStore | None = None, **columns) -> str:
    """The id of the model; `objects`: the store that has it."""
    if objects is not None:
        columns["sha256"] = hashlib.sha256(objects.get(KEYS["weights"])).hexdigest()
    return await one_model(database_url, types=("glitch", "echo"), active=True, **KEYS | columns)
