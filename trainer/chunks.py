"""The chunk grid, and the windows in which neighbouring chunks share their context.

All lengths are in frames of the front end (10 ms). Chunks of `chunk` frames start every `stride` frames. Up
to `chunks` consecutive chunks form the core of a window. So the frames that they share, and the context on
both sides of the core, are computed only once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Int64

from earmark.scores import FRAME_MS
from earmark.trainer.job import TrainingConfig

CORE_FRAMES = 400
PAST_FRAMES, FUTURE_FRAMES = 128, 88  # the context that a frame has in detection
WINDOWS_PER_STEP = 2  # at least, so that a step trains on more than one place
ALIGNMENT = 16  # a multiple of the number of frames that the network joins into one


@dataclass(frozen=True, slots=True)
class Grid:
    """The geometry of a window. It is hashable, because it determines the shapes of the compiled step."""

    chunk: int
    stride: int
    chunks: int
    past: int
    future: int

    @property
    def core(self) -> int:
        """The length from the start of a window's first chunk to the end of its last."""
        return (self.chunks - 1) * self.stride + self.chunk

    @property
    def length(self) -> int:
        """The length of a window with its context on both sides, rounded up to ALIGNMENT."""
        return -(-(self.core + self.past + self.future) // ALIGNMENT) * ALIGNMENT


def chunk_grid(config: TrainingConfig) -> Grid:
    """Choose a core of about CORE_FRAMES, or a shorter one if a step would have too few windows."""
    chunk = max(1, round(config.chunk_size_ms / FRAME_MS))
    stride = min(chunk, max(1, round(config.stride_ms / FRAME_MS)))
    fitting = 1 + max(0, CORE_FRAMES - chunk) // stride
    return Grid(
        chunk, stride, max(1, min(fitting, config.batch_size // WINDOWS_PER_STEP)), PAST_FRAMES, FUTURE_FRAMES
    )


def windows_per_step(config: TrainingConfig, grid: Grid) -> int:
    """Return the number of windows that contain about `batch_size` chunks."""
    return max(1, round(config.batch_size / grid.chunks))


def chunk_starts(frames: int, grid: Grid) -> Int64[np.ndarray, " chunks"]:
    """Return the first frame of each chunk of a region of `frames`; the last chunk may extend beyond it."""
    count = 1 + max(0, -(-(frames - grid.chunk) // grid.stride))
    return np.arange(count) * grid.stride


def window_table(bounds: Sequence[tuple[int, int]], grid: Grid) -> Int32[np.ndarray, "windows 4"]:
    """Return a row per window: first frame of its core, begin and end of its region, number of its chunks.

    `bounds` are the begin and the end of each region in the shard. Each chunk is in exactly one window, and
    the numbers of chunks in the windows of a region differ by at most one.
    """
    rows: list[tuple[int, int, int, int]] = []
    for begin, end in bounds:
        starts = chunk_starts(end - begin, grid)
        parts = np.array_split(starts, -(-len(starts) // grid.chunks))
        rows += [(begin + int(part[0]), begin, end, len(part)) for part in parts]
    return np.array(rows, np.int32).reshape(-1, 4)


def core_weights(grid: Grid) -> tuple[Int32[np.ndarray, " length"], Int32[np.ndarray, " length"]]:
    """Return the numbers of the first and the last chunk that contain each frame of a window.

    If no chunk contains a frame, its last number is lower than its first. The last number is not limited to
    the chunks that the window has.
    """
    position = np.arange(grid.length) - grid.past
    first = np.maximum(0, (position - grid.chunk) // grid.stride + 1)
    return first.astype(np.int32), (position // grid.stride).astype(np.int32)
