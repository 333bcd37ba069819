"""One pass over the training chunks: windows drawn, shards onto the device, steps taken a call at a time."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from trainer.data.shards import HostShard
from trainer.events import Progress, TrainingFailedError
from trainer.job import TrainingConfig
from trainer.learning.preparation import TrainingData
from trainer.learning.step import (
    CALL_STEPS,
    Batches,
    Progressed,
    Shape,
    Shard,
    TrainState,
    run_steps,
    start_of_epoch,
)

CALL_SECONDS = 0.25  # of one device call: how long a stop waits at most
PROGRESS_SECONDS = 0.5
DEVICE_SHARE = 0.6  # of the accelerator's free memory, for shards that stay


@dataclass(slots=True)
class EpochState:
    """What changes within an epoch, of which `step` steps are done, in `seconds`."""

    train: TrainState
    progressed: Progressed
    step: int = 0
    seconds: float = 0.0


def next_epoch(train: TrainState) -> EpochState:
    """Before its first step."""
    return EpochState(train, start_of_epoch())


@dataclass(slots=True)
class StepTimer:
    """How fast it goes, and how far it is."""

    steps_left: int
    step_seconds: float | None = None
    reported_at: float = 0.0


class Shards:
    """The dataset on the device: resident where it fits, else one shard ahead of the one in use."""

    def __init__(self, shards: Sequence[HostShard]) -> None:
        self._host = shards
        self._resident: dict[int, Shard] = {}
        self._keep = len(shards) * _size(shards[0]) <= _room()

    def in_order(self, order: Iterable[int]) -> Iterator[tuple[int, Shard]]:
        """Each with its number. Copies run beside the computation."""
        waiting: tuple[int, Shard] | None = None
        for number in order:
            following = number, self._put(number)
            if waiting is not None:
                yield waiting
            waiting = following
        if waiting is not None:
            yield waiting

    def _put(self, number: int) -> Shard:
        if number in self._resident:
            return self._resident[number]
        host = self._host[number]
        shard = Shard(*jax.device_put((host.features, host.targets)))
        if self._keep:
            self._resident[number] = shard
        return shard


def _size(shard: HostShard) -> int:
    return shard.features.nbytes + shard.targets.nbytes


def _room() -> float:
    """Bytes that shards may take on the device; a CPU's memory was weighed when the dataset was loaded."""
    statistics = jax.devices()[0].memory_stats()
    if not statistics or "bytes_limit" not in statistics:
        return float("inf")
    return DEVICE_SHARE * (statistics["bytes_limit"] - statistics["bytes_in_use"])


def run_epoch(
    state: EpochState,
    timer: StepTimer,
    shards: Shards,
    data: TrainingData,
    config: TrainingConfig,
    epoch: int,
    shape: Shape,
) -> Iterator[Progress | None]:
    """Takes the steps that `state` has left of the 1-based `epoch`, which decides every draw.

    Yields after each device call, where `state` is whole and may be stored: the progress when it is time to
    tell it, else None. Raises TrainingFailedError for a loss that is not finite.
    """
    key = jax.random.fold_in(jax.random.key(config.seed), epoch)
    rng = np.random.default_rng((config.seed, epoch))
    parts = left_of_epoch(data.shards, shape.windows, rng, state.step)

    def take(shard: Shard, rows: np.ndarray) -> None:
        batches = batches_of(rows, state.step)
        state.train, state.progressed = run_steps(
            state.train, state.progressed, shard, batches, data.constants, key, shape
        )
        _check_finite(state.progressed, epoch)

    resumed = time.monotonic()
    for (_, rows), (_, shard) in zip(parts, shards.in_order(number for number, _ in parts), strict=True):
        taken = 0
        while taken < len(rows):
            if timer.step_seconds is None:
                take(shard, rows[:0])  # this compiles, so that the first step's time is that of a step
                timer.step_seconds = CALL_SECONDS
            part = rows[taken : taken + max(1, min(CALL_STEPS, int(CALL_SECONDS / timer.step_seconds)))]
            started = time.monotonic()
            take(shard, part)
            ended = time.monotonic()
            timer.step_seconds = (ended - started) / len(part)
            timer.steps_left -= len(part)
            taken, state.step = taken + len(part), state.step + len(part)
            state.seconds += ended - resumed
            yield _progress(timer, epoch, state.step, data.steps, data.steps * config.epochs)
            resumed = time.monotonic()


def left_of_epoch(
    shards: Sequence[HostShard], per_step: int, rng: np.random.Generator, done: int
) -> list[tuple[int, np.ndarray]]:
    """Each shard's number and steps, as `drawn` makes them, in this epoch's order, without the first `done`.

    What is done is drawn like the rest, so that the rest is what it would have been.
    """
    left = []
    for number in rng.permutation(len(shards)).tolist():
        steps = drawn(shards[number].windows, per_step, rng)
        if done < len(steps):
            left.append((number, steps[done:]))
        done = max(0, done - len(steps))
    return left


def drawn(windows: np.ndarray, per_step: int, rng: np.random.Generator) -> np.ndarray:
    """(windows, 4) to (steps, per_step, 4) int32 in random order, as equally full as can be."""
    steps = -(-len(windows) // per_step)
    rows = np.zeros((steps * per_step, 4), np.int32)
    rows[: len(windows)] = windows[rng.permutation(len(windows))]
    return rows.reshape(per_step, steps, 4).transpose(1, 0, 2)


def batches_of(rows: np.ndarray, first: int) -> Batches:
    """(steps, windows, 4), up to CALL_STEPS of them, the first being number `first` of its epoch."""
    padded = np.zeros((CALL_STEPS, *rows.shape[1:]), np.int32)
    padded[: len(rows)] = rows
    return Batches(padded, np.int32(first), np.int32(len(rows)))


def _progress(timer: StepTimer, epoch: int, step: int, steps: int, total: int) -> Progress | None:
    now = time.monotonic()
    if now - timer.reported_at < PROGRESS_SECONDS:
        return None
    timer.reported_at = now
    eta = timer.steps_left * (timer.step_seconds or 0)
    return Progress(epoch, step, steps, 1 - timer.steps_left / total, eta)


def _check_finite(progressed: Progressed, epoch: int) -> None:
    """Waits for the device."""
    if (bad := int(progressed.first_bad)) >= 0:
        raise TrainingFailedError(
            "LOSS_NOT_FINITE",
            f"the loss is not finite in epoch {epoch}, step {bad + 1}: train with a lower learning_rate, "
            "a tenth of this one for a start",
        )
