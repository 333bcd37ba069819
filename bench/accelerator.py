"""Checks an accelerator against the CPU, and measures what it makes of large datasets.

    python -m bench.accelerator [--train DIR]

DIR holds audio files and annotations.csv; without it the data is made up. Prints one line of JSON, which
bench/README.md explains, and ends with status 1 where the results differ too much, or without an accelerator.
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

from bench.hot_loop import HotLoop, default_config, measure, shape_of
from bench.tools.data import made_up, minutes_of, read, repeated, split
from trainer.data.loading import Dataset, validation_regions
from trainer.learning.epochs import Shards, StepTimer, next_epoch, run_epoch
from trainer.learning.preparation import prepare
from trainer.learning.step import initial_state
from trainer.model import Model
from trainer.network import initial_parameters
from trainer.scoring.calibration import learned_types
from trainer.scoring.detection import frame_scores
from trainer.scoring.evaluation import evaluate

MINUTES = (30, 600)
TYPES = 8
STEPS = 20
SECONDS = 10
# Losses may differ by a share of the CPU's, scores, which are 0-1, by so much at most. An accelerator
# multiplies float32 with fewer bits than that (TF32), and adds in another order.
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
    loaded = read(train) if train else made_up([f"type {number}" for number in range(TYPES)], MINUTES[0])
    figures = compared_and_measured(loaded, device, jax.devices("cpu")[0], MINUTES, SECONDS)
    print(json.dumps(figures))
    sys.exit(not figures["correct"])


def compared_and_measured(
    loaded: Dataset, device: jax.Device, reference: jax.Device, minutes: tuple[float, ...], seconds: float
) -> dict[str, Any]:
    """Every figure of `device`, with `reference` as the truth and an epoch of each of `minutes`."""
    differences = {dtype: difference(loaded, dtype, device, reference) for dtype in TOLERANCES}
    correct = all(
        value <= TOLERANCES[dtype][name] for dtype, of in differences.items() for name, value in of.items()
    )
    return {
        "device": device.device_kind,
        "correct": correct,
        "differences": differences,
        "epochs": [epoch(repeated(loaded, length), "bfloat16", device) for length in minutes],
        "hot_loop": measure(loaded, seconds, "bfloat16", device),
    }


def difference(loaded: Dataset, dtype: str, device: jax.Device, reference: jax.Device) -> dict[str, float]:
    """How far `device`, computing in `dtype`, is from `reference`, computing in float32, on equal work."""
    here, there = outcome(loaded, dtype, device), outcome(loaded, "float32", reference)
    units = {name: np.abs(value) if name.startswith("loss") else 1 for name, value in there.items()}
    return {name: round(float((np.abs(here[name] - there[name]) / units[name]).max()), 6) for name in there}


def outcome(loaded: Dataset, dtype: str, device: jax.Device) -> dict[str, np.ndarray]:
    """The loss of one step and the mean of STEPS more, and one file's scores before them and after."""
    loop, file = HotLoop(loaded, dtype, device), loaded.features[0]
    before = loop.scores(file)
    first, _ = loop.take(1)
    later, _ = loop.take(STEPS)
    return {
        "loss": np.array(first),
        "loss_after_steps": np.array((later - first) / STEPS),
        "scores": before,
        "scores_after_steps": loop.scores(file),
    }


def epoch(loaded: Dataset, dtype: str, device: jax.Device) -> dict[str, Any]:
    """What an epoch takes once all is compiled and the data in its place, and the device's memory then."""
    config = default_config(loaded)
    shape, divided = shape_of(config, dtype), split(loaded, config.validation_split)
    regions = validation_regions(loaded, divided.validation, config.artifact_types)
    with jax.default_device(device):
        data = prepare(loaded, divided.train, config, shape.grid, shape.windows)
        constants = jax.device_get(data.constants)
        types = learned_types(config.artifact_types, divided.train, constants.positive_weight)
        state = next_epoch(initial_state(initial_parameters(shape.architecture, config.seed)))
        timer, shards = StepTimer(data.steps * config.epochs), Shards(data.shards)
        for number in (1, 2):
            started = time.perf_counter()
            deque(run_epoch(state, timer, shards, data, config, number, shape), maxlen=0)
            trained = time.perf_counter()
            model = Model(shape.architecture, types, state.train.average, constants.mean, constants.deviation)
            evaluate(regions, frame_scores(model, [region.features for region in regions]), types, shape.grid)
            evaluated = time.perf_counter()
            state = next_epoch(state.train)
    return {
        "minutes": round(minutes_of(loaded), 1),
        "training_seconds": round(trained - started, 3),
        "evaluating_seconds": round(evaluated - trained, 3),
        "chunks_per_second": round(data.chunks / (trained - started), 1),
        "memory_mib": memory_mib(device),
    }


def memory_mib(device: jax.Device) -> dict[str, int]:
    """In use now and at its highest since the start, where the device tells."""
    told = device.memory_stats() or {}
    named = {"now": "bytes_in_use", "peak": "peak_bytes_in_use"}
    return {name: round(told[key] / 2**20) for name, key in named.items() if key in told}


if __name__ == "__main__":
    typer.run(main)
