"""Regions on one timeline give what each of them gives alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from earmark.metrics import event_counts, segment_counts
from earmark.scores import NO_SPANS, DetectionConfig, Scores, rounded
from earmark.timeline import ScoredRegion, Timeline
from tests.test_scores import CONFIGS, TYPES

NAMES = [learned.name for learned in TYPES]
EVENTS = st.dictionaries(
    st.sampled_from([*NAMES, "unknown"]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(10, 200)), min_size=1, max_size=4).map(
        lambda pairs: np.array([(start, start + length) for start, length in pairs], np.int64)
    ),
)


@st.composite
def scored_files(draw):
    """Scores that are high and low for some frames at a time, as those of real artifacts."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    tracks, steps = draw(st.integers(1, 3)), draw(st.integers(0, 20))
    values = np.repeat(rng.random((tracks, steps, len(TYPES)), np.float32), 3, axis=1)
    channels = tuple((number,) for number in range(tracks))
    begins = tuple(draw(st.integers(0, 3 * steps)) for _ in channels)
    return Scores(rounded(values), channels, begins, 30 * steps)


def spans_of(file: Scores, name: str, config: DetectionConfig):
    found = [(d.start_ms, d.end_ms) for d in file.detections(TYPES, config) if d.artifact_type == name]
    return np.array(found, np.int64).reshape(-1, 2)


@given(st.lists(st.tuples(scored_files(), EVENTS), max_size=5), CONFIGS)
def test_files_on_a_timeline_are_counted_as_on_their_own(files, config):
    regions = [ScoredRegion(file.counted, events, file.duration_ms) for file, events in files]
    timeline = Timeline(regions, TYPES, beyond_ms=300)
    counts, estimated = timeline.counts(config), timeline.estimated(config)
    for name in NAMES:
        alone = [(events.get(name, NO_SPANS), spans_of(file, name, config)) for file, events in files]
        each = [event_counts(*pair) for pair in alone]
        assert counts[name].tolist() == [[c.reference, c.estimated, c.matched] for c in each]
        of_line = segment_counts(timeline.reference[name], estimated[name])
        assert of_line == sum((segment_counts(*pair) for pair in alone), type(of_line)())
        moved = [spans + start for (_, spans), start in zip(alone, timeline.starts, strict=True)]
        found = np.concatenate([NO_SPANS, *moved]).tolist()
        assert sorted(found) == sorted(estimated[name].tolist())
