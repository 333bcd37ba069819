"""Counts what a job found against what is annotated, some files at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from earmark.figures import EvalMetrics
from earmark.gateway.evaluation.confusion import Events, confusion
from earmark.metrics import THRESHOLDS, Counts, metrics_of, segment_counts, with_curves, with_intervals
from earmark.scores import DetectionConfig, TypeDefaults
from earmark.timeline import ScoredRegion, Timeline

LONGEST_WINDOW_MS = 5_000  # the longest merge window that a request can set
VALUES_AT_ONCE = 1 << 23  # scores of 4 bytes


class Tally:
    """The sums over the files that were added. `names` are those of all types: the model's, then any others.

    Only the model's types have figures; the others can be confused with them. Memory grows with the number of
    files by a few numbers for each type.
    """

    def __init__(self, types: Sequence[TypeDefaults], names: Sequence[str], config: DetectionConfig) -> None:
        self.types = [learned.name for learned in types]
        self.names = names
        self.files = 0
        self.unannotated_files = 0
        self.confusion = np.zeros((len(names) + 1, len(names) + 1), np.int64)
        self._learned = types
        self._config = config
        self._by_file = [np.zeros((0, len(types), 3), np.int64)]
        self._segments = dict.fromkeys(self.types, Counts())
        self._curves = np.zeros((len(types), len(THRESHOLDS), 3), np.int64)

    def add(self, regions: Iterable[ScoredRegion]) -> None:
        """Counts the events of these files. If they are made one by one, few are in memory at a time."""
        for group in _grouped(regions):
            self.files += len(group)
            self.unannotated_files += sum(not region.events for region in group)
            timeline = Timeline(group, self._learned, beyond_ms=LONGEST_WINDOW_MS)
            self._add(timeline)
            for number, threshold in enumerate(THRESHOLDS.tolist()):
                config = replace(self._config, threshold=threshold, thresholds={})
                self._curves[:, number] += self._counts(timeline, config).sum(axis=0)

    def by_file(self) -> npt.NDArray[np.int64]:
        """(files, types, 3): the reference, estimated and matched events of each file."""
        return np.concatenate(self._by_file)

    def metrics(self) -> EvalMetrics:
        """The figures of all files, with intervals and curves, and without those of chunks."""
        by_file = self.by_file()
        counts = {name: by_file[:, number] for number, name in enumerate(self.types)}
        events = {name: Counts(*of_type.sum(axis=0).tolist()) for name, of_type in counts.items()}
        metrics = with_intervals(metrics_of(events, self._segments), counts)
        return with_curves(metrics, dict(zip(self.types, self._curves, strict=True)))

    def _add(self, timeline: Timeline) -> None:
        estimated = timeline.estimated(self._config)
        for name, spans in estimated.items():
            self._segments[name] += segment_counts(timeline.reference[name], spans)
        self._by_file.append(self._counts(timeline, self._config))
        annotated, detected = (Events.of(side, self.names) for side in (timeline.reference, estimated))
        self.confusion += confusion(annotated, detected, len(self.names))

    def _counts(self, timeline: Timeline, config: DetectionConfig) -> npt.NDArray[np.int64]:
        """(files, types, 3)."""
        counts = timeline.counts(config)
        return np.stack([counts[name] for name in self.types], axis=1)


def _grouped(regions: Iterable[ScoredRegion]) -> Iterator[list[ScoredRegion]]:
    """Regions that together have about VALUES_AT_ONCE scores, or one that has more."""
    group: list[ScoredRegion] = []
    for region in regions:
        group.append(region)
        if sum(each.scores.size for each in group) >= VALUES_AT_ONCE:
            yield group
            group = []
    if group:
        yield group
