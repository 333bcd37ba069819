"""Trains one small job on one and on eight devices of this process, and prints what came out as JSON.

    python -m tests.trainer.learning.on_eight_devices FOLDER

The number of devices is fixed when JAX starts, so it is a process of its own. The folder gets the objects.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from earmark.storage.objects import ObjectStore
from earmark.trainer.data import shards
from earmark.trainer.devices import together
from earmark.trainer.events import Checkpoint, Completed, EpochCompleted, Event, TrainingStoppedError
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.features.stored import FileFeatures, pack_features
from earmark.trainer.job import Annotation, Stop, TrainingFile, TrainingJob
from earmark.trainer.learning import epochs, loop, precompile, warm_start
from earmark.trainer.model import load_model
from earmark.trainer.network import Architecture
from earmark.trainer.scoring.detection import raw_scores
from earmark.trainer.workers.device import warm_up
from tests.trainer.jobs import config

EPOCHS = 3
FILES = 8
FRAMES = 2_000  # of a file
WINDOWS = 15  # of a step: eight devices get two each, one of which is empty


class CountedSteps:
    """`run_steps`, compiled once for each number of devices, which `flops` has XLA's count for."""

    def __init__(self, run_steps: Any) -> None:
        self._run_steps = run_steps
        self._compiled: dict[int, Any] = {}
        self.flops: dict[int, float] = {}

    def __call__(self, state: Any, *arguments: Any) -> Any:
        *arrays, shape = arguments
        count = len(jax.tree.leaves(state)[0].devices())
        if count not in self._compiled:
            self._compiled[count] = self._run_steps.lower(state, *arrays, shape).compile()
            self.flops[count] = self._compiled[count].cost_analysis()["flops"]
        return self._compiled[count](state, *arrays)


def features(number: int) -> np.ndarray:
    """(FRAMES, FEATURES): noise that is another one for 200 ms in every second."""
    values = np.random.default_rng(number).normal(0, 1, (FRAMES, FEATURES))
    values[np.arange(FRAMES) % 100 < 20, :40] += 2
    return values.astype(np.float16)


def stored_file(objects: ObjectStore, number: int) -> TrainingFile:
    key = f"features/{number}"
    objects.put(key, pack_features(FileFeatures.of_mono(features(number))))
    marks = tuple(Annotation("noisy", 10 * start, 10 * start + 200) for start in range(0, FRAMES, 100))
    return TrainingFile(str(number), f"{number:064d}", key, 10 * FRAMES, marks)


def run(job: TrainingJob, objects: ObjectStore, devices: int, until: int = EPOCHS) -> dict[str, Any]:
    """The job on so many devices, handed back after epoch `until` unless it is the last."""
    loop.all_devices = lambda: together(jax.devices()[:devices])
    seen: list[Event] = []
    seen.extend(handed_back(job, objects, until))
    done = seen[-1] if isinstance(seen[-1], Completed) else None
    return {
        "losses": [[e.train_loss, e.validation_loss] for e in seen if isinstance(e, EpochCompleted)],
        "checkpoint": [event.key for event in seen if isinstance(event, Checkpoint)][-1],
        "model": done and [done.weights, done.config, done.sha256],
    }


def handed_back(job: TrainingJob, objects: ObjectStore, until: int) -> Iterator[Event]:
    done = 0
    events = loop.train(
        job, objects, lambda: Stop.HAND_BACK if until < EPOCHS and done == until else None, "tiny"
    )
    try:
        for event in events:
            done = event.epoch if isinstance(event, EpochCompleted) else done
            yield event
    except TrainingStoppedError:
        return


def score_difference(objects: ObjectStore, model: list[str]) -> float:
    """The largest between the scores of one device and of eight."""
    loaded = load_model(objects, *model)
    files = [features(number) for number in range(2)]
    one, eight = (
        np.concatenate(raw_scores(loaded, files, devices=together(jax.devices()[:count]))) for count in (1, 8)
    )
    return float(np.abs(one - eight).max())


def main(folder: str) -> None:
    objects = ObjectStore.open(folder)
    files = tuple(stored_file(objects, number) for number in range(FILES))
    settings = {"artifact_types": ("noisy",), "batch_size": 8 * WINDOWS, "stride_ms": 500, "epochs": EPOCHS}
    job = TrainingJob("job", 1, config(learning_rate=0.02, **settings), files, "")
    shards.SHARD_FRAMES = precompile.SHARD_FRAMES = 1 << 14
    epochs.CALL_STEPS = 4
    steps = epochs.run_steps = CountedSteps(epochs.run_steps)
    architecture = Architecture(8, width=16, dilations=(1,))
    warm_start.new_architecture = lambda *_: architecture

    def of(name: str, devices: int, after: str | None = None, until: int = EPOCHS) -> dict[str, Any]:
        return run(replace(job, prefix=name, resume_from=after), objects, devices, until)

    one = of("one", 1)
    # The code is compiled for these arguments, and raises for any others.
    steps(*precompile.step_on_silence(job.config, architecture, together(jax.devices())))
    eight = of("eight", 8)
    half = of("half", 8, until=1)
    resumed = of("resumed", 8, half["checkpoint"])
    moved = of("moved", 1, half["checkpoint"], until=2)
    back = of("back", 8, moved["checkpoint"])
    figures = {
        "runs": {"one": one, "eight": eight, "resumed": resumed, "moved": moved, "back": back},
        "name": warm_up(),
        "flops": steps.flops,
        "score_difference": score_difference(objects, eight["model"]),
    }
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1])
