"""What the training steps of a job need: its data in shards, and the constants of a step."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float32

from earmark.trainer.chunks import Grid
from earmark.trainer.data.loading import Dataset
from earmark.trainer.data.shards import HostShard, feature_statistics, pack_shards
from earmark.trainer.events import TrainingFailedError
from earmark.trainer.job import TrainingConfig
from earmark.trainer.learning.step import StepConstants
from earmark.trainer.regions import CERTAIN, Region

POSITIVE_WEIGHT_CAP = 12.0

Normalization = tuple[Float32[np.ndarray, " features"], Float32[np.ndarray, " features"]]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The audio in shards, the constants of a step, and the number of chunks and of steps in an epoch."""

    shards: tuple[HostShard, ...]
    constants: StepConstants
    chunks: int
    steps: int


def prepare(
    dataset: Dataset,
    regions: Sequence[Region],
    config: TrainingConfig,
    grid: Grid,
    windows: int,
    normalization: Normalization | None = None,
) -> TrainingData:
    """Packs the regions into shards and works out the constants. A step takes `windows` windows.

    `normalization` is the mean and the deviation of each feature; by default, those of the regions.
    Raises TrainingFailedError when there is no region to train on.
    """
    if not regions:
        raise TrainingFailedError(
            "NO_TRAINING_DATA",
            "nothing is left to train on after the split: add audio, or lower validation_split",
        )
    shards = pack_shards(dataset, regions, config.artifact_types, grid, config.seed)
    steps = sum(-(-len(shard.windows) // windows) for shard in shards)
    constants = _constants(config, shards, steps, normalization or feature_statistics(dataset, regions))
    chunks = int(sum(shard.windows[:, 3].sum() for shard in shards))
    return TrainingData(shards, jax.device_put(constants), chunks, steps)


def _constants(
    config: TrainingConfig, shards: Sequence[HostShard], steps: int, normalization: Normalization
) -> StepConstants:
    """The constants of a step. The rarer a type is, the more its positive frames weigh."""
    outputs = shards[0].targets.shape[1]
    frames = sum(shard.frames for shard in shards)
    share = sum(shard.targets.sum(axis=0, dtype=np.int64) for shard in shards) / (CERTAIN * frames)
    weight = np.clip(np.sqrt((1 - share) / np.maximum(share, 1e-9)), 1, POSITIVE_WEIGHT_CAP)
    mean, deviation = normalization
    return StepConstants(
        learning_rate=np.array(config.learning_rate, np.float32),
        total_steps=np.array(steps * config.epochs, np.int32),
        positive_weight=weight.astype(np.float32),
        output_weight=(np.arange(outputs) < len(config.artifact_types)).astype(np.float32),
        mean=mean,
        deviation=deviation,
    )
