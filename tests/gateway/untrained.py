"""A model that no job has trained, in an object store and as a row."""

import hashlib

import jax
import numpy as np

from earmark.storage.objects import ObjectStore
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.job import TrainingConfig
from earmark.trainer.model import LearnedType, Model, store_model
from earmark.trainer.network import Architecture, initial_parameters
from tests.gateway.model_rows import one_model

KEYS = {"weights": "jobs/untrained/model.safetensors", "model_config": "jobs/untrained/model.json"}


def store_untrained_model(objects: ObjectStore) -> None:
    types = ("glitch", "echo")
    architecture = Architecture(outputs=4, width=8, dilations=(1,))
    shapes = jax.eval_shape(lambda: initial_parameters(architecture, 0))
    zeros = jax.tree.map(lambda array: np.zeros(array.shape, array.dtype), shapes)
    mean, deviation = np.zeros(FEATURES, np.float32), np.ones(FEATURES, np.float32)
    model = Model(architecture, tuple(map(LearnedType, types)), zeros, mean, deviation)
    config = TrainingConfig(types, 1, 0.2, 0.001, 8, 500, 250, 0)
    store_model(objects, "jobs/untrained", model, config, 1, {})


async def untrained_model(database_url, objects: ObjectStore | None = None, **columns) -> str:
    """The id of the model; `objects`: the store that has it."""
    if objects is not None:
        columns["sha256"] = hashlib.sha256(objects.get(KEYS["weights"])).hexdigest()
    return await one_model(database_url, types=("glitch", "echo"), active=True, **KEYS | columns)
