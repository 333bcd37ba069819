"""From a job's files to arrays on the device: loaded once, split, normalised, padded to shared shapes."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from storage.objects import ObjectNotFoundError, ObjectStore
from trainer.chunks import Grid, window_table
from trainer.evaluate import HeldOut
from trainer.events import Event, Loading, Notice, NoticeCode, TrainingFailedError, TrainingStoppedError
from trainer.frontend import FEATURES, FRAME_MS, MEL_BANDS, MEL_FLOOR, unpack_features
from trainer.job import TrainingConfig, TrainingFile, TrainingJob
from trainer.model import output_bucket
from trainer.split import Region, Split, events_inside
from trainer.step import Dataset, Settings

POSITIVE_WEIGHT_CAP = 12.0
LOADING_EVENTS = 20
SMALLEST_DEVIATION = 1e-2  # a feature that never moves must not explode when it does


@dataclass(frozen=True, slots=True)
class Loaded:
    """The usable files by id, and the features (frames, FEATURES) of each."""

    files: tuple[TrainingFile, ...]
    features: tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What training needs of the data. `mean` and `deviation` (FEATURES,) are of the training regions."""

    dataset: Dataset
    settings: Settings
    mean: np.ndarray
    deviation: np.ndarray
    chunks: int
    steps: int
    windows: int  # a step holds at most


def load(
    job: TrainingJob,
    objects: ObjectStore,
    should_stop: Callable[[], bool],
) -> Generator[Event, None, Loaded]:
    """Yields events, returns what was loaded: files in the order of their ids, whatever order they came in.

    A file that cannot be used is left out with a notice. Raises TrainingFailedError when none is left.
    """
    files, values = [], []
    ordered = sorted(job.files, key=lambda file: file.audio_file_id)
    for number, file in enumerate(ordered, start=1):
        if should_stop():
            raise TrainingStoppedError
        try:
            array = unpack_features(objects.get(file.features))
            if not len(array):
                raise ValueError("it has no frames")  # noqa: TRY301
        except (ObjectNotFoundError, ValueError) as error:
            yield Notice(NoticeCode.FILE_LEFT_OUT, f"audio file {file.audio_file_id} is left out: {error}")
            continue
        files.append(file)
        values.append(array)
        if number % max(1, len(ordered) // LOADING_EVENTS) == 0 or number == len(ordered):
            yield Loading(number, len(ordered))
    if not files:
        raise TrainingFailedError(
            "NO_TRAINING_DATA",
            f"none of the {len(ordered)} audio files has usable features: see the notices",
        )
    return Loaded(tuple(files), tuple(values))


def prepare(loaded: Loaded, split: Split, config: TrainingConfig, grid: Grid) -> Prepared:
    """Raises TrainingFailedError when nothing is left to train on."""
    lengths = np.array([len(values) for values in loaded.features])
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    windows = window_table(split.train, offsets, grid)
    chunks = int(windows[:, 3].sum())
    if not chunks:
        raise TrainingFailedError(
            "NO_TRAINING_DATA",
            "nothing is left to train on after the split: add audio, or hold out less",
        )
    steps = -(-chunks // config.batch_size)
    per_step = _even(-(-len(windows) // steps))
    outputs = output_bucket(len(config.artifact_types))
    mean, deviation = _statistics(loaded, split.train)
    features, targets = _resident(loaded, config.artifact_types, outputs, mean, deviation)
    dataset = Dataset(features, targets, _padded(windows, bucket(steps * per_step)))
    trained = np.concatenate([np.arange(r.start, r.end) + offsets[r.file] for r in split.train])
    settings = _settings(config, targets[trained], steps, mean, deviation)
    return Prepared(*jax.device_put((dataset, settings)), mean, deviation, chunks, steps, per_step)


def held_out(loaded: Loaded, split: Split, types: Sequence[str]) -> list[HeldOut]:
    """The validation regions as files of their own."""
    result = []
    for region in split.validation:
        file, values = loaded.files[region.file], loaded.features[region.file]
        part = values[region.start : region.end]
        events = events_inside(file, region, types)
        spans = {
            kind: np.array([(start, end) for name, start, end in events if name == kind]).reshape(-1, 2)
            for kind in types
        }
        duration = min(file.duration_ms - region.start * FRAME_MS, len(part) * FRAME_MS)
        result.append(HeldOut(part, spans, duration))
    return result


def frame_targets(events: Sequence[tuple[str, int, int]], types: Sequence[str], frames: int) -> np.ndarray:
    """(frames, types) uint8: 1 where an event covers any of the frame."""
    targets = np.zeros((frames, len(types)), np.uint8)
    for kind, start, end in events:
        targets[start // FRAME_MS : -(-end // FRAME_MS), types.index(kind)] = 1
    return targets


def bucket(length: int) -> int:
    """`length` rounded up to 2^k or 3 * 2^k, so that jobs of similar size share compiled code."""
    power = 1 << max(8, (length - 1).bit_length())
    return power * 3 // 4 if length <= power * 3 // 4 else power


def _even(count: int) -> int:
    return count + count % 2


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    return np.pad(values, ((0, length - len(values)), (0, 0)))


def _statistics(loaded: Loaded, regions: Sequence[Region]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation (FEATURES,) over the training regions, as sums so that no file is copied."""
    total, squares, frames = np.zeros(FEATURES), np.zeros(FEATURES), 0
    for region in regions:
        values = loaded.features[region.file][region.start : region.end].astype(np.float32)
        total += values.sum(axis=0, dtype=np.float64)
        squares += (values**2).sum(axis=0, dtype=np.float64)
        frames += len(values)
    mean = total / frames
    deviation = np.sqrt(np.maximum(squares / frames - mean**2, SMALLEST_DEVIATION**2))
    return mean.astype(np.float32), deviation.astype(np.float32)


def _resident(
    loaded: Loaded,
    types: Sequence[str],
    outputs: int,
    mean: np.ndarray,
    deviation: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """All files one after the other: features (frames, FEATURES) float16, targets (frames, outputs) uint8."""
    frames = bucket(sum(len(values) for values in loaded.features))
    features = np.zeros((frames, FEATURES), np.float16)
    targets = np.zeros((frames, outputs), np.uint8)
    start = 0
    for file, values in zip(loaded.files, loaded.features, strict=True):
        end = start + len(values)
        features[start:end] = (values.astype(np.float32) - mean) / deviation
        events = events_inside(file, Region(0, 0, len(values)), types)
        targets[start:end, : len(types)] = frame_targets(events, list(types), len(values))
        start = end
    return features, targets


def _settings(
    config: TrainingConfig,
    targets: np.ndarray,
    steps: int,
    mean: np.ndarray,
    deviation: np.ndarray,
) -> Settings:
    """`targets` (frames, outputs) of the training regions decide how much a rare type weighs."""
    share = targets.mean(axis=0)
    weight = np.clip(np.sqrt((1 - share) / np.maximum(share, 1e-9)), 1, POSITIVE_WEIGHT_CAP)
    silence = np.where(np.arange(FEATURES) < MEL_BANDS, np.log(MEL_FLOOR), -np.inf)
    return Settings(
        learning_rate=jnp.float32(config.learning_rate),
        total_steps=jnp.int32(steps * config.epochs),
        positive_weight=weight.astype(np.float32),
        output_weight=(np.arange(targets.shape[1]) < len(config.artifact_types)).astype(np.float32),
        scale=deviation,
        floor=((silence - mean) / deviation).astype(np.float32),
    )
