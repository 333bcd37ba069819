"""Compiles training and evaluation when the trainer starts, and shows that both run."""

import jax
import numpy as np

from earmark.trainer.chunks import chunk_grid, windows_per_step
from earmark.trainer.data.shards import SHARD_FRAMES
from earmark.trainer.devices import all_devices
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.job import NetworkSize, TrainingConfig
from earmark.trainer.learning.epochs import batches_of
from earmark.trainer.learning.step import (
    Shape,
    Shard,
    StepConstants,
    initial_state,
    run_steps,
    start_of_epoch,
)
from earmark.trainer.model import LearnedType, Model
from earmark.trainer.network import initial_parameters, new_architecture
from earmark.trainer.scoring.detection import frame_scores

# What gateways send if the caller sets nothing. The types of a job differ, but jobs with a similar number of
# types share compiled code.
DEFAULT = TrainingConfig(
    artifact_types=("any",),
    epochs=20,
    validation_split=0.2,
    learning_rate=0.001,
    batch_size=32,
    chunk_size_ms=500,
    stride_ms=250,
    seed=0,
)


def precompile(network: NetworkSize = "standard") -> None:
    """Compiles the code for a job of DEFAULT, and runs it: takes a step on silence and scores it.

    Raises JaxRuntimeError if the device does not compute.
    """
    architecture = new_architecture(len(DEFAULT.artifact_types), network)
    outputs = architecture.outputs
    grid = chunk_grid(DEFAULT)
    shape = Shape(architecture, grid, windows_per_step(DEFAULT, grid))
    parameters = initial_parameters(architecture, DEFAULT.seed)
    zeros, ones = np.zeros(FEATURES, np.float32), np.ones(FEATURES, np.float32)
    weights = np.ones(outputs, np.float32)
    rate, total_steps = np.array(0, np.float32), np.array(1, np.int32)
    constants = StepConstants(rate, total_steps, weights, weights, zeros, ones)
    shard = Shard(np.zeros((SHARD_FRAMES, FEATURES), np.float16), np.zeros((SHARD_FRAMES, outputs), np.uint8))
    window = np.array([0, 0, SHARD_FRAMES, grid.chunks], np.int32)
    devices = all_devices()
    sharing = devices.sharing(shape.windows)
    one_step = batches_of(np.tile(window, (1, shape.windows, 1)), 0, sharing)
    key = jax.random.fold_in(jax.random.key(DEFAULT.seed), 1)
    state, totals = sharing.whole((initial_state(parameters), start_of_epoch()))
    shard, constants, key = sharing.whole((shard, constants, key))
    state, _ = run_steps(state, totals, shard, one_step, constants, key, shape)
    model = Model(architecture, (LearnedType("any"),), state.average, zeros, ones)
    frame_scores(model, [np.zeros((20_000, FEATURES), np.float16)], devices)
