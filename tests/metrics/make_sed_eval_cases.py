"""Makes sed_eval_cases.json: random lists of events, and the counts that sed_eval 0.2.1 gives for them.

The tests only read the file: sed_eval needs setuptools < 81 and brings some thirty packages. To make it
again, in an environment of its own:

    pip install sed_eval "setuptools<81" && python tests/trainer/scoring/make_sed_eval_cases.py

Times are whole milliseconds. sed_eval counts in seconds, in floating point, where 0.2 s is not always 200 ms.
Times on such an edge are not drawn, because the two counts may rightly differ there.
"""

import json
import math
import random
from pathlib import Path

from sed_eval.sound_event import EventBasedMetrics, SegmentBasedMetrics

TYPES = ("a", "b", "c")
CASES = 240
COLLAR = 0.2
SEGMENT = 0.1


def times_to_draw(length):
    """All times but those that floating point puts on the other side of a segment's edge."""
    for ms in range(length + 1):
        place = ms / 1000 / SEGMENT
        if (math.floor(place), math.ceil(place)) == (ms // 100, -(-ms // 100)):
            yield ms


def on_an_edge(reference, estimated):
    return any(
        abs(onset - start) == 1000 * COLLAR
        or abs(offset - end) == 1000 * COLLAR
        or 2 * abs(offset - end) == offset - onset
        for onset, offset in reference
        for start, end in estimated
    )


def drawn_reference(rng, times):
    """Up to six events: apart, touching, nested, identical, at the beginning and at the end."""
    spans = []
    for _ in range(rng.choice([0, 1, 2, 3, 4, 6])):
        start, end = sorted(rng.sample(times, 2))
        if rng.random() < 0.7:
            end = min(times[-1], rng.choice([t for t in times if start < t <= start + 900] or [times[-1]]))
        how = rng.random()
        if spans and how < 0.15:
            start, end = spans[-1][1], max(end, spans[-1][1])
        elif spans and how < 0.25:
            start, end = spans[-1]
        elif spans and how < 0.35:
            inside = [t for t in times if spans[-1][0] <= t <= spans[-1][1]]
            start, end = sorted(rng.sample(inside, 2))
        elif how < 0.42:
            start = times[0]
        elif how < 0.5:
            end = times[-1]
        if start < end:
            spans.append((start, end))
    return spans


def drawn_estimate(rng, times, reference):
    """What a detector might return: events that are moved, split, missed or invented."""
    known, spans = set(times), []
    for start, end in reference:
        for _ in range(rng.choice([0, 1, 1, 1, 2])):
            wide = rng.choice([5, 80, 250, 600])
            moved = start + rng.randint(-wide, wide), end + rng.randint(-wide, wide)
            if moved[0] < moved[1] and known.issuperset(moved):
                spans.append(moved)
    spans += [tuple(sorted(rng.sample(times, 2))) for _ in range(rng.choice([0, 0, 1, 2]))]
    rng.shuffle(spans)
    return spans


def drawn_file(rng):
    times = list(times_to_draw(rng.choice([400, 3000, 9990])))
    file = {"reference": {}, "estimated": {}}
    for kind in TYPES:
        reference = estimated = None
        while reference is None or on_an_edge(reference, estimated):
            reference = drawn_reference(rng, times)
            estimated = drawn_estimate(rng, times, reference)
        file["reference"][kind], file["estimated"][kind] = reference, estimated
    return file


def sed_eval_events(spans_by_type):
    return [
        {"filename": "file", "event_label": kind, "onset": start / 1000, "offset": end / 1000}
        for kind, spans in spans_by_type.items()
        for start, end in spans
    ]


def counts(metrics, files):
    """Matched, wrongly detected and missed events or segments, by type."""
    for file in files:
        metrics.evaluate(sed_eval_events(file["reference"]), sed_eval_events(file["estimated"]))
    return {
        kind: [int(of[name]) for name in ("Ntp", "Nfp", "Nfn")] for kind, of in metrics.class_wise.items()
    }


def case(rng):
    files = [drawn_file(rng) for _ in range(rng.choice([1, 1, 2, 3]))]
    events = EventBasedMetrics(list(TYPES), t_collar=COLLAR, percentage_of_length=0.5)
    segments = SegmentBasedMetrics(list(TYPES), time_resolution=SEGMENT)
    return {"files": files, "events": counts(events, files), "segments": counts(segments, files)}


if __name__ == "__main__":
    rng = random.Random(0)
    lines = ",\n".join(json.dumps(case(rng), separators=(",", ":")) for _ in range(CASES))
    Path(__file__).with_name("sed_eval_cases.json").write_text(f"[\n{lines}\n]\n")
