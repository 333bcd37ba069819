"""The misses and false detections in one file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from earmark.gateway.evaluation.confusion import NONE, Events, Numbers, partners
from earmark.scores import FRAME_MS, Detection, Scores, Spans

Kind = Literal["missed", "false_detection"]
# As in Error, with numbers of types.
_Found = tuple[Kind, int, int, int, float, int]


@dataclass(frozen=True, slots=True)
class Error:
    """A miss or a false detection; see the fields of earmark.v1.EvaluationError."""

    kind: Kind
    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float
    other_type: str


def errors(
    scores: Scores, found: Sequence[Detection], annotated: Mapping[str, Spans], types: Sequence[str]
) -> list[Error]:
    """The errors by onset. `types` are the model's: what is annotated of another type is not missed."""
    names = [*types, *sorted(annotated.keys() - set(types))]
    real = Events.of(annotated, names)
    detected = Events(
        np.array([names.index(detection.artifact_type) for detection in found], np.int64),
        np.array([(detection.start_ms, detection.end_ms) for detection in found], np.int64).reshape(-1, 2),
    )
    of_real, of_detected = partners(real, detected)
    missed = _missed(scores, real, np.append(detected.types, NONE)[of_real], names[: len(types)])
    false = _false(found, detected.types, np.append(real.types, NONE)[of_detected])
    both = [
        Error(kind, names[event], start, end, confidence, "" if other == NONE else names[other])
        for kind, event, start, end, confidence, other in [*missed, *false]
    ]
    return sorted(both, key=lambda error: (error.start_ms, error.end_ms, error.kind, error.artifact_type))


def _missed(scores: Scores, real: Events, others: Numbers, types: Sequence[str]) -> Iterator[_Found]:
    """`others` are the types of what was detected in place of each annotation, or NONE."""
    counted = scores.counted
    for event, (start, end), other in zip(
        real.types.tolist(), real.spans.tolist(), others.tolist(), strict=True
    ):
        if event < len(types) and other != event:
            highest = counted[:, start // FRAME_MS : -(-end // FRAME_MS), event].max(initial=0)
            yield "missed", event, start, end, round(float(highest), 3), other


def _false(found: Sequence[Detection], types: Numbers, others: Numbers) -> Iterator[_Found]:
    """`types` are those of the detections; `others` those of what is annotated in their place, or NONE."""
    for detection, event, other in zip(found, types.tolist(), others.tolist(), strict=True):
        if other != event:
            times = (detection.start_ms, detection.end_ms)
            yield "false_detection", event, *times, detection.confidence, other
