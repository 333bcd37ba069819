"""Compares the first device with the CPU: equal steps on equal data, in each type of the activations.

    python -m bench.accelerator.correctness [--train DIR]

DIR contains audio files and annotations.csv; without it the data is noise. Prints one line of JSON, which
bench/README.md explains. Ends with status 1 if the results differ too much.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import typer

from bench.hot_loop import HotLoop
from bench.tools.data import read, synthetic_dataset
from earmark.trainer.data.loading import Dataset

MINUTES = 10
TYPES = 8
STEPS = 100  # of which 80 warm up: enough that the weights move
# The largest differences allowed: of losses relative to the CPU's, of scores (0-1) absolute. An accelerator
# adds in another order.
TOLERANCES = {
    "float32": {"loss": 1e-4, "loss_after_steps": 1e-2, "scores": 1e-3, "scores_after_steps": 2e-2},
    "bfloat16": {"loss": 3e-2, "loss_after_steps": 5e-2, "scores": 5e-2, "scores_after_steps": 1e-1},
}


def main(
    train: Annotated[Path | None, typer.Option(help="Folder of audio and annotations.csv.")] = None,
) -> None:
    """Compare this machine's first device with its CPU."""
    types = [f"type {number}" for number in range(TYPES)]
    dataset = read(train) if train else synthetic_dataset(types, MINUTES)
    device, reference = jax.devices()[0], jax.devices("cpu")[0]
    # By default, NVIDIA GPUs multiply float32 with the 10 bits of TF32.
    with jax.default_matmul_precision("highest"):
        differences = {dtype: difference(dataset, dtype, device, reference) for dtype in TOLERANCES}
    correct = all(
        value <= TOLERANCES[dtype][name]
        for dtype, by_name in differences.items()
        for name, value in by_name.items()
    )
    print(json.dumps({"device": device.device_kind, "correct": correct, "differences": differences}))
    sys.exit(not correct)


def difference(dataset: Dataset, dtype: str, device: jax.Device, reference: jax.Device) -> dict[str, float]:
    """The largest differences, on equal work, between `device` in `dtype` and `reference` in float32."""
    actual, expected = outcome(dataset, dtype, device), outcome(dataset, "float32", reference)
    units = {name: np.abs(value) if name.startswith("loss") else 1 for name, value in expected.items()}
    largest = {name: (np.abs(actual[name] - expected[name]) / units[name]).max() for name in expected}
    return {name: float(f"{value:.2g}") for name, value in largest.items()}


def outcome(dataset: Dataset, dtype: str, device: jax.Device) -> dict[str, np.ndarray]:
    """The loss of one step, the mean loss of STEPS more, and one file's scores before and after them."""
    file = dataset.features[0].tracks[0]
    with jax.default_device(device):  # where the scores are computed
        loop = HotLoop(dataset, dtype, device)
        before = loop.scores(file)
        first, _ = loop.take(1)
        later, _ = loop.take(STEPS)
        return {
            "loss": np.array(first),
            "loss_after_steps": np.array((later - first) / STEPS),
            "scores": before,
            "scores_after_steps": loop.scores(file),
        }


if __name__ == "__main__":
    typer.run(main)
