"""A training job, from files to model, as a generator of events. It knows nothing of gRPC or databases."""

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, UInt8

from earmark.figures import EvalMetrics
from earmark.storage.objects import ObjectNotFoundError, ObjectStore
from earmark.trainer.chunks import chunk_grid, windows_per_step
from earmark.trainer.data.channels import Shares, Unknown
from earmark.trainer.data.copies import groups
from earmark.trainer.data.loading import Dataset, load, validation_regions
from earmark.trainer.data.notices import annotation_notices
from earmark.trainer.data.shards import frame_targets, shard_targets
from earmark.trainer.data.split import split_files
from earmark.trainer.devices import Devices, all_devices
from earmark.trainer.events import (
    Checkpoint,
    Completed,
    EpochCompleted,
    Event,
    Notice,
    NoticeCode,
    TrainingStoppedError,
)
from earmark.trainer.job import NetworkSize, ShouldStop, Stop, TrainingConfig, TrainingJob
from earmark.trainer.learning.checkpoints import Checkpoints, Position, UnusableCheckpointError, fingerprint
from earmark.trainer.learning.epochs import EpochState, Shards, StepTimer, next_epoch, run_epoch
from earmark.trainer.learning.preparation import TrainingData, prepare
from earmark.trainer.learning.step import Shape, initial_state
from earmark.trainer.learning.warm_start import base_model, initial_weights
from earmark.trainer.model import KnownFiles, LearnedType, Model, store_model
from earmark.trainer.network import Weights
from earmark.trainer.regions import RegionEvent, ValidationRegion
from earmark.trainer.scoring.calibration import learned_types
from earmark.trainer.scoring.detection import by_region, cleaned_regions, raw_scores
from earmark.trainer.scoring.evaluation import calibrated, evaluate, recommended_thresholds


@dataclass(frozen=True, slots=True)
class _Setup:
    """What stays the same during the job. Training starts from the weights `parameters`.

    `files` are those that the model will have been trained on, its base model included. Steps and scores are
    computed on `devices`.
    """

    config: TrainingConfig
    shape: Shape
    data: TrainingData
    unknown: Unknown
    dataset: Dataset
    validation: list[ValidationRegion]
    types: tuple[LearnedType, ...]
    parameters: Weights
    files: KnownFiles
    devices: Devices

    def model(self, parameters: Weights, types: tuple[LearnedType, ...]) -> Model:
        """The model with these weights and types."""
        constants = self.data.constants
        normalization = np.asarray(constants.mean), np.asarray(constants.deviation)
        return Model(self.shape.architecture, types, parameters, *normalization, self.files)

    def scores(self, parameters: Weights) -> list[Float32[np.ndarray, "tracks _ types"]]:
        """The raw scores of each validation region."""
        model = self.model(parameters, self.types)
        return by_region(
            raw_scores(
                model,
                [track for region in self.validation for track in region.tracks],
                devices=self.devices,
            ),
            self.validation,
        )

    def targets(self, shares: Shares) -> list[UInt8[np.ndarray, "shard_frames outputs"]]:
        """The targets of each shard when the events whose track is not known have these shares."""
        by_region, types = self.unknown.by_region(shares), self.config.artifact_types
        return [shard_targets(self.dataset, shard.pieces, types, by_region) for shard in self.data.shards]

    def learnt_shares(self, parameters: Weights) -> Shares:
        """How far each event whose track is not known is in each track, by a model with these weights."""
        model = self.model(parameters, self.types)
        of_model = partial(raw_scores, model, devices=self.devices)
        return self.unknown.learnt(self.dataset, self.config.artifact_types, of_model)


@dataclass(slots=True)
class _RunState:
    """What changes during the job. `best` are the averaged weights of the best epoch."""

    state: EpochState
    best: Weights
    shares: Shares
    position: Position
    checkpoints: Checkpoints
    should_stop: ShouldStop

    def store(self) -> Iterator[Checkpoint]:
        """Stores a checkpoint of everything needed to resume here."""
        state = self.state
        position = replace(self.position, step=state.step, seconds=state.seconds)
        yield from self.checkpoints.store(position, (state.train, state.totals, self.best, self.shares))

    def between_calls(self) -> Iterator[Checkpoint]:
        """Stores a checkpoint if one is due or the job is handed back.

        Raises TrainingStoppedError if the job is asked to stop.
        """
        stop = self.should_stop()
        if stop is Stop.HAND_BACK or (stop is None and self.checkpoints.due):
            yield from self.store()
        if stop is not None:
            raise TrainingStoppedError


def train(
    job: TrainingJob, objects: ObjectStore, should_stop: ShouldStop, network: NetworkSize = "standard"
) -> Iterator[Event]:
    """Runs the steps of the job, numbered 1 to 7 below, and yields its events. Completed is the last event.

    A job with a base model uses the network of that model instead of `network`. Raises TrainingFailedError,
    and TrainingStoppedError between two device calls when `should_stop()` asks for it.
    """
    setup = yield from _set_up(job, objects, should_stop, network)
    run = _new_run(job, objects, should_stop, setup)
    if job.resume_from is not None:
        yield _resume(run, job.resume_from, setup)

    # 5. Learn, epoch by epoch.
    yield from _learn(run, setup)
    yield from run.between_calls()

    # 6. Score the best epoch, and calibrate the scores on the validation audio.
    scores = cleaned_regions(setup.scores(run.best), setup.types)
    types, metrics = calibrated(setup.validation, scores, setup.types, setup.shape.grid)

    # 7. Store the model.
    thresholds, best_epoch = recommended_thresholds(metrics), run.position.best_epoch
    model = setup.model(run.best, types)
    stored = store_model(objects, job.prefix, model, job.config, best_epoch, thresholds)
    yield Completed(
        weights=stored.weights,
        config=stored.config,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        metrics=metrics,
        recommended_thresholds=thresholds,
        merge_windows_ms={learned.name: learned.merge_window_ms for learned in types},
        min_durations_ms={learned.name: learned.min_duration_ms for learned in types},
        best_epoch=best_epoch,
        audio_file_count=len(setup.dataset.files),
        audio_duration_ms=sum(file.duration_ms for file in setup.dataset.files),
    )


def _set_up(
    job: TrainingJob, objects: ObjectStore, should_stop: ShouldStop, network: NetworkSize
) -> Generator[Event, None, _Setup]:
    config, grid = job.config, chunk_grid(job.config)
    # 1. Read the features of every usable file.
    base = base_model(job, objects)
    dataset = yield from load(job.files, objects, should_stop)

    # 2. Divide the audio: whole files, or blocks of files, become validation audio.
    copies, gap = (
        groups(dataset.files, [values.tracks[0] for values in dataset.features]),
        grid.chunk + grid.past,
    )
    known = base.files if base else KnownFiles()
    split = split_files(
        dataset.files, copies, config.artifact_types, config.validation_split, gap, config.seed, known
    )
    yield Notice(NoticeCode.SPLIT, split.description)
    yield from split.notices
    yield from annotation_notices(dataset, copies, split.train, config.artifact_types)

    # 3. Prepare the training audio for the device, and derive the settings of each type from its annotations.
    windows = windows_per_step(config, grid)
    unknown = Unknown.among(dataset, split.train)
    normalization = (base.mean, base.deviation) if base else None
    data = prepare(dataset, split.train, config, grid, windows, normalization)
    types = learned_types(config.artifact_types, split.train, np.asarray(data.constants.positive_weight))
    validation = validation_regions(dataset, split.validation)

    # 4. Draw the initial weights, or take them from the base model.
    architecture, parameters, notice = initial_weights(config, base, network)
    if notice is not None:
        yield notice
    trained, held_out = (
        {dataset.files[region.file].sha256 for region in side} for side in (split.train, split.validation)
    )
    files = known.extended(trained, held_out)
    shape = Shape(architecture, grid, windows)
    return _Setup(config, shape, data, unknown, dataset, validation, types, parameters, files, all_devices())


def _new_run(job: TrainingJob, objects: ObjectStore, should_stop: ShouldStop, setup: _Setup) -> _RunState:
    state = initial_state(setup.parameters)
    architecture = setup.shape.architecture
    on_any_device = replace(setup.shape, architecture=replace(architecture, dtype=""))
    checkpoints = Checkpoints(objects, job.prefix, fingerprint(job, on_any_device), architecture.dtype)
    best = jax.tree.map(jnp.copy, state.average)
    return _RunState(
        next_epoch(state), best, setup.unknown.all_tracks(), Position(), checkpoints, should_stop
    )


def _resume(run: _RunState, key: str, setup: _Setup) -> Notice:
    """Puts the checkpoint's state into `run`.

    If the checkpoint does not fit, its work is lost but the job goes on: training starts from the beginning.
    """
    template = jax.eval_shape(lambda: (run.state.train, run.state.totals, run.best, run.shares))
    try:
        position, (train_state, totals, run.best, shares), dtype = run.checkpoints.load(key, template)
    except (ObjectNotFoundError, UnusableCheckpointError, ValueError) as error:
        return Notice(NoticeCode.RESUMED, f"training starts again with epoch 1: {error}")
    run.position, run.shares = position, np.asarray(shares)
    run.state = EpochState(train_state, totals, position.step, position.seconds)
    where = f"in epoch {position.epoch + 1} after step {position.step} of {setup.data.steps}"
    if not position.step:
        where = f"after epoch {position.epoch}"
    here = setup.shape.architecture.dtype
    how = "" if dtype == here else f", in {here} as this trainer's device computes instead of {dtype}"
    return Notice(NoticeCode.RESUMED, f"training goes on {where}{how}")


def _learn(run: _RunState, setup: _Setup) -> Iterator[Event]:
    """Runs the remaining epochs. The order within one is fixed: steps, evaluation, checkpoint, report."""
    config, data, grid = setup.config, setup.data, setup.shape.grid
    timer = StepTimer(data.steps * (config.epochs - run.position.epoch) - run.state.step)
    shards = Shards(data.shards, setup.devices.sharing(setup.shape.windows))
    while run.position.epoch < config.epochs:
        if notice := _stopped_early(run.position, config.early_stopping_epochs):
            yield notice
            return
        epoch, state = run.position.epoch + 1, run.state
        if len(run.shares):
            shards.replace_targets(setup.targets(run.shares))
        yield from run.between_calls()
        for progress in run_epoch(state, timer, shards, data, config, epoch, setup.shape):
            if progress is not None:
                yield progress
            yield from run.between_calls()

        raw = setup.scores(state.train.average)
        scores = cleaned_regions(raw, setup.types)
        metrics = evaluate(setup.validation, scores, setup.types, grid)
        _keep_best(run, epoch, metrics)

        run.state = next_epoch(state.train)
        if len(run.shares):
            run.shares = setup.learnt_shares(state.train.average)
        yield from run.store()

        yield EpochCompleted(
            epoch=epoch,
            train_loss=float(state.totals.loss) / data.steps,
            validation_loss=_validation_loss(setup, raw),
            metrics=metrics,
            chunks_per_second=data.chunks / state.seconds,
            best_epoch=run.position.best_epoch,
        )


def _stopped_early(position: Position, patience: int | None) -> Notice | None:
    """A notice if the last `patience` epochs brought no improvement. None while the best F1 is still 0."""
    if patience is None or position.best_score <= 0 or position.epoch - position.improved_epoch < patience:
        return None
    return Notice(
        NoticeCode.STOPPED_EARLY,
        f"no epoch was better than epoch {position.improved_epoch} for {patience} epochs: "
        f"training ends with epoch {position.epoch}",
    )


def _keep_best(run: _RunState, epoch: int, metrics: EvalMetrics) -> None:
    """Keeps the latest epoch whose event-level F1 is within a standard error of the highest.

    With little validation audio, the highest of many figures is mostly luck, and later epochs take smaller
    steps. Choosing the highest cost 0.03 of F1 on average on new voices. The rule of one standard error is
    that of Breiman et al., Classification and regression trees, 1984.
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
    """The standard error of a share counted on `support` examples, by the "plus four" rule for small samples.

    Agresti and Coull, Approximate is better than "exact" for interval estimation of proportions, 1998.
    """
    adjusted = (share * support + 2) / (support + 4)
    return math.sqrt(max(0.0, adjusted * (1 - adjusted)) / (support + 4))


def _validation_loss(setup: _Setup, scores: Sequence[Float32[np.ndarray, "tracks _ types"]]) -> float | None:
    """The training loss on the validation audio, from its raw scores. None without validation audio.

    Of several tracks, the highest score counts.
    """
    total, frames = 0.0, 0
    names = [learned.name for learned in setup.types]
    weights = np.asarray(setup.data.constants.positive_weight)[: len(names)]
    for region, by_track in zip(setup.validation, scores, strict=True):
        region_scores = by_track.max(axis=0)
        events = [
            RegionEvent(name, onset, offset)
            for name, spans in region.events.items()
            for onset, offset in spans.tolist()
        ]
        target = frame_targets(events, names, len(region_scores))
        likelihood = np.clip(np.where(target, region_scores, 1 - region_scores), 1e-7, 1)
        total -= float((np.where(target, weights, 1) * np.log(likelihood)).sum())
        frames += len(region_scores)
    return total / frames if frames and math.isfinite(total) else None
