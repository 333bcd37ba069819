from dataclasses import replace

import numpy as np
import pytest

from earmark.figures import Figures, OperatingPoint
from earmark.metrics import THRESHOLDS
from earmark.scores import DetectionConfig
from earmark.trainer.chunks import chunk_grid
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.model import LearnedType
from earmark.trainer.regions import ValidationRegion
from earmark.trainer.scoring.detection import shifted
from earmark.trainer.scoring.evaluation import calibrated, evaluate
from tests.trainer.jobs import config

NAMES = ("found", "missed", "absent")
TYPES = tuple(LearnedType(name) for name in NAMES)
GRID = chunk_grid(config())


def validation_region(begin=0, **events):
    spans = {kind: np.array(pairs).reshape(-1, 2) for kind, pairs in events.items()}
    return ValidationRegion((np.zeros((1000, FEATURES), np.float16),), (begin,), spans, 10_000)


def track(*spans, level):
    scores = np.zeros(1000, np.float32)
    for start, end in spans:
        scores[start // 10 : end // 10] = level
    return scores


def served(scores, types):
    """The scores that a user gets, with the offsets of the types."""
    return [shifted(track, [kind.offset for kind in types]) for track in scores]


def example():
    """Two events of each of two types: one is detected at a score of 0.9, the other only at 0.3."""
    spans = [(1000, 1400), (5000, 5600)]
    scores = [track(*spans, level=0.9), track(*spans, level=0.3), track((8000, 8400), level=0.8)]
    return [validation_region(found=spans, missed=spans)], [np.stack(scores, axis=1)[None]]


def test_figures_are_given_per_type_and_in_micro_and_macro_average():
    metrics = evaluate(*example(), TYPES, GRID)
    assert metrics.per_type["found"].event == Figures(1.0, 1.0, 1.0, 2)
    assert metrics.per_type["missed"].event == Figures(None, 0.0, 0.0, 2)
    assert metrics.overall == Figures(2 / 3, 0.5, 4 / 7, 4)
    assert metrics.macro_f1_score == 0.5


def test_a_type_without_support_has_no_figures_even_if_it_was_detected():
    absent = evaluate(*example(), TYPES, GRID).per_type["absent"]
    assert absent.event == absent.chunk == absent.segment == Figures(None, None, None, 0)
    assert absent.average_precision is None


def test_average_precision_does_not_depend_on_the_threshold():
    metrics = evaluate(*example(), TYPES, GRID)
    assert metrics.per_type["missed"].average_precision == metrics.per_type["found"].average_precision > 0.5


def test_a_channel_counts_from_where_its_signal_begins():
    spans = [(5000, 5600)]
    scores = [track((1000, 1400), *spans, level=0.9) for _ in NAMES]
    arrays = [np.stack(scores, axis=1)[None]]
    for begin, events in ((0, Figures(0.5, 1.0, 2 / 3, 1)), (300, Figures(1.0, 1.0, 1.0, 1))):
        found = evaluate([validation_region(begin, found=spans)], arrays, TYPES, GRID).per_type["found"]
        assert found.event == events
        assert (found.chunk.precision == 1.0) == (begin == 300)


def test_chunks_are_counted_beside_events():
    assert evaluate(*example(), TYPES, GRID).per_type["found"].chunk.f1_score == 1.0


def test_the_best_threshold_is_the_middle_one_of_equally_good_ones():
    _, metrics = calibrated(*example(), TYPES, GRID)
    best = {kind: figures.best_threshold for kind, figures in metrics.per_type.items()}
    assert best == {"found": 0.5, "missed": 0.35, "absent": None}


def test_without_validation_audio_everything_is_unset():
    metrics = evaluate([], [], TYPES, GRID)
    assert metrics.overall == metrics.chunk == metrics.segment == Figures(None, None, None, 0)
    assert metrics.macro_f1_score is None
    assert calibrated([], [], TYPES, GRID) == (TYPES, metrics)


def test_segments_are_counted_beside_events():
    regions, scores = example()
    scores[0][0, 70:75, 0] = 0.9  # 100 ms longer
    metrics = evaluate(regions, scores, TYPES, GRID)
    assert metrics.per_type["found"].segment == Figures(10 / 11, 1.0, 20 / 21, 10)
    assert metrics.per_type["missed"].segment == Figures(None, 0.0, 0.0, 10)
    assert metrics.segment == Figures(10 / 15, 0.5, 20 / 35, 20)


def test_the_curve_has_the_figures_at_each_threshold():
    regions, scores = example()
    types, metrics = calibrated(regions, scores, TYPES, GRID)
    curve = metrics.per_type["missed"].precision_recall_curve
    assert [point.threshold for point in curve] == THRESHOLDS.tolist()
    now = float(1 / (1 + np.exp(-(np.log(0.3 / 0.7) + types[1].offset))))
    for point in curve:
        found = point.threshold <= now
        assert point == OperatingPoint(point.threshold, 1.0 if found else None, float(found))
    assert metrics.per_type["absent"].precision_recall_curve == ()


def test_the_curve_is_computed_from_the_scores_of_the_finished_model():
    regions, scores = many(files=8)
    types, metrics = calibrated(regions, scores, TYPES, GRID)
    final = served(scores, types)
    for kind, of_type in evaluate(regions, final, types, GRID).per_type.items():
        at_half = next(
            p
            for p in metrics.per_type[kind].precision_recall_curve
            if p.threshold == DetectionConfig().threshold
        )
        assert (at_half.precision, at_half.recall) == (of_type.event.precision, of_type.event.recall)


def half_faint(number=40):
    """The events have low scores in every second region."""
    spans = [(onset, onset + 400) for onset in (1000, 3000, 5000, 7000)]
    regions = [validation_region(found=spans) for _ in range(number)]
    return regions, [track(*spans, level=(0.2, 0.9)[n % 2])[None, :, None] for n in range(number)]


def test_no_region_is_scored_with_offsets_that_were_chosen_on_it():
    """An offset chosen with the faint events detects all of them; one chosen without them detects half."""
    regions, scores = half_faint()
    types, metrics = calibrated(regions, scores, [LearnedType("found")], GRID)
    assert evaluate(regions, served(scores, types), types, GRID).overall.recall == 1.0
    assert metrics.overall.recall == metrics.per_type["found"].event.recall == 0.5
    assert metrics.f1_score_interval.high < 0.9


def test_calibration_only_adds_to_the_offset_of_a_type():
    regions, scores = half_faint()
    (plain,), _ = calibrated(regions, scores, [LearnedType("found")], GRID)
    kind = LearnedType("found", smoothing=3, min_duration_ms=60, offset=-1.25)
    (new,), _ = calibrated(regions, scores, [kind], GRID)
    assert new == replace(kind, offset=plain.offset - 1.25)
    assert plain.offset > 1


def test_epochs_have_neither_curve_nor_interval():
    metrics = evaluate(*many(files=8), TYPES, GRID)
    assert metrics.f1_score_interval is None
    assert all(m.precision_recall_curve == () and not m.f1_score_interval for m in metrics.per_type.values())


def test_intervals_need_enough_files():
    for files, enough in ((4, False), (8, True)):
        regions, scores = many(files=files)
        _, metrics = calibrated(regions, scores, TYPES, GRID)
        for of_type in metrics.per_type.values():
            assert (of_type.f1_score_interval is not None) == enough
        assert (metrics.f1_score_interval is not None) == enough
    assert metrics.f1_score_interval.low < metrics.overall.f1_score < metrics.f1_score_interval.high


def test_files_counted_together_give_the_sum_of_their_counts():
    regions, scores = many(files=6)
    together = evaluate(regions, scores, TYPES, GRID)
    each = [evaluate([one], [track], TYPES, GRID) for one, track in zip(regions, scores, strict=True)]
    for level in ("event", "chunk", "segment"):
        for kind in NAMES:
            figures = [getattr(metrics.per_type[kind], level) for metrics in each]
            matched = sum(f.recall * f.support for f in figures if f.support)
            total = getattr(together.per_type[kind], level)
            assert total.support == sum(f.support for f in figures)
            assert total.recall * total.support == pytest.approx(matched)


def many(files):
    """Random events of each type, detected with errors in time, and noise in all other scores."""
    rng = np.random.default_rng(5)
    regions, scores = [], []
    for _ in range(files):
        noise = rng.uniform(0, 0.6, (1000, len(TYPES))).astype(np.float32)
        events = {}
        for column, kind in enumerate(NAMES):
            onsets = np.arange(0, 9500, 2000) + rng.integers(0, 500, 5)
            events[kind] = [
                (on, on + length) for on, length in zip(onsets, rng.integers(100, 900, 5), strict=True)
            ]
            for start, end in events[kind]:
                noise[start // 10 : (end + rng.integers(-80, 300)) // 10, column] += 0.4
        regions.append(validation_region(**events))
        scores.append(noise[None])
    return regions, scores
