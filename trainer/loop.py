"""A training job from files to model, as a generator of events. It knows nothing of gRPC or databases."""

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from storage.objects import ObjectNotFoundError, ObjectStore
from trainer.checkpoints import (
    Position,
    UnusableCheckpointError,
    fingerprint,
    load_checkpoint,
    save_checkpoint,
    save_model,
)
from trainer.chunks import chunk_grid
from trainer.dataset import Prepared, frame_targets, held_out, load, prepare
from trainer.detect import Model, frame_scores
from trainer.evaluate import HeldOut, evaluate, with_best_thresholds
from trainer.events import (
    Checkpoint,
    EpochCompleted,
    EvalMetrics,
    Event,
    Notice,
    NoticeCode,
    Progress,
    TrainingFailedError,
    TrainingStoppedError,
)
from trainer.job import TrainingConfig, TrainingJob
from trainer.model import FOLD, Architecture, default_dtype, initial_parameters, output_bucket
from trainer.split import split_files
from trainer.step import (
    Progressed,
    Shape,
    Span,
    TrainState,
    epoch_order,
    initial_state,
    run_steps,
    start_of_epoch,
)

CALL_SECONDS = 0.25  # of one device call: how long a stop waits at most
PROGRESS_SECONDS = 0.5

ShouldStop = Callable[[], bool]


@dataclass(slots=True)
class _Run:
    """What the loop carries from epoch to epoch. `best` are the averaged weights of the best epoch."""

    state: TrainState
    best: nnx.State
    position: Position
    steps_left: int
    step_seconds: float | None = None


def train(job: TrainingJob, objects: ObjectStore, should_stop: ShouldStop) -> Iterator[Event]:
    """Yields what happens, in the order below, the last being Completed.

    Raises TrainingFailedError, and TrainingStoppedError between two device calls once `should_stop()`.
    """
    config = job.config
    # 1. Load: every usable file's features into memory.
    loaded = yield from load(job, objects, should_stop)

    # 2. Split: whole files, or blocks with a gap that no window reaches across.
    grid = chunk_grid(config)
    gap = grid.chunk + grid.context
    split = split_files(loaded.files, config.artifact_types, config.validation_split, gap, config.seed)
    yield from split.notices

    # 3. Build: the dataset onto the device, fresh weights.
    data = prepare(loaded, split, config, grid)
    held = held_out(loaded, split, config.artifact_types)
    shape = Shape(
        Architecture(output_bucket(len(config.artifact_types)), dtype=default_dtype()), grid, data.windows
    )
    run = _fresh_run(shape.architecture, config, data)
    mark = fingerprint(job, shape)

    # 4. Resume: a checkpoint holds all that the epochs before have left behind.
    if job.resume_from is not None:
        yield _resume(run, job.resume_from, objects, mark, data.steps)

    for epoch in range(run.position.epoch + 1, config.epochs + 1):
        # 5. Steps.
        started = time.monotonic()
        progressed = yield from _epoch(run, data, config, epoch, shape, should_stop)
        seconds = time.monotonic() - started

        # 6. Evaluate: the averaged weights, on held-out audio.
        scores, metrics = _evaluated(run.state.average, shape, config, data, held, should_stop)
        _keep_best(run, epoch, metrics)

        # 7. Checkpoint.
        key = save_checkpoint(objects, job, mark, run.position, (run.state, run.best))
        yield Checkpoint(epoch, key)

        # 8. Report.
        yield EpochCompleted(
            epoch=epoch,
            train_loss=float(progressed.loss) / data.steps,
            validation_loss=_validation_loss(held, scores, config, data),
            metrics=metrics,
            chunks_per_second=data.chunks / seconds,
            best_epoch=run.position.best_epoch,
        )

    # 9. Complete: the best epoch's weights, its figures, the thresholds that suit it.
    scores, metrics = _evaluated(run.best, shape, config, data, held, should_stop)
    metrics = with_best_thresholds(metrics, held, scores, config.artifact_types)
    model = _model(run.best, shape, config, data)
    yield save_model(objects, job.prefix, model, config, run.position.best_epoch, metrics)


def _fresh_run(architecture: Architecture, config: TrainingConfig, data: Prepared) -> _Run:
    state = initial_state(initial_parameters(architecture, config.seed))
    return _Run(state, jax.tree.map(jnp.copy, state.average), Position(), data.steps * config.epochs)


def _model(parameters: nnx.State, shape: Shape, config: TrainingConfig, data: Prepared) -> Model:
    return Model(shape.architecture, config.artifact_types, parameters, data.mean, data.deviation)


def _resume(run: _Run, key: str, objects: ObjectStore, mark: str, steps: int) -> Notice:
    """Puts the checkpoint's state into `run`; one that does not fit costs the epochs it held, not the job."""
    template = jax.eval_shape(lambda: (run.state, run.best))
    try:
        run.position, (run.state, run.best) = load_checkpoint(objects, key, mark, template)
    except (ObjectNotFoundError, UnusableCheckpointError, ValueError) as error:
        return Notice(NoticeCode.RESUMED, f"training starts again with epoch 1: {error}")
    run.steps_left -= run.position.epoch * steps
    return Notice(NoticeCode.RESUMED, f"training goes on after epoch {run.position.epoch}")


def _epoch(
    run: _Run,
    data: Prepared,
    config: TrainingConfig,
    epoch: int,
    shape: Shape,
    should_stop: ShouldStop,
) -> Generator[Progress, None, Progressed]:
    """One pass over the training chunks, in device calls of about CALL_SECONDS."""
    key = jax.random.fold_in(jax.random.key(config.seed), epoch)
    order = epoch_order(key, data.dataset.windows)
    progressed, step, told = start_of_epoch(), 0, time.monotonic()

    def call(count: int) -> Progressed:
        span = Span(np.int32(step), np.int32(count), np.int32(data.steps))
        run.state, done = run_steps(
            run.state, progressed, data.dataset, order, data.settings, key, span, shape
        )
        _check_finite(done, epoch)
        return done

    if run.step_seconds is None:
        # No steps yet: this compiles, so that the first step's time is that of a step.
        progressed = call(0)
        run.step_seconds = CALL_SECONDS
    while step < data.steps:
        if should_stop():
            raise TrainingStoppedError
        count = min(max(1, int(CALL_SECONDS / run.step_seconds)), data.steps - step)
        started = time.monotonic()
        progressed = call(count)
        now = time.monotonic()
        step += count
        run.steps_left -= count
        run.step_seconds = (now - started) / count
        if now - told >= PROGRESS_SECONDS:
            told = now
            total = data.steps * config.epochs
            eta = run.steps_left * run.step_seconds
            yield Progress(epoch, step, data.steps, 1 - run.steps_left / total, eta)
    return progressed


def _check_finite(progressed: Progressed, epoch: int) -> None:
    """Waits for the device. Raises TrainingFailedError with the first step whose loss is not finite."""
    if (bad := int(progressed.first_bad)) >= 0:
        raise TrainingFailedError(
            "LOSS_NOT_FINITE",
            f"the loss is not finite in epoch {epoch}, step {bad + 1}: train with a lower learning_rate, "
            "a tenth of this one for a start",
        )


def _evaluated(
    parameters: nnx.State,
    shape: Shape,
    config: TrainingConfig,
    data: Prepared,
    held: Sequence[HeldOut],
    should_stop: ShouldStop,
) -> tuple[list[np.ndarray], EvalMetrics]:
    """The held-out regions' scores, and the figures they give."""
    model = _model(parameters, shape, config, data)
    scores = []
    for region in held:
        if should_stop():
            raise TrainingStoppedError
        scores.append(frame_scores(model, region.features))
    return scores, evaluate(held, scores, config.artifact_types, shape.grid)


def _keep_best(run: _Run, epoch: int, metrics: EvalMetrics) -> None:
    """The highest event-level F1 over all, the later epoch of equals; without any, the last epoch."""
    score = metrics.overall.f1_score if metrics.overall.f1_score is not None else 0.0
    run.position = replace(run.position, epoch=epoch)
    if score >= run.position.best_score:
        run.position = Position(epoch, epoch, score)
        run.best = jax.tree.map(jnp.copy, run.state.average)


def _validation_loss(
    held: list[HeldOut],
    scores: list[np.ndarray],
    config: TrainingConfig,
    data: Prepared,
) -> float | None:
    """The training loss on held-out audio, whole files at once; None without any."""
    weights = np.asarray(data.settings.positive_weight)[: len(config.artifact_types)]
    total, frames = 0.0, 0
    for region, track in zip(held, scores, strict=True):
        events = [(kind, *span) for kind, spans in region.events.items() for span in spans.tolist()]
        target = frame_targets(events, config.artifact_types, len(track) * FOLD)
        target = target.reshape(-1, FOLD, target.shape[1]).max(axis=1)
        likely = np.clip(np.where(target, track, 1 - track), 1e-7, 1)
        total -= float((np.where(target, weights, 1) * np.log(likely)).sum())
        frames += len(track)
    return total / frames if frames and math.isfinite(total) else None
