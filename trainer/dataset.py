"""From a job's files to arrays: loaded once, split, and packed into shards of one shape."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from storage.objects import ObjectNotFoundError, ObjectStore
from trainer.calibration import first_offset, shortest_ms, smoothing
from trainer.chunks import Grid, window_table
from trainer.detect import ArtifactType
from trainer.evaluate import HeldOut
from trainer.events import Event, Loading, Notice, NoticeCode, TrainingFailedError, TrainingStoppedError
from trainer.frontend import FEATURES, FRAME_MS, FRAMES_PER_SECOND, unpack_features
from trainer.job import ShouldStop, TrainingConfig, TrainingFile, TrainingJob
from trainer.memory import available_bytes
from trainer.model import output_bucket
from trainer.split import Region, Split, events_inside
from trainer.step import SHARD_FRAMES, Settings

POSITIVE_WEIGHT_CAP = 12.0
LOADING_EVENTS = 20
# Float16 features as they are loaded, in their shards, and on a device that is the CPU: 318 MB. The peak that
# was measured grows by 280 MB.
BYTES_PER_HOUR = 3 * 2 * FEATURES * FRAMES_PER_SECOND * 3600
SMALLEST_DEVIATION = 1e-2  # a feature that never moves must not explode when it does


@dataclass(frozen=True, slots=True)
class Loaded:
    """The usable files by id, and the features (frames, FEATURES) of each."""

    files: tuple[TrainingFile, ...]
    features: tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True)
class HostShard:
    """A shard in the host's memory, and the windows in it: (windows, 4) as `window_table` makes them."""

    features: np.ndarray
    targets: np.ndarray
    windows: np.ndarray
    frames: int  # that are not padding


@dataclass(frozen=True, slots=True)
class Prepared:
    """What training needs of the data."""

    shards: tuple[HostShard, ...]
    settings: Settings
    chunks: int
    steps: int


def load(
    job: TrainingJob,
    objects: ObjectStore,
    should_stop: ShouldStop,
) -> Generator[Event, None, Loaded]:
    """Yields events, returns what was loaded: files in the order of their ids, whatever order they came in.

    A file that cannot be used is left out with a notice. Raises TrainingFailedError when none is left, and
    before anything is loaded when all would not fit into memory.
    """
    _check_size(job.files, available_bytes())
    files, values = [], []
    ordered = sorted(job.files, key=lambda file: file.audio_file_id)
    for number, file in enumerate(ordered, start=1):
        if should_stop() is not None:
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


def _check_size(files: Sequence[TrainingFile], available: float) -> None:
    hours = sum(file.duration_ms for file in files) / 3_600_000
    needed = hours * BYTES_PER_HOUR
    if needed > available:
        raise TrainingFailedError(
            "DATASET_TOO_LARGE",
            f"{hours:,.1f} hours of audio take {needed / 2**30:,.1f} GiB of memory to train on, and the "
            f"trainer has {available / 2**30:,.1f} GiB: use a larger machine, or split the dataset",
        )


def prepare(
    loaded: Loaded,
    split: Split,
    config: TrainingConfig,
    grid: Grid,
    windows: int,
    normal: tuple[np.ndarray, np.ndarray] | None = None,
) -> Prepared:
    """`windows` a step; `normal` is mean and deviation (FEATURES,), of the training regions where left out.

    Raises TrainingFailedError when nothing is left to train on.
    """
    if not split.train:
        raise TrainingFailedError(
            "NO_TRAINING_DATA",
            "nothing is left to train on after the split: add audio, or hold out less",
        )
    mean, deviation = normal or _statistics(loaded, split.train)
    shards = tuple(
        _shard(loaded, regions, config.artifact_types, grid)
        for regions in _packed(split.train, grid, config.seed)
    )
    steps = sum(-(-len(shard.windows) // windows) for shard in shards)
    settings = _settings(config, shards, steps, mean, deviation)
    chunks = int(sum(shard.windows[:, 3].sum() for shard in shards))
    return Prepared(shards, jax.device_put(settings), chunks, steps)


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


def known_types(
    loaded: Loaded, split: Split, types: Sequence[str], positive_weight: np.ndarray
) -> tuple[ArtifactType, ...]:
    """The types with what their training events say; `positive_weight` (types or more,) is theirs."""
    lengths: dict[str, list[int]] = {kind: [] for kind in types}
    for region in split.train:
        for kind, start, end in events_inside(loaded.files[region.file], region, types):
            lengths[kind].append(end - start)
    return tuple(
        ArtifactType(kind, smoothing(of_kind), shortest_ms(of_kind), first_offset(float(weight)))
        for (kind, of_kind), weight in zip(lengths.items(), positive_weight, strict=False)
    )


def frame_targets(events: Sequence[tuple[str, int, int]], types: Sequence[str], frames: int) -> np.ndarray:
    """(frames, types) uint8: 1 where an event covers any of the frame."""
    targets = np.zeros((frames, len(types)), np.uint8)
    for kind, start, end in events:
        targets[start // FRAME_MS : -(-end // FRAME_MS), types.index(kind)] = 1
    return targets


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


def _packed(regions: Sequence[Region], grid: Grid, seed: int) -> Iterator[list[Region]]:
    """The regions in an order drawn from `seed`, so that each shard is a sample of all; long ones cut."""
    pieces = [
        Region(region.file, start, min(region.end, start + SHARD_FRAMES))
        for region in regions
        for start in range(region.start, region.end, SHARD_FRAMES // grid.stride * grid.stride)
    ]
    order = np.random.default_rng(seed).permutation(len(pieces))
    shard: list[Region] = []
    frames = 0
    for piece in (pieces[number] for number in order):
        length = piece.end - piece.start
        if frames + length > SHARD_FRAMES:
            yield shard
            shard, frames = [], 0
        shard.append(piece)
        frames += length
    yield shard


def _shard(
    loaded: Loaded,
    regions: Sequence[Region],
    types: Sequence[str],
    grid: Grid,
) -> HostShard:
    """The regions one after the other, each a file of its own."""
    features = np.zeros((SHARD_FRAMES, FEATURES), np.float16)
    targets = np.zeros((SHARD_FRAMES, output_bucket(len(types))), np.uint8)
    offsets, place = [], 0
    for region in regions:
        values = loaded.features[region.file][region.start : region.end]
        offsets.append(place)
        end = place + len(values)
        features[place:end] = values
        whole = loaded.files[region.file]
        marks = events_inside(whole, Region(0, 0, len(loaded.features[region.file])), types)
        targets[place:end, : len(types)] = frame_targets(marks, list(types), region.end)[region.start :]
        place = end
    own = [Region(number, 0, region.end - region.start) for number, region in enumerate(regions)]
    return HostShard(features, targets, window_table(own, np.array(offsets), grid), place)


def _settings(
    config: TrainingConfig,
    shards: Sequence[HostShard],
    steps: int,
    mean: np.ndarray,
    deviation: np.ndarray,
) -> Settings:
    """How often each type occurs decides how much a rare one weighs."""
    outputs = shards[0].targets.shape[1]
    share = sum(shard.targets.sum(axis=0, dtype=np.int64) for shard in shards) / sum(s.frames for s in shards)
    weight = np.clip(np.sqrt((1 - share) / np.maximum(share, 1e-9)), 1, POSITIVE_WEIGHT_CAP)
    return Settings(
        learning_rate=np.float32(config.learning_rate),
        total_steps=np.int32(steps * config.epochs),
        positive_weight=weight.astype(np.float32),
        output_weight=(np.arange(outputs) < len(config.artifact_types)).astype(np.float32),
        mean=mean,
        deviation=deviation,
    )
