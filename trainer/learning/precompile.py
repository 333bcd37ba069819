"""Compiles training and evaluation when the trainer starts, and shows that both run."""

from dataclasses import replace
from typing import TypeAlias

import jax
import numpy as np
from jaxtyping import Array, Key

from earmark.trainer.chunks import chunk_grid, windows_per_step
from earmark.trainer.data.shards import SHARD_FRAMES
from earmark.trainer.devices import Devices, all_devices
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.job import NetworkSize, TrainingConfig
from earmark.trainer.learning.epochs import batches_of
from earmark.trainer.learning.step import (
    Batches,
    EpochTotals,
    Shape,
    Shard,
    StepConstants,
    TrainState,
    initial_state,
    run_steps,
    start_of_epoch,
)
from earmark.trainer.model import empty_model
from earmark.trainer.network import Architecture, initial_parameters, new_architecture
from earmark.trainer.scoring.detection import frame_scores

StepArguments: TypeAlias = tuple[
    TrainState, EpochTotals, Shard, Batches, StepConstants, Key[Array, ""], Shape
]

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
    architecture, devices = new_architecture(len(DEFAULT.artifact_types), network), all_devices()
    state, _ = run_steps(*step_on_silence(DEFAULT, architecture, devices))
    model = replace(empty_model(architecture), parameters=state.average)
    frame_scores(model, [np.zeros((20_000, FEATURES), np.float16)], devices)


def step_on_silence(config: TrainingConfig, architecture: Architecture, devices: Devices) -> StepArguments:
    """The arguments with which `run_steps` takes a step of a job, on the devices as `run_epoch` has them."""
    grid, outputs = chunk_grid(config), architecture.outputs
    shape = Shape(architecture, grid, windows_per_step(config, grid))
    sharing = devices.sharing(shape.windows)
    weights = np.ones(outputs, np.float32)
    constants = StepConstants(
        learning_rate=np.array(0, np.float32),
        total_steps=np.array(1, np.int32),
        positive_weight=weights,
        output_weight=weights,
        mean=np.zeros(FEATURES, np.float32),
        deviation=np.ones(FEATURES, np.float32),
    )
    shard = Shard(np.zeros((SHARD_FRAMES, FEATURES), np.float16), np.zeros((SHARD_FRAMES, outputs), np.uint8))
    window = np.array([0, 0, SHARD_FRAMES, grid.chunks], np.int32)
    batches = batches_of(np.tile(window, (1, shape.windows, 1)), 0, sharing)
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    state = initial_state(initial_parameters(architecture, config.seed))
    state, totals, shard, constants, key = sharing.whole((state, start_of_epoch(), shard, constants, key))
    return state, totals, shard, batches, constants, key, shape
