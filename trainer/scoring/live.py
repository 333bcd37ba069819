"""Detection in live streams: what a file gets at its end, a stream gets as it goes.

The scores are those of the whole, because a frame is scored once all frames that its score depends on are
there. The windows of many streams go through the network together.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
from jaxtyping import Bool, Float16, Float32
from scipy import ndimage  # type: ignore[import-untyped]  # it has no stubs

from earmark.scores import FRAME_MS, Detection, DetectionConfig, Findings, rounded
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.features.streams import Window
from earmark.trainer.model import LearnedType, Model
from earmark.trainer.network import STEP
from earmark.trainer.scoring.detection import BATCHES, TILE, shifted, tile_scores

LIVE_TILE = 256  # frames: the context of a score, and some of a second
FULL = 13  # tiles from which on a large batch costs less than small ones
BACKLOG = 4  # tiles of a stream from which on longer ones cost less


class LiveStream:
    """The state of one stream: the frames that later scores depend on, and the detections that are open."""

    def __init__(self, model: Model, config: DetectionConfig, begun: Sequence[bool]) -> None:
        """`begun` says of each channel whether its signal has begun before the stream."""
        channels = len(begun)
        self.model = model
        self._features = np.empty((channels, 0, FEATURES), np.float16)
        self._first = 0  # frame of the features
        self.scored = 0  # frames
        self._ended = False
        self._begins: list[int | None] = [0 if has_begun or channels == 1 else None for has_begun in begun]
        self._cleaning = [_Cleaning(learned, channels) for learned in model.types]
        self._findings = Findings([(number,) for number in range(channels)], model.types, config)

    def push(
        self,
        features: Float16[np.ndarray, "frames channels features"],
        begun: Bool[np.ndarray, "frames channels"],
    ) -> None:
        """Take the next frames, and in which of their channels a signal has begun."""
        end = self._first + self._features.shape[1]
        for number, of_channel in enumerate(begun.T):
            if self._begins[number] is None and of_channel.any():
                self._begins[number] = end + int(of_channel.argmax())
        self._features = np.concatenate([self._features, features.swapaxes(0, 1)], axis=1)

    def end(self) -> None:
        """No frames follow."""
        self._ended = True

    @property
    def judged_ms(self) -> int:
        """No detection that begins earlier will follow those that were taken."""
        return self._findings.judged_ms

    @property
    def silent_channels(self) -> tuple[int, ...]:
        """The channels in which no signal has begun before `judged_ms`."""
        return tuple(
            number
            for number, begin in enumerate(self._begins)
            if begin is None or begin * FRAME_MS >= max(1, self.judged_ms)
        )

    @property
    def due(self) -> int:
        """How many frames can be scored."""
        end = self._first + self._features.shape[1]
        if self._ended:
            return end - self.scored
        return max(0, (end - self.model.architecture.future) // STEP * STEP - self.scored)

    def window(self, channel: int, first: int, length: int) -> tuple[Float16[np.ndarray, "_ features"], int]:
        """A channel's features in a tile whose scores begin at frame `first`.

        Also how many frames of it lie before the stream.
        """
        begin = first - self.model.architecture.past
        part = self._features[channel, max(0, begin) - self._first : max(0, begin + length - self._first)]
        return part, max(0, -begin)

    def tiles(self, length: int) -> list[tuple[int, int]]:
        """The tiles of so many frames that have what is due: the channel, and the first frame to score."""
        useful = length - self.model.architecture.past - self.model.architecture.future
        firsts = range(self.scored, self.scored + self.due, useful)
        return [(channel, first) for channel in range(len(self._begins)) for first in firsts]

    def unscored(self) -> Float32[np.ndarray, "channels _ types"]:
        """Room for the scores that are due."""
        return np.empty((len(self._begins), self.due, len(self.model.types)), np.float32)

    def judge(self, scores: Float32[np.ndarray, "channels frames types"]) -> None:
        """Take the scores of the frames that were due."""
        self.scored += scores.shape[1]
        kept = max(self._first, self.scored - self.model.architecture.past)
        self._features = self._features[:, kept - self._first :].copy()
        self._first = kept
        for column, cleaning in enumerate(self._cleaning):
            cleaned = cleaning.push(scores[:, :, column], last=self._ended)
            self._findings.add(column, cleaned, self._begins)

    def take(self) -> list[Detection]:
        """Return the next detections that nothing later can change, by start."""
        return self._findings.take()

    def finish(self, duration_ms: int) -> list[Detection]:
        """Return the last detections."""
        return self._findings.finish(duration_ms)


class _Cleaning:
    """Shifts the scores of a type and smooths them, as `detection.cleaned` does."""

    def __init__(self, learned: LearnedType, channels: int) -> None:
        self._learned = learned
        reach = learned.smoothing // 2
        self._smooth = Window(self._smoothed, reach, reach, channels)

    def push(
        self, scores: Float32[np.ndarray, "channels _"], *, last: bool
    ) -> Float32[np.ndarray, "channels _"]:
        moved = shifted(scores.T[:, :, None], [self._learned.offset])[:, :, 0]
        return self._smooth.push(moved, last=last).T

    def _smoothed(self, rows: np.ndarray, part: slice) -> np.ndarray:
        smooth: np.ndarray = ndimage.median_filter(rows, (self._learned.smoothing, 1), mode="constant")
        return rounded(smooth[part])


def advance(streams: Sequence[LiveStream]) -> None:
    """Scores what is due in streams of one model."""
    behind = [stream for stream in streams if stream.due > BACKLOG * LIVE_TILE]
    _score(behind, TILE)
    _score([stream for stream in streams if stream not in behind], LIVE_TILE)


def prepare(model: Model) -> None:
    """Compiles what streams of such a model need, so that no other stream waits for it."""
    for length, count in product((LIVE_TILE, TILE), BATCHES):
        scores(model, [(np.empty((0, FEATURES), np.float16), 0)] * count, length)


def _score(streams: Sequence[LiveStream], length: int) -> None:
    results = [stream.unscored() for stream in streams]
    tiles = [(number, *tile) for number, stream in enumerate(streams) for tile in stream.tiles(length)]
    while tiles:
        size = BATCHES[-1] if len(tiles) >= FULL else BATCHES[0]
        batch, tiles = tiles[:size], tiles[size:]
        windows = [streams[number].window(channel, start, length) for number, channel, start in batch]
        for (number, channel, start), values in zip(
            batch, scores(streams[0].model, windows, length), strict=True
        ):
            place = start - streams[number].scored
            part = results[number][channel, place : place + len(values)]
            part[:] = values[: len(part)]
    for stream, result in zip(streams, results, strict=True):
        stream.judge(result)


def scores(
    model: Model, windows: Sequence[tuple[Float16[np.ndarray, "_ features"], int]], length: int
) -> list[Float32[np.ndarray, "_ types"]]:
    """The scores of the frames of each window that has its context, in tiles of `length` frames.

    A window begins with a context, or at the number of frames that its audio lacks of it.
    """
    size = next(size for size in BATCHES if size >= len(windows))
    x, valid = np.zeros((size, length, FEATURES), np.float16), np.zeros((size, length), bool)
    for row, (part, missing) in enumerate(windows):
        place = slice(missing, missing + len(part))
        x[row, place], valid[row, place] = part, True
    architecture = model.architecture
    every = np.asarray(
        tile_scores(model.parameters, x, valid, model.mean, model.deviation, architecture=architecture)
    )[:, architecture.past : length - architecture.future, : len(model.types)]
    return list(every[: len(windows)])
