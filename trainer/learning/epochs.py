"""One pass over the training chunks: draw windows, copy shards to the device, take steps call by call."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np
from jaxtyping import Int32

from earmark.trainer.data.shards import HostShard
from earmark.trainer.devices import ONE_DEVICE, Devices
from earmark.trainer.events import Progress, TrainingFailedError
from earmark.trainer.job import TrainingConfig
from earmark.trainer.learning.preparation import TrainingData
from earmark.trainer.learning.step import (
    CALL_STEPS,
    Batches,
    EpochTotals,
    Shape,
    Shard,
    TrainState,
    run_steps,
    start_of_epoch,
)

CALL_SECONDS = 0.25  # the length of a device call, and so the longest wait before a job can stop
PROGRESS_SECONDS = 0.5
VIEW_SHARE = 0.33  # of the windows
DEVICE_SHARE = 0.6  # of the accelerator's free memory, for shards that stay there


@dataclass(slots=True)
class EpochState:
    """What changes within an epoch. `step` of its steps are done and took `seconds`."""

    train: TrainState
    totals: EpochTotals
    step: int = 0
    seconds: float = 0.0


def next_epoch(train: TrainState) -> EpochState:
    """The state before the first step of an epoch."""
    return EpochState(train, start_of_epoch())


@dataclass(slots=True)
class StepTimer:
    """The steps left in the job, the time of the last ones, and when progress was last reported.

    `step_seconds` is None until the step is compiled. `reported_at` is a time of the monotonic clock.
    """

    steps_left: int
    step_seconds: float | None = None
    reported_at: float = 0.0


class Shards:
    """The dataset, whole on each device. All shards stay there if they fit; else the next one is prefetched.

    `devices` are those that share the windows of a step.
    """

    def __init__(self, shards: Sequence[HostShard], devices: Devices = ONE_DEVICE) -> None:
        self.devices = devices
        self._host = shards
        self._resident: dict[int, Shard] = {}
        self._all_fit = len(shards) * _size(shards[0]) <= _room()

    def in_order(self, order: Iterable[int]) -> Iterator[tuple[int, Shard]]:
        """Each shard with its number. A shard is copied while the device computes with the one before it."""
        waiting: tuple[int, Shard] | None = None
        for number in order:
            following = number, self._put(number)
            if waiting is not None:
                yield waiting
            waiting = following
        if waiting is not None:
            yield waiting

    def replace_targets(self, targets: Sequence[np.ndarray]) -> None:
        """Replaces the targets of every shard."""
        self._host = [replace(host, targets=new) for host, new in zip(self._host, targets, strict=True)]
        for number, shard in self._resident.items():
            self._resident[number] = shard._replace(targets=self.devices.whole(targets[number]))

    def _put(self, number: int) -> Shard:
        if number in self._resident:
            return self._resident[number]
        host = self._host[number]
        shard = Shard(*self.devices.whole((host.features, host.targets)))
        if self._all_fit:
            self._resident[number] = shard
        return shard


def _size(shard: HostShard) -> int:
    return shard.features.nbytes + shard.targets.nbytes


def _room() -> float:
    """Bytes that shards may take on each device, so the fullest one decides.

    A CPU has no limit: its memory was checked before loading.
    """
    of_devices = [device.memory_stats() or {} for device in jax.local_devices()]
    free = [stats["bytes_limit"] - stats["bytes_in_use"] for stats in of_devices if "bytes_limit" in stats]
    return DEVICE_SHARE * min(free, default=float("inf"))


def run_epoch(
    state: EpochState,
    timer: StepTimer,
    shards: Shards,
    data: TrainingData,
    config: TrainingConfig,
    epoch: int,
    shape: Shape,
) -> Iterator[Progress | None]:
    """Takes the remaining steps of the 1-based `epoch`. The seed and the epoch decide every random draw.

    Yields after each device call, when `state` is complete and may be stored: the progress if it is time to
    report it, else None. Raises TrainingFailedError for a loss that is not finite.
    """
    devices = shards.devices
    state.train, state.totals = devices.whole((state.train, state.totals))
    key = jax.random.fold_in(jax.random.key(config.seed), epoch)
    constants, key = devices.whole((data.constants, key))
    rng = np.random.default_rng((config.seed, epoch))
    remaining = remaining_steps(data.shards, shape.windows, rng, state.step)

    def take(shard: Shard, rows: np.ndarray) -> None:
        batches = batches_of(rows, state.step, devices)
        state.train, state.totals = run_steps(
            state.train, state.totals, shard, batches, constants, key, shape
        )
        _check_finite(state.totals, epoch)

    resumed_at = time.monotonic()
    on_device = shards.in_order(number for number, _ in remaining)
    for (_, rows), (_, shard) in zip(remaining, on_device, strict=True):
        taken = 0
        while taken < len(rows):
            if timer.step_seconds is None:
                # Compile now, so that compiling does not count as the time of the first step.
                take(shard, rows[:0])
                timer.step_seconds = CALL_SECONDS
            of_call = rows[taken : taken + max(1, min(CALL_STEPS, int(CALL_SECONDS / timer.step_seconds)))]
            started_at = time.monotonic()
            take(shard, of_call)
            ended_at = time.monotonic()
            timer.step_seconds = (ended_at - started_at) / len(of_call)
            timer.steps_left -= len(of_call)
            taken, state.step = taken + len(of_call), state.step + len(of_call)
            state.seconds += ended_at - resumed_at
            yield _progress(timer, epoch, state.step, data.steps, data.steps * config.epochs)
            resumed_at = time.monotonic()


def remaining_steps(
    shards: Sequence[HostShard], per_step: int, rng: np.random.Generator, done: int
) -> list[tuple[int, Int32[np.ndarray, "_ windows 4"]]]:
    """The number and the steps of each shard in this epoch's order, without the first `done` steps.

    The steps that are done are drawn too, so that the remaining ones are the same as without an interruption.
    """
    remaining = []
    for number in rng.permutation(len(shards)).tolist():
        steps = draw_steps(windows_with_views(shards[number], rng), per_step, rng)
        if done < len(steps):
            remaining.append((number, steps[done:]))
        done = max(0, done - len(steps))
    return remaining


def windows_with_views(shard: HostShard, rng: np.random.Generator) -> Int32[np.ndarray, "windows 4"]:
    """The shard's windows. VIEW_SHARE of them are moved to the view of the same audio, where there is one."""
    windows = shard.windows.copy()
    windows[:, :3] += (shard.view_shifts * (rng.random(len(windows)) < VIEW_SHARE))[:, None]
    return windows


def draw_steps(
    windows: Int32[np.ndarray, "windows 4"], per_step: int, rng: np.random.Generator
) -> Int32[np.ndarray, "steps per_step 4"]:
    """The windows in random order, in steps of `per_step` that are as equally full as possible.

    Rows of zeros fill the rest.
    """
    steps = -(-len(windows) // per_step)
    rows = np.zeros((steps * per_step, 4), np.int32)
    rows[: len(windows)] = windows[rng.permutation(len(windows))]
    return rows.reshape(per_step, steps, 4).transpose(1, 0, 2)


def batches_of(
    rows: Int32[np.ndarray, "steps windows 4"], first: int, devices: Devices = ONE_DEVICE
) -> Batches:
    """Up to CALL_STEPS steps as the arguments of one call. The first one is step `first` of its epoch.

    The devices share the windows of each step.
    """
    padded = np.zeros((CALL_STEPS, *rows.shape[1:]), np.int32)
    padded[: len(rows)] = rows
    return Batches(devices.split(padded, axis=1), np.array(first, np.int32), np.array(len(rows), np.int32))


def _progress(timer: StepTimer, epoch: int, step: int, steps: int, total: int) -> Progress | None:
    now = time.monotonic()
    if now - timer.reported_at < PROGRESS_SECONDS:
        return None
    timer.reported_at = now
    eta = timer.steps_left * (timer.step_seconds or 0)
    return Progress(epoch, step, steps, 1 - timer.steps_left / total, eta)


def _check_finite(totals: EpochTotals, epoch: int) -> None:
    """Waits for the device. Raises TrainingFailedError if the loss of any step is not finite."""
    if (bad := int(totals.first_bad)) >= 0:
        raise TrainingFailedError(
            "LOSS_NOT_FINITE",
            f"the loss is not finite in epoch {epoch}, step {bad + 1}: train with a lower learning_rate, "
            "a tenth of this one for a start",
        )
