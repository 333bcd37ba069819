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
NOTHING = -1  # a score that reaches no threshold
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

    `channels` are those of each track, and `begins` the frames in which their signals begin.
    """

    values: FrameScores
    channels: tuple[tuple[int, ...], ...]
    begins: tuple[int, ...]
    duration_ms: int

    def pack(self) -> bytes:
        """The bytes that are stored: a line of JSON, then the compressed values."""
        facts = {
            "shape": self.values.shape,
            "channels": self.channels,
            "begins": self.begins,
            "duration_ms": self.duration_ms,
        }
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
            return cls(by_type.swapaxes(1, 2), channels, tuple(facts["begins"]), facts["duration_ms"])
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            raise ValueError(f"the stored scores are damaged: {error!r}") from error

    @property
    def counted(self) -> FrameScores:
        """`values`, with NOTHING in the frames of each track in which its signal has not begun."""
        return counted(self.values, self.begins)

    def detections(self, types: Sequence[TypeDefaults], config: DetectionConfig) -> list[Detection]:
        """The detections, by onset."""
        return detections(self.values, self.channels, self.begins, types, self.duration_ms, config)


def rounded(scores: FrameScores) -> FrameScores:
    """Scores of 0 to 1, rounded to thousandths."""
    result: FrameScores = np.rint(scores * ONE).astype(np.float32) / np.float32(ONE)
    return result


def counted(scores: FrameScores, begins: Sequence[int]) -> FrameScores:
    """Scores (tracks, frames, types), with NOTHING in the frames of each track before its begin."""
    has_begun = np.arange(scores.shape[1]) >= np.array(begins, np.int64).reshape(-1, 1)
    return np.where(has_begun[:, :, None], scores, np.float32(NOTHING))


def detections(
    scores: FrameScores,
    channels: Sequence[tuple[int, ...]],
    begins: Sequence[int],
    types: Sequence[TypeDefaults],
    duration_ms: int,
    config: DetectionConfig,
) -> list[Detection]:
    """The detections in the cleaned and rounded scores of a file's tracks, by start; see `Findings`."""
    findings = Findings(channels, types, config)
    for column in range(len(types)):
        findings.add(column, scores[:, :, column], begins)
    return findings.finish(duration_ms)


class Findings:
    """The detections of a stream, by start, from cleaned and rounded scores, which may come by type.

    Runs of scores that reach the threshold are joined, and then those that are too short are dropped. The
    confidence is the highest score in these runs, so it is never below the threshold. What is found at the
    same time in several tracks is one detection. `channels` are those of each track.
    """

    def __init__(
        self, channels: Sequence[tuple[int, ...]], types: Sequence[TypeDefaults], config: DetectionConfig
    ) -> None:
        self._of_types = [_TypeFindings(learned, channels, *config.for_type(learned)) for learned in types]
        self._waiting: list[Detection] = []

    def add(self, column: int, scores: FrameScores, begins: Sequence[int | None]) -> None:
        """Take the scores of the next frames for the type of this number.

        A track counts from its frame in `begins` on, which is None while it is not known.
        """
        self._of_types[column].add(scores, begins)

    @property
    def judged_ms(self) -> int:
        """No detection that begins earlier will follow those that were taken."""
        return min(of_type.undecided_from_ms for of_type in self._of_types)

    def take(self) -> list[Detection]:
        """Return the next detections that nothing later can change, by start."""
        for of_type in self._of_types:
            self._waiting += of_type.take()
        judged_ms = self.judged_ms
        ready = [detection for detection in self._waiting if detection.start_ms < judged_ms]
        self._waiting = [detection for detection in self._waiting if detection.start_ms >= judged_ms]
        return sorted(ready, key=_order)

    def finish(self, duration_ms: int) -> list[Detection]:
        """Return the last detections. None lasts longer than the audio."""
        for of_type in self._of_types:
            self._waiting += of_type.finish(duration_ms)
        return sorted(self._waiting, key=_order)


def _order(detection: Detection) -> tuple[int, int, str]:
    return detection.start_ms, detection.end_ms, detection.artifact_type


class _TypeFindings:
    def __init__(
        self,
        learned: TypeDefaults,
        channels: Sequence[tuple[int, ...]],
        threshold: float,
        window_ms: int,
        minimum_ms: int,
    ) -> None:
        self._name = learned.name
        self._channels = channels
        self._threshold = threshold
        self._window_ms = window_ms
        self._minimum_ms = max(1, minimum_ms)
        self._frames = 0
        # Of each track, those that were not taken: the last of them may go on.
        self._tracks = [_Spans(NO_SPANS, np.empty(0, np.float32)) for _ in channels]

    @property
    def undecided_from_ms(self) -> int:
        """The earliest start of what was not taken, or that may come."""
        starts = (int(track.spans[0, 0]) for track in self._tracks if len(track.spans))
        return min([self._frames * FRAME_MS, *starts])

    def add(self, scores: FrameScores, begins: Sequence[int | None]) -> None:
        for number, (of_track, begin) in enumerate(zip(scores, begins, strict=True)):
            active = of_track >= self._threshold
            active[: len(active) if begin is None else max(0, begin - self._frames)] = False
            new = _Spans.of_runs(of_track, active, self._frames)
            self._tracks[number] = self._tracks[number].followed_by(new, self._window_ms)
        self._frames += scores.shape[1]

    def take(self) -> list[Detection]:
        judged_ms = self._frames * FRAME_MS
        finished = [track.before(judged_ms - self._window_ms) for track in self._tracks]
        starts = [
            int(track.spans[count, 0])
            for track, count in zip(self._tracks, finished, strict=True)
            if count < len(track.spans)
        ]
        # What is not known yet begins no earlier, so it shares no time with what ends before.
        border_ms = _last_gap(
            [track.spans[:count] for track, count in zip(self._tracks, finished, strict=True)],
            min([judged_ms, *starts]),
        )
        taken = []
        for number, track in enumerate(self._tracks):
            count = int(np.searchsorted(track.spans[:, 0], border_ms))
            taken.append(track.part(slice(0, count)))
            self._tracks[number] = track.part(slice(count, None))
        return self._detections(taken)

    def finish(self, duration_ms: int) -> list[Detection]:
        rest = [_Spans(np.minimum(track.spans, duration_ms), track.peaks) for track in self._tracks]
        return self._detections(rest)

    def _detections(self, tracks: Sequence["_Spans"]) -> list[Detection]:
        """What is long enough, and is one in several channels."""
        tracks = [track.at_least(self._minimum_ms) for track in tracks]
        numbers = np.repeat(np.arange(len(tracks)), [len(track.spans) for track in tracks])
        spans = np.concatenate([track.spans for track in tracks])
        peaks = np.concatenate([track.peaks for track in tracks])
        result = []
        for group in same_artifacts([track.spans for track in tracks]):
            start, end = int(spans[group, 0].min()), int(spans[group, 1].max())
            channels = sorted(channel for number in numbers[group] for channel in self._channels[number])
            result.append(
                Detection(self._name, start, end, round(float(peaks[group].max()), 3), tuple(channels))
            )
        return result


def _last_gap(tracks: Sequence[np.ndarray], border_ms: int) -> int:
    """The last time up to `border_ms` that no span of any track covers."""
    spans = np.concatenate(tracks)
    for start, end in spans[np.argsort(spans[:, 0])[::-1]].tolist():
        if start < border_ms < end:
            border_ms = start
    return border_ms


@dataclass(frozen=True, slots=True)
class _Spans:
    """Spans in ms in ascending order, and the highest score in each."""

    spans: Spans
    peaks: npt.NDArray[np.float32]

    @classmethod
    def of_runs(cls, scores: np.ndarray, active: np.ndarray, first: int) -> "_Spans":
        """The runs of active frames, counted from frame `first` on."""
        frames = runs(active)
        peaks = [scores[begin:end].max() for begin, end in frames.tolist()]
        return cls((frames + first) * FRAME_MS, np.array(peaks, np.float32))

    def followed_by(self, later: "_Spans", window_ms: int) -> "_Spans":
        """These and later ones; those no further apart than `window_ms` are joined."""
        if not len(later.spans):
            return self
        spans: Spans = np.concatenate([self.spans, later.spans])
        peaks = np.concatenate([self.peaks, later.peaks])
        firsts = np.flatnonzero(begins_apart(spans, window_ms))
        return _Spans(merged(spans, window_ms), np.maximum.reduceat(peaks, firsts))

    def before(self, end_ms: int) -> int:
        """How many end before `end_ms`."""
        return int(np.searchsorted(self.spans[:, 1], end_ms))

    def part(self, part: slice) -> "_Spans":
        """Some of them."""
        return _Spans(self.spans[part], self.peaks[part])

    def at_least(self, minimum_ms: int) -> "_Spans":
        """Those that are so long."""
        long = self.spans[:, 1] - self.spans[:, 0] >= minimum_ms
        return _Spans(self.spans[long], self.peaks[long])


def runs(active: npt.NDArray[np.bool_]) -> Spans:
    """The first frame of each run of true, and the first one after it."""
    edges = np.diff(active.astype(np.int8), prepend=0, append=0)
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)


def merged(spans: Spans, window_ms: int) -> Spans:
    """The spans, given in ascending order; those no further apart than `window_ms` are joined."""
    if len(spans) == 0:
        return spans
    apart = begins_apart(spans, window_ms)
    return np.stack([spans[apart, 0], spans[np.append(apart[1:], True), 1]], axis=1)


def begins_apart(spans: Spans, window_ms: int) -> npt.NDArray[np.bool_]:
    """Which spans begin further than `window_ms` after the end of the one before."""
    return np.append(True, spans[1:, 0] - spans[:-1, 1] > window_ms)


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
