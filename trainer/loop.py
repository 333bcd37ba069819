"""A training job from files to model, as a generator of events. It knows nothing of gRPC or databases."""

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from storage.objects import ObjectNotFoundError, ObjectStore
from trainer.checkpoints import Checkpoints, Position, UnusableCheckpointError, fingerprint, save_model
from trainer.chunks import chunk_grid, windows_per_step
from trainer.copies import groups
from trainer.dataset import Prepared, frame_targets, held_out, known_types, load, prepare
from trainer.detect import ArtifactType, Model, cleaned, raw_scores
from trainer.epochs import EpochState, Pace, Shards, next_epoch, run_epoch
from trainer.evaluate import HeldOut, calibrated, evaluate
from trainer.events import (
    Checkpoint,
    EpochCompleted,
    EvalMetrics,
    Event,
    Notice,
    NoticeCode,
    TrainingStoppedError,
)
from trainer.job import NetworkSize, ShouldStop, Stop, TrainingJob
from trainer.model import FOLD, initial_parameters, new_architecture, output_bucket
from trainer.split import split_files
from trainer.start import base_model, started_from
from trainer.step import Shape, initial_state


@dataclass(frozen=True, slots=True)
class _Task:
    """What stays the same from epoch to epoch."""

    shape: Shape
    data: Prepared
    held: list[HeldOut]
    types: tuple[ArtifactType, ...]
    parameters: nnx.State  # to start from
    mark: str  # of the checkpoints that are of this training

    def model(self, parameters: nnx.State, types: tuple[ArtifactType, ...]) -> Model:
        """With these weights."""
        settings = self.data.settings
        normal = np.asarray(settings.mean), np.asarray(settings.deviation)
        return Model(self.shape.architecture, types, parameters, *normal)


@dataclass(slots=True)
class _Run:
    """What the loop carries from step to step. `best` are the averaged weights of the best epoch."""

    state: EpochState
    best: nnx.State
    position: Position
    checkpoints: Checkpoints
    should_stop: ShouldStop

    def store(self) -> Iterator[Checkpoint]:
        """Stores all that is needed to go on from here."""
        state = self.state
        position = replace(self.position, step=state.step, seconds=state.seconds)
        yield from self.checkpoints.store(position, (state.train, state.progressed, self.best))

    def between_calls(self) -> Iterator[Checkpoint]:
        """Stores a checkpoint where one is due or the job is handed back. Raises TrainingStoppedError."""
        stop = self.should_stop()
        if stop is Stop.HAND_BACK or (stop is None and self.checkpoints.due):
            yield from self.store()
        if stop is not None:
            raise TrainingStoppedError


def train(
    job: TrainingJob, objects: ObjectStore, should_stop: ShouldStop, network: NetworkSize = "standard"
) -> Iterator[Event]:
    """Yields what happens, in the order below, the last being Completed. A base model brings its own network.

    Raises TrainingFailedError, and TrainingStoppedError between two device calls once `should_stop()`.
    """
    config = job.config
    # 1. Set up: the data, split; the weights to start from.
    task = yield from _set_up(job, objects, should_stop, network)
    state = initial_state(task.parameters)
    checkpoints = Checkpoints(objects, job.prefix, task.mark)
    best = jax.tree.map(jnp.copy, state.average)
    run = _Run(next_epoch(state), best, Position(), checkpoints, should_stop)

    # 2. Resume: a checkpoint holds all that the steps before have left behind.
    if job.resume_from is not None:
        yield _resume(run, job.resume_from, task.data.steps)
    pace = Pace(task.data.steps * (config.epochs - run.position.epoch) - run.state.step)
    shards = Shards(task.data.shards)

    while run.position.epoch < config.epochs:
        if notice := _stopped_early(run.position, config.early_stopping_epochs):
            yield notice
            break
        # 3. Steps, with a checkpoint every minute.
        epoch, state = run.position.epoch + 1, run.state
        yield from run.between_calls()
        for progress in run_epoch(state, pace, shards, task.data, config, epoch, task.shape):
            if progress is not None:
                yield progress
            yield from run.between_calls()

        # 4. Evaluate: the averaged weights, on held-out audio.
        raw = _raw_scores(task, state.train.average)
        metrics = evaluate(
            task.held, [cleaned(scores, task.types) for scores in raw], task.types, task.shape.grid
        )
        _keep_best(run, epoch, metrics)

        # 5. Checkpoint.
        run.state = next_epoch(state.train)
        yield from run.store()

        # 6. Report.
        yield EpochCompleted(
            epoch=epoch,
            train_loss=float(state.progressed.loss) / task.data.steps,
            validation_loss=_validation_loss(task, raw),
            metrics=metrics,
            chunks_per_second=task.data.chunks / state.seconds,
            best_epoch=run.position.best_epoch,
        )

    # 7. Complete: the best epoch's weights, which scores of theirs to believe, and the figures with that.
    yield from run.between_calls()
    scores = [cleaned(raw, task.types) for raw in _raw_scores(task, run.best)]
    types, metrics = calibrated(task.held, scores, task.types, task.shape.grid)
    model = task.model(run.best, types)
    yield save_model(objects, job.prefix, model, config, run.position.best_epoch, metrics)


def _set_up(
    job: TrainingJob, objects: ObjectStore, should_stop: ShouldStop, network: NetworkSize
) -> Generator[Event, None, _Task]:
    """Every usable file's features, whole files or blocks of them held out, and the weights to start from."""
    config = job.config
    base = base_model(job, objects)
    loaded = yield from load(job, objects, should_stop)
    grid = chunk_grid(config)
    windows = windows_per_step(config, grid)
    copies = groups(loaded.files, loaded.features)
    gap = grid.chunk + grid.context
    split = split_files(
        loaded.files, copies, config.artifact_types, config.validation_split, gap, config.seed
    )
    yield from split.notices
    data = prepare(loaded, split, config, grid, windows, (base.mean, base.deviation) if base else None)
    weights = np.asarray(data.settings.positive_weight)
    types = known_types(loaded, split, config.artifact_types, weights)
    architecture = (
        new_architecture(len(types), network)
        if base is None
        else replace(base.architecture, outputs=output_bucket(len(types)))
    )
    parameters = initial_parameters(architecture, config.seed)
    if base is not None:
        parameters, notice = started_from(base, architecture, parameters, config.artifact_types)
        yield notice
    shape = Shape(architecture, grid, windows)
    held = held_out(loaded, split, config.artifact_types)
    return _Task(shape, data, held, types, parameters, fingerprint(job, shape))


def _resume(run: _Run, key: str, steps: int) -> Notice:
    """Puts the checkpoint's state into `run`; one that does not fit costs the work it held, not the job."""
    template = jax.eval_shape(lambda: (run.state.train, run.state.progressed, run.best))
    try:
        position, (train_state, progressed, run.best) = run.checkpoints.load(key, template)
    except (ObjectNotFoundError, UnusableCheckpointError, ValueError) as error:
        return Notice(NoticeCode.RESUMED, f"training starts again with epoch 1: {error}")
    run.position = position
    run.state = EpochState(train_state, progressed, position.step, position.seconds)
    where = f"in epoch {position.epoch + 1} after step {position.step} of {steps}"
    if not position.step:
        where = f"after epoch {position.epoch}"
    return Notice(NoticeCode.RESUMED, f"training goes on {where}")


def _stopped_early(position: Position, patience: int | None) -> Notice | None:
    """None while there is hope, and until anything was found at all."""
    if patience is None or position.best_score <= 0 or position.epoch - position.improved_epoch < patience:
        return None
    return Notice(
        NoticeCode.STOPPED_EARLY,
        f"no epoch was better than epoch {position.improved_epoch} for {patience} epochs: "
        f"training ends with epoch {position.epoch}",
    )


def _raw_scores(task: _Task, parameters: nnx.State) -> list[np.ndarray]:
    """Of the held-out regions."""
    return raw_scores(task.model(parameters, task.types), [region.features for region in task.held])


def _keep_best(run: _Run, epoch: int, metrics: EvalMetrics) -> None:
    """Keeps the latest epoch whose event-level F1 is within a standard error of the highest.

    The highest of many is mostly luck where little is held out, and later epochs have the smaller steps: by
    the highest, F1 on unheard voices was lower by 0.03 in the mean. After the rule of one standard error
    (Breiman et al., Classification and regression trees, 1984).
    """
    before, overall = run.position, metrics.overall
    score = overall.f1_score if overall.f1_score is not None else 0.0
    if score < before.best_score - _standard_error(before.best_score, overall.support):
        run.position = replace(before, epoch=epoch)
        return
    improved = epoch if score > before.best_score else before.improved_epoch
    run.position = Position(epoch, epoch, max(score, before.best_score), improved)
    run.best = jax.tree.map(jnp.copy, run.state.train.average)


def _standard_error(share: float, support: int) -> float:
    """Of a share counted on `support` examples, and four more, half of them found: all of a few prove little.

    Agresti and Coull, Approximate is better than "exact" for interval estimation of proportions, 1998.
    """
    adjusted = (share * support + 2) / (support + 4)
    return math.sqrt(max(0.0, adjusted * (1 - adjusted)) / (support + 4))


def _validation_loss(task: _Task, scores: Sequence[np.ndarray]) -> float | None:
    """The training loss on held-out audio, from its raw scores, whole files at once; None without any."""
    total, frames = 0.0, 0
    names = [kind.name for kind in task.types]
    weights = np.asarray(task.data.settings.positive_weight)[: len(names)]
    for region, track in zip(task.held, scores, strict=True):
        events = [(kind, *span) for kind, spans in region.events.items() for span in spans.tolist()]
        target = frame_targets(events, names, len(track) * FOLD)
        target = target.reshape(-1, FOLD, target.shape[1]).max(axis=1)
        likely = np.clip(np.where(target, track, 1 - track), 1e-7, 1)
        total -= float((np.where(target, weights, 1) * np.log(likely)).sum())
        frames += len(track)
    return total / frames if frames and math.isfinite(total) else None
