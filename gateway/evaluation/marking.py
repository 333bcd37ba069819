"""How much it would help to mark a file next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from earmark.matching import matched_pairs
from earmark.scores import NO_SPANS, DetectionConfig, Scores, Spans, TypeDefaults

MINUTE_MS = 60_000
BAND = 0.2  # how far a confidence may be from the threshold and be uncertain


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Number of uncertain detections, and how uncertain they are together; each adds from 0 to 1."""

    detections: int
    total: float

    def per_minute(self, duration_ms: int) -> float:
        return self.total * MINUTE_MS / max(1, duration_ms)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Numbers of detections that only the first, only the second and both jobs have."""

    only_first: int
    only_second: int
    both: int

    def per_minute(self, duration_ms: int) -> float:
        return (self.only_first + self.only_second) * MINUTE_MS / max(1, duration_ms)


def uncertainty(scores: Scores, types: Sequence[TypeDefaults], config: DetectionConfig) -> Uncertainty:
    """The detections whose confidence is within BAND of the threshold, also below it.

    One adds 1 if its confidence is the threshold, and the less, the farther it is away.
    """
    thresholds = {learned.name: config.for_type(learned)[0] for learned in types}
    # Not 0: what reaches it is all of the file.
    lower = {name: max(threshold / 2, threshold - BAND) for name, threshold in thresholds.items()}
    found = scores.detections(types, replace(config, thresholds=lower))
    # Rounded, so that 0.7 is 0.2 from 0.5.
    distances = [round(abs(each.confidence - thresholds[each.artifact_type]), 6) for each in found]
    near = [1 - distance / BAND for distance in distances if distance < BAND]
    return Uncertainty(len(near), sum(near))


def disagreement(first: Mapping[str, Spans], second: Mapping[str, Spans]) -> Disagreement:
    """What the jobs found of each type, matched as the figures match detections with annotations."""
    pairs = [(first.get(name, NO_SPANS), second.get(name, NO_SPANS)) for name in first.keys() | second.keys()]
    both = sum(len(matched_pairs(ours, theirs)[0]) for ours, theirs in pairs)
    ours, theirs = (sum(len(pair[side]) for pair in pairs) for side in (0, 1))
    return Disagreement(ours - both, theirs - both, both)
