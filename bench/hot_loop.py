"""Measures the trainer's hot loop against the machine's own rate of matrix products.

    python -m bench.hot_loop [--minutes 30] [--types 8] [--seconds 10]

Takes steps of the default configuration on made-up features, in turn with matrix products, and prints one
line of JSON; bench/README.md says what is in it.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Annotated, Any

import jax
import numpy as np
import typer

from bench.tools.data import FRAMES_PER_MINUTE, made_up, split, types_of
from bench.tools.roofline import MatmulRate, flops, products, square, step_flops
from trainer.chunks import chunk_grid, windows_per_step
from trainer.data.loading import Dataset
from trainer.data.shards import SHARD_FRAMES
from trainer.job import TrainingConfig
from trainer.learning.epochs import CALL_SECONDS, batches_of, drawn
from trainer.learning.precompile import DEFAULT
from trainer.learning.preparation import prepare
from trainer.learning.step import (
    CALL_STEPS,
    Shape,
    Shard,
    initial_state,
    run_steps,
    start_of_epoch,
)
from trainer.model import LearnedType, Model
from trainer.network import Architecture, default_dtype, initial_parameters, output_bucket
from trainer.scoring.detection import frame_scores

ROUNDS = 10
MATMUL_SHARE = 0.25  # of the loop's time, for each product


@dataclass(frozen=True, slots=True)
class Speed:
    """What the loop did in a round."""

    steps_per_second: float
    chunks_per_second: float


def default_config(loaded: Dataset) -> TrainingConfig:
    """Of a job that learns every type that occurs and sets nothing else."""
    return replace(DEFAULT, artifact_types=types_of(loaded))


def shape_of(config: TrainingConfig, dtype: str) -> Shape:
    """What the job's step would be compiled for, with a network that computes in `dtype`."""
    grid, outputs = chunk_grid(config), output_bucket(len(config.artifact_types))
    return Shape(Architecture(outputs, dtype=dtype), grid, windows_per_step(config, grid))


class HotLoop:
    """The step of the default configuration, on one device and on as much of the data as one shard holds."""

    def __init__(self, loaded: Dataset, dtype: str, device: jax.Device) -> None:
        config = default_config(loaded)
        self.shape = shape_of(config, dtype)
        self.stride_ms = config.stride_ms
        self._types = tuple(LearnedType(kind) for kind in config.artifact_types)
        data = prepare(loaded, split(loaded, 0).train, config, self.shape.grid, self.shape.windows)
        first = data.shards[0]
        rng = np.random.default_rng(config.seed)
        self._rows = drawn(first.windows, self.shape.windows, rng)[:CALL_STEPS]
        state = initial_state(initial_parameters(self.shape.architecture, config.seed))
        shard = Shard(first.features, first.targets)
        key = jax.random.key(config.seed)
        self._state, self._progressed, self._shard, self._constants, self._key = jax.device_put(
            (state, start_of_epoch(), shard, data.constants, key), device
        )
        self._step_seconds = CALL_SECONDS
        self.take(0)

    def take(self, steps: int) -> tuple[float, int]:
        """Takes the epoch's first `steps` in one call: the sum of their losses so far, and their chunks."""
        rows = self._rows[:steps]
        self._state, self._progressed = run_steps(*self._arguments(rows), self.shape)
        return float(self._progressed.loss), int(rows[..., 3].sum())

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Of one file's (frames, FEATURES), by the weights so far: (outputs in time, types)."""
        constants, state = jax.device_get(self._constants), self._state
        model = Model(
            self.shape.architecture, self._types, state.average, constants.mean, constants.deviation
        )
        return frame_scores(model, [features])[0]

    def measure(self, seconds: float) -> Speed:
        """Calls of as many steps as training makes them, for about `seconds`."""
        started = time.perf_counter()
        steps = chunks = 0
        while (spent := time.perf_counter() - started) < seconds:
            count = max(1, min(len(self._rows), int(CALL_SECONDS / self._step_seconds)))
            begun = time.perf_counter()
            _, taken = self.take(count)
            self._step_seconds = (time.perf_counter() - begun) / count
            steps, chunks = steps + count, chunks + taken
        return Speed(steps / spent, chunks / spent)

    def compiled_flops(self) -> float:
        """By XLA's own count, that of the loop's body once; it includes what is no matrix product."""
        return run_steps.lower(*self._arguments(self._rows), self.shape).compile().cost_analysis()["flops"]

    def _arguments(self, rows: np.ndarray) -> tuple[Any, ...]:
        return (
            self._state,
            self._progressed,
            self._shard,
            batches_of(rows, 0),
            self._constants,
            self._key,
        )


def measure(loaded: Dataset, seconds: float, dtype: str, device: jax.Device) -> dict[str, Any]:
    """The figures of the loop on one device, `seconds` of it in all."""
    loop = HotLoop(loaded, dtype, device)
    largest = max(products(loop.shape), key=flops)
    rates = {
        f"{kind} {'x'.join(map(str, product))}": MatmulRate(product, kind, device)
        for kind in sorted({"float32", dtype})
        for product in (square(device), largest)
    }
    speeds: list[Speed] = []
    found: dict[str, list[float]] = {name: [] for name in rates}
    for _ in range(ROUNDS):
        speeds.append(loop.measure(seconds / ROUNDS))
        for name, rate in rates.items():
            found[name].append(rate.measure(MATMUL_SHARE * seconds / ROUNDS))
    return {
        "device": device.device_kind,
        "threads": len(os.sched_getaffinity(0)),
        "dtype": dtype,
        **_figures(loop, speeds, found),
    }


def _figures(loop: HotLoop, speeds: list[Speed], rates: Mapping[str, list[float]]) -> dict[str, Any]:
    """Medians of the rounds. Utilisation is taken per round, for a busy machine slows both sides of it."""
    steps = median(speed.steps_per_second for speed in speeds)
    chunks = median(speed.chunks_per_second for speed in speeds)
    operations = step_flops(loop.shape)
    fastest = [max(of_round) for of_round in zip(*rates.values(), strict=True)]
    shares = [speed.steps_per_second * operations / rate for speed, rate in zip(speeds, fastest, strict=True)]
    return {
        "steps_per_second": round(steps, 2),
        "windows_per_second": round(steps * loop.shape.windows, 2),
        "chunks_per_second": round(chunks, 1),
        "audio_seconds_per_second": round(chunks * loop.stride_ms / 1000, 1),
        "gflop_per_step": round(operations / 1e9, 4),
        "gflop_per_step_by_xla": round(loop.compiled_flops() / 1e9, 4),
        "gflop_per_second": round(steps * operations / 1e9, 1),
        "matmul_gflop_per_second": {name: round(median(of) / 1e9, 1) for name, of in rates.items()},
        "model_flops_utilisation_percent": round(100 * median(shares), 1),
    }


def main(
    minutes: Annotated[float, typer.Option(min=1, max=SHARD_FRAMES / FRAMES_PER_MINUTE)] = 30,
    types: Annotated[int, typer.Option(min=1)] = 8,
    seconds: Annotated[float, typer.Option(min=1, help="Of training; the products come on top.")] = 10,
) -> None:
    """Measure the hot loop."""
    loaded = made_up([f"type {number}" for number in range(types)], minutes)
    print(json.dumps(measure(loaded, seconds, default_dtype(), jax.devices()[0])))


if __name__ == "__main__":
    typer.run(main)
