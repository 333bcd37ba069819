"""Computing over a stream of rows what depends on neighbours: a row waits until it has those that follow it.

So a live stream gets the values of the whole file, and both run the same code. This module does no input or
output.
"""

from collections.abc import Callable

import numpy as np
import soxr  # type: ignore[import-untyped]  # it has no stubs
from jaxtyping import Float, Float32

Rows = Float[np.ndarray, "_ _"]
Compute = Callable[[np.ndarray, slice], np.ndarray]

# Of a product of matrices. With AVX2 and no AVX-512, OpenBLAS rounds the last rows of 12 and more
# differently; 4 and 8 are all worked on alike.
ROWS = 8
QUALITY = "VHQ"  # of float64: where a stream begins shows 1e-15 below its level, and not in float32


class Window:
    """Turns rows into as many results: each depends on `past` rows before its own and `future` after it.

    `compute(rows, part)` returns the results of `rows[part]`, at least one, in `columns`. It may treat the
    first and the last of the rows that it gets as those of the stream: they are, or no result depends on what
    lies beyond.
    """

    def __init__(self, compute: Compute, past: int, future: int, columns: int) -> None:
        self._compute = compute
        self._past = past
        self._future = future
        self._none = np.empty((0, columns), np.float32)
        self._rows: np.ndarray | None = None
        self._done = 0  # of the rows, those that have their result and are context

    def push(self, rows: Rows, *, last: bool = False) -> Rows:
        """Return the results that have all of their context now. With the `last` rows, all have it."""
        kept = rows if self._rows is None else np.concatenate([self._rows, rows])
        ready = len(kept) - self._done if last else max(0, len(kept) - self._done - self._future)
        part = slice(self._done, self._done + ready)
        result = self._compute(kept, part) if ready else self._none
        dropped = max(0, part.stop - self._past)
        self._rows, self._done = kept[dropped:].copy(), part.stop - dropped
        return result


class Side:
    """Puts rows side by side that come at different times."""

    def __init__(self) -> None:
        self._waiting: list[np.ndarray] | None = None

    def push(self, *parts: Rows) -> Rows:
        """Return the rows that every part has now, with the columns of all parts."""
        waiting = (
            [np.concatenate(pair) for pair in zip(self._waiting, parts, strict=True)]
            if (self._waiting)
            else list(parts)
        )
        count = min(map(len, waiting))
        self._waiting = [part[count:].copy() for part in waiting]
        return np.concatenate([part[:count] for part in waiting], axis=1)


class Resampler:
    """Resamples a signal (samples,) that comes in parts."""

    def __init__(self, rate: int, target: int) -> None:
        self._stream = (
            None if rate == target else soxr.ResampleStream(rate, target, 1, dtype="float64", quality=QUALITY)
        )

    def push(self, signal: Float32[np.ndarray, " _"], *, last: bool = False) -> Float32[np.ndarray, " _"]:
        """Return the samples at `target` Hz that can be computed now."""
        if self._stream is None:
            return signal
        result: np.ndarray = self._stream.resample_chunk(signal.astype(np.float64), last=last)
        return result.astype(np.float32)


class Grouped:
    """Cuts values (n,) that come in parts into rows of `size`."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rest = np.empty(0, np.float32)

    def push(self, values: Float32[np.ndarray, " _"]) -> Float32[np.ndarray, "_ size"]:
        """Return the rows that are complete now."""
        values = np.concatenate([self._rest, values])
        whole = len(values) // self._size * self._size
        self._rest = values[whole:].copy()
        return values[:whole].reshape(-1, self._size)


def product(
    rows: Float32[np.ndarray, "rows n"], matrix: Float32[np.ndarray, "n columns"]
) -> Float32[np.ndarray, "rows columns"]:
    """Multiply a few rows at a time, always as many: BLAS rounds by the shape of what it multiplies."""
    padded = np.zeros((-(-len(rows) // ROWS) * ROWS, rows.shape[1]), np.float32)
    padded[: len(rows)] = rows
    result: np.ndarray = padded.reshape(-1, ROWS, rows.shape[1]) @ matrix
    return result.reshape(-1, matrix.shape[1])[: len(rows)]
