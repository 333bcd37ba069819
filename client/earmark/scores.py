"""Scores to detections, for the trainer that computes the scores and the gateway that keeps them.

Scores are rounded to thousandths. So those of a detection job can be stored in little space, and give exactly
the detections that the model would find with another threshold.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

FRAME_MS = 10
ONE = 1000  # thousandths
MAX_UNPACKED_BYTES = 1 << 30

SAME_SHARE = 0.5  # of the time that the spans of two channels cover together
NO_SPANS = np.empty((0, 2), np.int64)
LIKELY = 0.5  # the confidence from which an annotation counts as an event; training uses the others too

Spans = npt.NDArray[np.int64]  # onsets and offsets in ms, one row each
FrameScores = npt.NDArray[np.float32]  # 0-1


class TypeDefaults(Protocol):
    """What a model has learned of a type: the settings that apply unless the caller has others."""

    @property
    def name(self) -> str: ...

    @property
    def merge_window_ms(self) -> int: ...

    @property
    def min_duration_ms(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Detection:
    """One detected artifact; `confidence` is 0-1. `channels` are those with it, from 0, ascending."""

    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float
    channels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DetectionConfig:
    """The settings of a detection.

    `merge_window_ms` and `min_duration_ms` are for all types; without them, each type has its own. The maps
    override `threshold`, `merge_window_ms` and `min_duration_ms` for the types that they name.
    """

    threshold: float = 0.5
    thresholds: Mapping[str, float] = field(default_factory=dict)
    merge_window_ms: int | None = None
    min_duration_ms: int | None = None
    merge_windows_ms: Mapping[str, int] = field(default_factory=dict)
    min_durations_ms: Mapping[str, int] = field(default_factory=dict)

    def for_type(self, learned: TypeDefaults) -> tuple[float, int, int]:
        """The threshold, the merge window in ms and the minimum duration in ms that apply to a type."""
        window, minimum = self.merge_window_ms, self.min_duration_ms
        return (
            self.thresholds.get(learned.name, self.threshold),
            self.merge_windows_ms.get(learned.name, learned.merge_window_ms if window is None else window),
            self.min_durations_ms.get(learned.name, learned.min_duration_ms if minimum is None else minimum),
        )


@dataclass(frozen=True, slots=True)
class Scores:
    """A file's cleaned and rounded scores: `values` has shape (tracks, frames, types).

    `channels` are those of each track.
    """

    values: FrameScores
    channels: tuple[tuple[int, ...], ...]
    duration_ms: int

    def pack(self) -> bytes:
        """The bytes that are stored: a line of JSON, then the compressed values."""
        facts = {"shape": self.values.shape, "channels": self.channels, "duration_ms": self.duration_ms}
        # The scores of a type change little from frame to frame, so they lie side by side.
        by_type = np.rint(self.values.swapaxes(1, 2) * ONE).astype("<u2", order="C")
        return json.dumps(facts).encode() + b"\n" + zlib.compress(by_type.tobytes(), 1)

    @classmethod
    def unpack(cls, packed: bytes) -> "Scores":
        """Reverses `pack`. Raises ValueError if the bytes are of another form."""
        line, _, compressed = packed.partition(b"\n")
        try:
            facts = json.loads(line)
            tracks, frames, types = facts["shape"]
            channels = tuple(tuple(of_track) for of_track in facts["channels"])
            values = np.frombuffer(zlib.decompressobj().decompress(compressed, MAX_UNPACKED_BYTES), "<u2")
            by_type = values.reshape(tracks, types, frames).astype(np.float32) / np.float32(ONE)
            return cls(by_type.swapaxes(1, 2), channels, facts["duration_ms"])
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            raise ValueError(f"the stored scores are damaged: {error!r}") from error

    def detections(self, types: Sequence[TypeDefaults], config: DetectionConfig) -> list[Detection]:
        """The detections, by onset."""
        return detections(self.values, self.channels, types, self.duration_ms, config)


def rounded(scores: FrameScores) -> FrameScores:
    """Scores of 0 to 1, rounded to thousandths."""
    result: FrameScores = np.rint(scores * ONE).astype(np.float32) / np.float32(ONE)
    return result


def detections(
    scores: FrameScores,
    channels: Sequence[tuple[int, ...]],
    types: Sequence[TypeDefaults],
    duration_ms: int,
    config: DetectionConfig,
) -> list[Detection]:
    """The detections in the cleaned and rounded scores of a file's tracks, by start.

    `channels` are those of each track. Runs of scores that reach the threshold are joined, and then those
    that are too short are dropped. The confidence is the highest score in the detection, so it is never below
    the threshold. What is found at the same time in several tracks is one detection.
    """
    result = []
    for column, learned in enumerate(types):
        threshold, merge_window_ms, min_duration_ms = config.for_type(learned)
        of_tracks = [
            found(track[:, column] >= threshold, duration_ms, merge_window_ms, min_duration_ms)
            for track in scores
        ]
        track_of = np.repeat(np.arange(len(scores)), [len(spans) for spans in of_tracks])
        spans = np.concatenate(of_tracks)
        for group in same_artifacts(of_tracks):
            start, end = int(spans[group, 0].min()), int(spans[group, 1].max())
            tracks = track_of[group].tolist()
            highest = scores[tracks, start // FRAME_MS : -(-end // FRAME_MS), column].max()
            heard = sorted(channel for track in tracks for channel in channels[track])
            result.append(Detection(learned.name, start, end, round(float(highest), 3), tuple(heard)))
    return sorted(
        result, key=lambda detection: (detection.start_ms, detection.end_ms, detection.artifact_type)
    )


def found(
    active: npt.NDArray[np.bool_], duration_ms: int, merge_window_ms: int, min_duration_ms: int
) -> Spans:
    """The onsets and offsets in ms of what is detected where frames are active."""
    spans = merged(np.minimum(runs(active) * FRAME_MS, duration_ms), merge_window_ms)
    long_enough: Spans = spans[spans[:, 1] - spans[:, 0] >= max(1, min_duration_ms)]
    return long_enough


def runs(active: npt.NDArray[np.bool_]) -> Spans:
    """The first frame of each run of true, and the first one after it."""
    edges = np.diff(active.astype(np.int8), prepend=0, append=0)
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)


def merged(spans: Spans, window_ms: int) -> Spans:
    """The spans, given in ascending order; those no further apart than `window_ms` are joined."""
    if len(spans) == 0:
        return spans
    apart = spans[1:, 0] - spans[:-1, 1] > window_ms
    return np.stack([spans[np.append(True, apart), 0], spans[np.append(apart, True), 1]], axis=1)


def across_channels(channels: Sequence[Spans]) -> Spans:
    """The artifacts of one type in a file, from the spans in each channel. One in several channels is one."""
    if len(channels) == 1:
        return channels[0]
    groups = same_artifacts(channels)
    spans = np.concatenate([NO_SPANS, *channels])
    joined = [(int(spans[group, 0].min()), int(spans[group, 1].max())) for group in groups]
    return np.array(joined, np.int64).reshape(-1, 2)


def by_type(of_channels: Mapping[tuple[str, int | None], Spans]) -> dict[str, Spans]:
    """The artifacts of each type, from the spans of each type and channel; None is an unknown channel."""
    channels: dict[str, list[Spans]] = {}
    for (name, _), spans in of_channels.items():
        channels.setdefault(name, []).append(spans)
    return {name: across_channels(of_type) for name, of_type in channels.items()}


def same_artifacts(channels: Sequence[Spans]) -> list[list[int]]:
    """Group the spans of all channels, numbered one channel after the other, by artifact and by onset.

    Two spans in two channels are one artifact if what they share is at least SAME_SHARE of what they cover.
    """
    spans = np.concatenate([NO_SPANS, *channels])
    channel_of = np.repeat(np.arange(len(channels)), [len(of_channel) for of_channel in channels])
    groups: list[list[int]] = []
    open_groups: list[list[int]] = []
    for number in np.lexsort((spans[:, 1], spans[:, 0])).tolist():
        start, end = spans[number].tolist()
        open_groups = [group for group in open_groups if spans[group, 1].max() > start]
        for group in open_groups:
            begin, finish = spans[group[0]].tolist()
            shared = min(end, finish) - max(start, begin)
            covered = max(end, finish) - min(start, begin)
            if channel_of[number] not in channel_of[group] and shared >= SAME_SHARE * covered:
                group.append(number)
                break
        else:
            groups.append([number])
            open_groups.append(groups[-1])
    return groups
