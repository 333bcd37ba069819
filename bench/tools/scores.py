"""Scores of detections against annotations, counted in the same way as a model's own metrics."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.tools.folder import Row
from trainer.scoring.metrics import Counts, event_counts, segment_counts

NO_SPANS = np.empty((0, 2), np.int64)


def scores(truth: list[Row], detections: list[Row]) -> dict[str, Any]:
    """F1 of events and of segments: micro, macro over the types that occur, and per type."""
    real, detected = spans(truth), spans(detections)
    events: dict[str, Counts] = defaultdict(Counts)
    segments: dict[str, Counts] = defaultdict(Counts)
    for filename, kind in sorted({*real, *detected}):
        reference = real.get((filename, kind), NO_SPANS)
        estimated = detected.get((filename, kind), NO_SPANS)
        events[kind] += event_counts(reference, estimated)
        segments[kind] += segment_counts(reference, estimated)
    return {**f1_table("event_f1", events), **f1_table("segment_f1", segments)}


def f1_table(name: str, counts: Mapping[str, Counts]) -> dict[str, Any]:
    """Micro F1 as `name`, with macro and per type. A type without annotations counts only in the micro F1."""
    per_type = {kind: count.figures().f1_score for kind, count in counts.items()}
    known = {kind: round(f1, 4) for kind, f1 in sorted(per_type.items()) if f1 is not None}
    micro = sum(counts.values(), Counts()).figures().f1_score
    return {
        name: None if micro is None else round(micro, 4),
        f"{name}_macro": round(float(np.mean(list(known.values()))), 4) if known else None,
        f"{name}_per_type": known,
    }


def spans(rows: list[Row]) -> dict[tuple[str, str], np.ndarray]:
    """Onsets and offsets in ms, an array (events, 2) by filename and type."""
    grouped: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for row in rows:
        grouped[row["filename"], row["artifact_type"]].append((int(row["start_ms"]), int(row["end_ms"])))
    return {key: np.array(pairs, np.int64) for key, pairs in grouped.items()}
