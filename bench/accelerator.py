"""Checks an accelerator against the CPU, and measures its speed and memory on large datasets.

    python -m bench.accelerator [--train DIR]

DIR contains audio files and annotations.csv; without it the data is synthetic. Prints one line of JSON, which
bench/README.md explains. Ends with status 1 if the results differ too much or there is no accelerator.
"""

import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import typer

from bench.hot_loop import HotLoop, measure, shape_of
from bench.tools.data import default_config, minutes_of, read, repeated, split, synthetic_dataset
from earmark.trainer.data.loading import Dataset, validation_regions
from earmark.trainer.learning.epochs import Shards, StepTimer, next_epoch, run_epoch
from earmark.trainer.learning.preparation import prepare
from earmark.trainer.learning.step import initial_state
from earmark.trainer.model import Model
from earmark.trainer.network import initial_parameters
from earmark.trainer.scoring.calibration import learned_types
from earmark.trainer.scoring.detection import frame_scores
from earmark.trainer.scoring.evaluation import evaluate

MINUTES = (30, 600)
TYPES = 8
STEPS = 20
SECONDS = 10
# The largest differences allowed: of losses relative to the CPU's, of scores (0-1) absolute. An accelerator
# multiplies float32 with fewer bits (TF32) and adds in another order.
TOLERANCES = {
    "float32": {"loss": 1e-3, "loss_after_steps": 1e-2, "scores": 1e-2, "scores_after_steps": 2e-2},
    "bfloat16": {"loss": 3e-2, "loss_after_steps": 5e-2, "scores": 5e-2, "scores_after_steps": 1e-1},
}


def main(
    train: Annotated[Path | None, typer.Option(help="Folder of audio and annotations.csv.")] = None,
) -> None:
    """Check and measure this machine's accelerator."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        raise SystemExit(
            "no accelerator: this machine's only device is cpu; run this where jax.devices() shows another, "
            "with the extra earmark[cuda] installed"
        )
    types = [f"type {number}" for number in range(TYPES)]
    dataset = read(train) if train else synthetic_dataset(types, MINUTES[0])
    figures = compared_and_measured(dataset, device, jax.devices("cpu")[0], MINUTES, SECONDS)
    print(json.dumps(figures))
    sys.exit(not figures["correct"])


def compared_and_measured(
    dataset: Dataset, device: jax.Device, reference: jax.Device, minutes: tuple[float, ...], seconds: float
) -> dict[str, Any]:
    """All figures of `device`: its results against those of `reference`, and epochs of `minutes`."""
    differences = {dtype: difference(dataset, dtype, device, reference) for dtype in TOLERANCES}
    correct = all(
        value <= TOLERANCES[dtype][name]
        for dtype, by_name in differences.items()
        for name, value in by_name.items()
    )
    return {
        "device": device.device_kind,
        "correct": correct,
        "differences": differences,
        "epochs": [epoch(repeated(dataset, length), "bfloat16", device) for length in minutes],
        "hot_loop": measure(dataset, seconds, "bfloat16", device),
    }


def difference(dataset: Dataset, dtype: str, device: jax.Device, reference: jax.Device) -> dict[str, float]:
    """The largest differences, on equal work, between `device` in `dtype` and `reference` in float32."""
    actual, expected = outcome(dataset, dtype, device), outcome(dataset, "float32", reference)
    units = {name: np.abs(value) if name.startswith("loss") else 1 for name, value in expected.items()}
    return {
        name: round(float((np.abs(actual[name] - expected[name]) / units[name]).max()), 6)
        for name in expected
    }


def outcome(dataset: Dataset, dtype: str, device: jax.Device) -> dict[str, np.ndarray]:
    """The loss of one step, the mean loss of STEPS more, and one file's scores before and after them."""
    loop, file = HotLoop(dataset, dtype, device), dataset.features[0]
    before = loop.scores(file)
    first, _ = loop.take(1)
    later, _ = loop.take(STEPS)
    return {
        "loss": np.array(first),
        "loss_after_steps": np.array((later - first) / STEPS),
        "scores": before,
        "scores_after_steps": loop.scores(file),
    }


def epoch(dataset: Dataset, dtype: str, device: jax.Device) -> dict[str, Any]:
    """Times of an epoch after compilation and copying (the second epoch), and the device's memory."""
    config = default_config(dataset)
    shape, regions = shape_of(config, dtype), split(dataset, config.validation_split)
    validation = validation_regions(dataset, regions.validation, config.artifact_types)
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
            scores = frame_scores(model, [region.features for region in validation])
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
