"""Scores of detections against annotations. Events and segments count as in a model's own metrics."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np

from bench.tools.folder import Row
from earmark.matching import close_pairs
from earmark.metrics import Counts, event_counts, segment_counts
from earmark.scores import FRAME_MS

Spans = dict[tuple[str, str], np.ndarray]  # (events, 2), onsets and offsets in ms, by filename and type
NO_SPANS = np.empty((0, 2), np.int64)


def scores(truth: list[Row], detections: list[Row], durations_ms: Mapping[str, int]) -> dict[str, Any]:
    """The figures of all files together, whose lengths are `durations_ms`; bench/README.md describes them."""
    real, detected = spans(truth), spans(detections)
    events: dict[str, Counts] = defaultdict(Counts)
    segments: dict[str, Counts] = defaultdict(Counts)
    for filename, kind in sorted({*real, *detected}):
        reference = real.get((filename, kind), NO_SPANS)
        estimated = detected.get((filename, kind), NO_SPANS)
        events[kind] += event_counts(reference, estimated)
        segments[kind] += segment_counts(reference, estimated)
    onset, offset = boundary_errors_ms(real, detected)
    return {
        **f1_table("event_f1", events),
        **f1_table("segment_f1", segments),
        "edit_distance": round(edit_distances(truth, detections) / len(truth), 4) if truth else None,
        "frame_accuracy": round(frame_accuracy(real, detected, durations_ms), 4) if durations_ms else None,
        "onset_error_ms": onset,
        "offset_error_ms": offset,
    }


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


def boundary_errors_ms(real: Spans, detected: Spans) -> tuple[float | None, float | None]:
    """The median distances of an onset and of an offset from those of the nearest detection.

    Only annotations with a detection within the collar count. None if there are none.
    """
    nearest = [NO_SPANS]
    for key in real.keys() & detected.keys():
        rows, columns = close_pairs(real[key], detected[key])
        errors = np.abs(real[key][rows] - detected[key][columns])
        order = np.lexsort((errors.sum(axis=1), rows))
        nearest.append(errors[order][np.unique(rows[order], return_index=True)[1]])
    every = np.concatenate(nearest)
    if not len(every):
        return None, None
    onset, offset = np.median(every, axis=0).tolist()
    return onset, offset


def frame_accuracy(real: Spans, detected: Spans, durations_ms: Mapping[str, int]) -> float:
    """The share of the frames of FRAME_MS in which the detected types are exactly the annotated ones."""
    frames = {filename: -(-duration // FRAME_MS) for filename, duration in durations_ms.items()}
    right = {filename: np.ones(count, bool) for filename, count in frames.items()}
    for key in real.keys() | detected.keys():
        filename, _ = key
        active = [active_frames(table.get(key, NO_SPANS), frames[filename]) for table in (real, detected)]
        right[filename] &= active[0] == active[1]
    return float(np.concatenate(list(right.values())).mean())


def active_frames(events: np.ndarray, frames: int) -> np.ndarray:
    """(frames,) bool: whether an event, (events, 2) in ms, covers any part of the frame."""
    active = np.zeros(frames, bool)
    for start, end in events.tolist():
        active[start // FRAME_MS : -(-end // FRAME_MS)] = True
    return active


def edit_distances(truth: list[Row], detections: list[Row]) -> int:
    """The edit distances between the types in order of their onsets, added over the files."""
    real, detected = sequences(truth), sequences(detections)
    return sum(
        edit_distance(real.get(name, ()), detected.get(name, ())) for name in real.keys() | detected.keys()
    )


def sequences(rows: list[Row]) -> dict[str, list[str]]:
    """The types of each file's events in order of their onsets."""
    events = sorted((row["filename"], int(row["start_ms"]), row["artifact_type"]) for row in rows)
    return {name: [kind for *_, kind in group] for name, group in groupby(events, itemgetter(0))}


def edit_distance(first: Sequence[str], second: Sequence[str]) -> int:
    """The fewest insertions, deletions and replacements that turn one into the other.

    Wagner and Fischer, The string-to-string correction problem, 1974.
    """
    above = list(range(len(second) + 1))
    for row, kind in enumerate(first, start=1):
        current = [row]
        for column, other in enumerate(second):
            replaced = above[column] + (kind != other)
            current.append(min(replaced, above[column + 1] + 1, current[column] + 1))
        above = current
    return above[-1]


def spans(rows: list[Row]) -> Spans:
    """The onsets and offsets of the rows."""
    grouped: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for row in rows:
        grouped[row["filename"], row["artifact_type"]].append((int(row["start_ms"]), int(row["end_ms"])))
    return {key: np.array(pairs, np.int64) for key, pairs in grouped.items()}
