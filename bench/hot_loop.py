"""Measures the trainer's hot loop against the machine's own rate of matrix products.

    python -m bench.hot_loop [--minutes 30] [--types 8] [--seconds 10]

Alternates training steps of the default configuration on synthetic features with matrix products, and prints
one line of JSON; bench/README.md describes it.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any

import jax
import numpy as np
import typer

from bench.tools.data import FRAMES_PER_MINUTE, default_config, split, synthetic_dataset
from bench.tools.roofline import MatmulRate, flops, products, square, step_flops
from earmark.trainer.chunks import chunk_grid, windows_per_step
from earmark.trainer.data.loading import Dataset
from earmark.trainer.data.shards import SHARD_FRAMES
from earmark.trainer.job import TrainingConfig
from earmark.trainer.learning.epochs import CALL_SECONDS, batches_of, draw_steps
from earmark.trainer.learning.preparation import prepare
from earmark.trainer.learning.step import (
    CALL_STEPS,
    Shape,
    Shard,
    initial_state,
    run_steps,
    start_of_epoch,
)
from earmark.trainer.model import LearnedType, Model
from earmark.trainer.network import Architecture, default_dtype, initial_parameters, output_bucket
from earmark.trainer.scoring.detection import frame_scores

ROUNDS = 10
MATMUL_SHARE = 0.25  # of the loop's time, for each product


@dataclass(frozen=True, slots=True)
class Speed:
    """The rates of the loop in one round."""

    steps_per_second: float
    chunks_per_second: float


def shape_of(config: TrainingConfig, dtype: str) -> Shape:
    """The shape that the job's step is compiled for, with a network that computes in `dtype`."""
    grid, outputs = chunk_grid(config), output_bucket(len(config.artifact_types))
    return Shape(Architecture(outputs, dtype=dtype), grid, windows_per_step(config, grid))


class HotLoop:
    """The training step of the default configuration, on one device, on the first shard of the data."""

    def __init__(self, dataset: Dataset, dtype: str, device: jax.Device) -> None:
        config = default_config(dataset)
        self.shape = shape_of(config, dtype)
        self.stride_ms = config.stride_ms
        self._types = tuple(LearnedType(kind) for kind in config.artifact_types)
        data = prepare(dataset, split(dataset, 0).train, config, self.shape.grid, self.shape.windows)
        first = data.shards[0]
        rng = np.random.default_rng(config.seed)
        self._rows = draw_steps(first.windows, self.shape.windows, rng)[:CALL_STEPS]
        state = initial_state(initial_parameters(self.shape.architecture, config.seed))
        shard = Shard(first.features, first.targets)
        key = jax.random.key(config.seed)
        self._state, self._progressed, self._shard, self._constants, self._key = jax.device_put(
            (state, start_of_epoch(), shard, data.constants, key), device
        )
        self._step_seconds = CALL_SECONDS
        self.take(0)

    def take(self, steps: int) -> tuple[float, int]:
        """Takes the epoch's first `steps` in one call. Returns the sum of all losses and the chunks."""
        rows = self._rows[:steps]
        self._state, self._progressed = run_steps(*self._arguments(rows), self.shape)
        return float(self._progressed.loss), int(rows[..., 3].sum())

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Scores of one file by the current weights: (frames, FEATURES) to (outputs in time, types)."""
        constants, state = jax.device_get(self._constants), self._state
        model = Model(
            self.shape.architecture, self._types, state.average, constants.mean, constants.deviation
        )
        return frame_scores(model, [features])[0]

    def measure(self, seconds: float) -> Speed:
        """Takes steps for about `seconds`, as many per call as training does."""
        started = time.perf_counter()
        steps = chunks = 0
        while (elapsed := time.perf_counter() - started) < seconds:
            count = max(1, min(len(self._rows), int(CALL_SECONDS / self._step_seconds)))
            called = time.perf_counter()
            _, chunks_of_call = self.take(count)
            self._step_seconds = (time.perf_counter() - called) / count
            steps, chunks = steps + count, chunks + chunks_of_call
        return Speed(steps / elapsed, chunks / elapsed)

    def compiled_flops(self) -> float:
        """XLA's own count for one pass of the loop's body, which includes more than matrix products."""
        compiled = run_steps.lower(*self._arguments(self._rows), self.shape).compile()
        analysis: Any = compiled.cost_analysis()
        return float(analysis["flops"])

    def _arguments(self, rows: np.ndarray) -> tuple[Any, ...]:
        return (
            self._state,
            self._progressed,
            self._shard,
            batches_of(rows, 0),
            self._constants,
            self._key,
        )


def measure(dataset: Dataset, seconds: float, dtype: str, device: jax.Device) -> dict[str, Any]:
    """The figures of the loop on one device, which trains for `seconds` in all."""
    loop = HotLoop(dataset, dtype, device)
    largest = max(products(loop.shape), key=flops)
    rates = {
        f"{kind} {'x'.join(map(str, product))}": MatmulRate(product, kind, device)
        for kind in sorted({"float32", dtype})
        for product in (square(device), largest)
    }
    speeds: list[Speed] = []
    flops_per_second: dict[str, list[float]] = {name: [] for name in rates}
    for _ in range(ROUNDS):
        speeds.append(loop.measure(seconds / ROUNDS))
        for name, rate in rates.items():
            flops_per_second[name].append(rate.measure(MATMUL_SHARE * seconds / ROUNDS))
    return {
        "device": device.device_kind,
        "threads": len(os.sched_getaffinity(0)),
        "dtype": dtype,
        **_figures(loop, speeds, flops_per_second),
    }


def _figures(loop: HotLoop, speeds: list[Speed], rates: Mapping[str, list[float]]) -> dict[str, Any]:
    """Medians over the rounds. Utilisation is computed per round: a busy machine slows both parts of it."""
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
        "matmul_gflop_per_second": {name: round(median(rounds) / 1e9, 1) for name, rounds in rates.items()},
        "model_flops_utilisation_percent": round(100 * median(shares), 1),
    }


def main(
    minutes: Annotated[float, typer.Option(min=1, max=SHARD_FRAMES / FRAMES_PER_MINUTE)] = 30,
    types: Annotated[int, typer.Option(min=1)] = 8,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of training, without the products.")] = 10,
) -> None:
    """Measure the hot loop."""
    dataset = synthetic_dataset([f"type {number}" for number in range(types)], minutes)
    print(json.dumps(measure(dataset, seconds, default_dtype(), jax.devices()[0])))


if __name__ == "__main__":
    typer.run(main)
