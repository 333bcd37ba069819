"""Measures an epoch of large datasets on the first device, after compilation and copying.

    python -m bench.accelerator.epochs 30,600

Prints a line of JSON per dataset, which is noise of that many minutes, in files that are repeated.
"""

import json
import time
from collections import deque
from typing import Any

import jax
import typer

from bench.hot_loop import shape_of
from bench.tools.data import default_config, minutes_of, repeated, split, synthetic_dataset
from earmark.trainer.data.loading import Dataset, validation_regions
from earmark.trainer.learning.epochs import Shards, StepTimer, next_epoch, run_epoch
from earmark.trainer.learning.preparation import prepare
from earmark.trainer.learning.step import initial_state
from earmark.trainer.model import Model
from earmark.trainer.network import default_dtype, initial_parameters
from earmark.trainer.scoring.calibration import learned_types
from earmark.trainer.scoring.detection import by_region, frame_scores
from earmark.trainer.scoring.evaluation import evaluate

TYPES = tuple(f"type {number}" for number in range(8))
NOISE_MINUTES = 30


def main(minutes: str) -> None:
    """Measure an epoch of each dataset."""
    lengths = [float(value) for value in minutes.split(",")]
    dataset = synthetic_dataset(TYPES, min(NOISE_MINUTES, *lengths))
    for length in lengths:
        print(json.dumps(epoch(repeated(dataset, length), default_dtype(), jax.devices()[0])), flush=True)


def epoch(dataset: Dataset, dtype: str, device: jax.Device) -> dict[str, Any]:
    """Times of an epoch after compilation and copying (the second epoch), and the device's memory."""
    config = default_config(dataset)
    shape, regions = shape_of(config, dtype), split(dataset, config.validation_split)
    validation = validation_regions(dataset, regions.validation)
    with jax.default_device(device):
        data = prepare(dataset, regions.train, config, shape.grid, shape.windows)
        constants = jax.device_get(data.constants)
        types = learned_types(config.artifact_types, regions.train, constants.positive_weight)
        state = next_epoch(initial_state(initial_parameters(shape.architecture, config.seed)))
        timer, shards = StepTimer(data.steps * config.epochs), Shards(data.shards)
        for number in (1, 2):
            started = time.perf_counter()
            deque(run_epoch(state, timer, shards, data, config, number, shape), maxlen=0)
            trained = time.perf_counter()
            model = Model(shape.architecture, types, state.train.average, constants.mean, constants.deviation)
            tracks = [track for region in validation for track in region.tracks]
            scores = by_region(frame_scores(model, tracks), validation)
            evaluate(validation, scores, types, shape.grid)
            evaluated = time.perf_counter()
            state = next_epoch(state.train)
    return {
        "minutes": round(minutes_of(dataset), 1),
        "training_seconds": round(trained - started, 3),
        "evaluating_seconds": round(evaluated - trained, 3),
        "chunks_per_second": round(data.chunks / (trained - started), 1),
        "memory_mib": memory_mib(device),
    }


def memory_mib(device: jax.Device) -> dict[str, int]:
    """MiB in use now and at the peak since the start; empty if the device does not report them."""
    stats = device.memory_stats() or {}
    keys = {"now": "bytes_in_use", "peak": "peak_bytes_in_use"}
    return {name: round(stats[key] / 2**20) for name, key in keys.items() if key in stats}


if __name__ == "__main__":
    typer.run(main)
