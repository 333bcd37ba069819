"""The figures of files that are added in parts are those of training, and of all files at once."""

import numpy as np
import pytest

from earmark.figures import Figures
from earmark.gateway.evaluation import tally as module
from earmark.gateway.evaluation.tally import Tally
from earmark.metrics import THRESHOLDS
from earmark.scores import DetectionConfig
from earmark.timeline import ScoredRegion
from earmark.trainer.chunks import chunk_grid
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.model import LearnedType
from earmark.trainer.regions import ValidationRegion
from earmark.trainer.scoring.evaluation import evaluate
from tests.trainer.jobs import config

TYPES = (
    LearnedType("click"),
    LearnedType("echo", merge_window_ms=50, min_duration_ms=40),
    LearnedType("hum"),
)
NAMES = [learned.name for learned in TYPES]
DEFAULTS = DetectionConfig()


def regions(files):
    """Random events of each type but the last, detected with errors in time, and noise everywhere."""
    rng = np.random.default_rng(5)
    made = []
    for _ in range(files):
        values = rng.uniform(0, 0.6, (1, 1000, len(TYPES))).astype(np.float32)
        events = {}
        for column, name in enumerate(NAMES[:2]):
            onsets = np.arange(0, 9500, 2000) + rng.integers(0, 500, 5)
            events[name] = np.stack([onsets, onsets + rng.integers(100, 900, 5)], axis=1)
            for start, end in events[name]:
                values[0, start // 10 : (end + rng.integers(-80, 300)) // 10, column] += 0.4
        made.append(ScoredRegion(values, events, 10_000))
    return made


def tally_of(made, settings=DEFAULTS, parts=1):
    tally = Tally(TYPES, NAMES, settings)
    for part in range(parts):
        tally.add(iter(made[part::parts]))
    return tally


def test_the_figures_are_those_of_training():
    made = regions(8)
    empty = (np.zeros((1000, FEATURES), np.float16),)
    validation = [ValidationRegion(empty, (0,), region.events, region.duration_ms) for region in made]
    expected = evaluate(validation, [region.scores for region in made], TYPES, chunk_grid(config()))
    metrics = tally_of(made).metrics()
    assert (metrics.overall, metrics.segment, metrics.macro_f1_score) == (
        expected.overall,
        expected.segment,
        expected.macro_f1_score,
    )
    for name, of_type in metrics.per_type.items():
        assert (of_type.event, of_type.segment) == (
            expected.per_type[name].event,
            expected.per_type[name].segment,
        )
        assert (of_type.chunk, of_type.average_precision) == (None, None)
    assert metrics.chunk is None
    assert 0 < metrics.overall.f1_score < 1


def test_files_may_be_added_in_any_parts(monkeypatch):
    made = regions(7)
    whole, parts = tally_of(made), tally_of(made, parts=3)
    assert whole.metrics().per_type["click"].event == parts.metrics().per_type["click"].event
    assert (whole.confusion == parts.confusion).all()
    monkeypatch.setattr(module, "VALUES_AT_ONCE", 2 * made[0].scores.size)
    assert tally_of(made).metrics() == whole.metrics()
    assert [len(group) for group in module._grouped(made)] == [2, 2, 2, 1]


def test_the_curve_is_of_one_threshold_for_all_types():
    made = regions(6)
    metrics = tally_of(made, DetectionConfig(thresholds={"click": 0.9})).metrics()
    for point in metrics.per_type["click"].precision_recall_curve:
        figures = tally_of(made, DetectionConfig(threshold=point.threshold)).metrics().per_type["click"].event
        assert (point.precision, point.recall) == (figures.precision, figures.recall)
    assert len(metrics.per_type["click"].precision_recall_curve) == len(THRESHOLDS)
    assert metrics.per_type["hum"].precision_recall_curve == ()


@pytest.mark.parametrize(("files", "enough"), [(0, False), (4, False), (5, True)])
def test_intervals_need_enough_files(files, enough):
    metrics = tally_of(regions(files)).metrics()
    assert (metrics.f1_score_interval is not None) == enough
    assert metrics.per_type["hum"].event == Figures(None, None, None, 0)
    assert metrics.per_type["hum"].f1_score_interval is None
