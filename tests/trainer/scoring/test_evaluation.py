from dataclasses import replace

import numpy as np
import pytest

from tests.trainer.jobs import config
from trainer.chunks import chunk_grid
from trainer.events import Figures, OperatingPoint
from trainer.features.frontend import FEATURES
from trainer.model import LearnedType
from trainer.regions import ValidationRegion
from trainer.scoring.detection import DetectionConfig, shifted
from trainer.scoring.evaluation import THRESHOLDS, calibrated, evaluate

NAMES = ("found", "missed", "absent")
TYPES = tuple(LearnedType(name) for name in NAMES)
GRID = chunk_grid(config())


def held_out(**events):
    spans = {kind: np.array(pairs).reshape(-1, 2) for kind, pairs in events.items()}
    return ValidationRegion(np.zeros((1000, FEATURES), np.float16), spans, 10_000)


def track(*spans, level):
    scores = np.zeros(500, np.float32)
    for start, end in spans:
        scores[start // 20 : end // 20] = level
    return scores


def served(scores, types):
    """The scores with the offsets that the types have."""
    return [shifted(track, [kind.offset for kind in types]) for track in scores]


def example():
    """Two events of each type that there is; one type found above 0.5, one only at 0.3."""
    spans = [(1000, 1400), (5000, 5600)]
    scores = [track(*spans, level=0.9), track(*spans, level=0.3), track((8000, 8400), level=0.8)]
    return [held_out(found=spans, missed=spans)], [np.stack(scores, axis=1)]


def test_figures_per_type_over_all_and_averaged():
    metrics = evaluate(*example(), TYPES, GRID)
    assert metrics.per_type["found"].event == Figures(1.0, 1.0, 1.0, 2)
    assert metrics.per_type["missed"].event == Figures(None, 0.0, 0.0, 2)
    assert metrics.overall == Figures(2 / 3, 0.5, 4 / 7, 4)
    assert metrics.macro_f1_score == 0.5


def test_a_type_without_support_has_no_figures_though_it_was_claimed():
    absent = evaluate(*example(), TYPES, GRID).per_type["absent"]
    assert absent.event == absent.chunk == absent.segment == Figures(None, None, None, 0)
    assert absent.average_precision is None


def test_average_precision_ranks_whatever_the_threshold():
    metrics = evaluate(*example(), TYPES, GRID)
    assert metrics.per_type["missed"].average_precision == metrics.per_type["found"].average_precision > 0.5


def test_chunks_are_counted_beside_events():
    assert evaluate(*example(), TYPES, GRID).per_type["found"].chunk.f1_score == 1.0


def test_the_best_threshold_is_the_middle_of_the_best_ones():
    _, metrics = calibrated(*example(), TYPES, GRID)
    best = {kind: figures.best_threshold for kind, figures in metrics.per_type.items()}
    assert best == {"found": 0.5, "missed": 0.35, "absent": None}


def test_nothing_held_out_leaves_everything_unset():
    metrics = evaluate([], [], TYPES, GRID)
    assert metrics.overall == metrics.chunk == metrics.segment == Figures(None, None, None, 0)
    assert metrics.macro_f1_score is None
    assert calibrated([], [], TYPES, GRID) == (TYPES, metrics)


def test_segments_are_counted_beside_events():
    held, scores = example()
    scores[0][70:75, 0] = 0.9  # 100 ms longer
    metrics = evaluate(held, scores, TYPES, GRID)
    assert metrics.per_type["found"].segment == Figures(10 / 11, 1.0, 20 / 21, 10)
    assert metrics.per_type["missed"].segment == Figures(None, 0.0, 0.0, 10)
    assert metrics.segment == Figures(10 / 15, 0.5, 20 / 35, 20)


def test_the_curve_has_what_each_threshold_gives():
    held, scores = example()
    known, metrics = calibrated(held, scores, TYPES, GRID)
    curve = metrics.per_type["missed"].precision_recall_curve
    assert [point.threshold for point in curve] == THRESHOLDS.tolist()
    now = float(1 / (1 + np.exp(-(np.log(0.3 / 0.7) + known[1].offset))))
    for point in curve:
        found = point.threshold <= now
        assert point == OperatingPoint(point.threshold, 1.0 if found else None, float(found))
    assert metrics.per_type["absent"].precision_recall_curve == ()


def test_the_curve_is_of_the_scores_that_the_model_will_give():
    held, scores = many(files=8)
    known, metrics = calibrated(held, scores, TYPES, GRID)
    given = served(scores, known)
    for kind, of_type in evaluate(held, given, known, GRID).per_type.items():
        at_half = next(
            p
            for p in metrics.per_type[kind].precision_recall_curve
            if p.threshold == DetectionConfig().threshold
        )
        assert (at_half.precision, at_half.recall) == (of_type.event.precision, of_type.event.recall)


def half_faint(regions=40):
    """In every other region the events are faint."""
    spans = [(onset, onset + 400) for onset in (1000, 3000, 5000, 7000)]
    held = [held_out(found=spans) for _ in range(regions)]
    return held, [track(*spans, level=(0.2, 0.9)[number % 2])[:, None] for number in range(regions)]


def test_a_regions_figures_do_not_come_from_offsets_that_were_chosen_on_it():
    """Chosen with the faint ones, the offset finds all; chosen without, half."""
    held, scores = half_faint()
    known, metrics = calibrated(held, scores, [LearnedType("found")], GRID)
    assert evaluate(held, served(scores, known), known, GRID).overall.recall == 1.0
    assert metrics.overall.recall == metrics.per_type["found"].event.recall == 0.5
    assert metrics.f1_score_interval.high < 0.9


def test_calibration_keeps_what_is_known_of_a_type_and_adds_to_its_offset():
    held, scores = half_faint()
    (plain,), _ = calibrated(held, scores, [LearnedType("found")], GRID)
    kind = LearnedType("found", smoothing=3, shortest_ms=60, offset=-1.25)
    (known,), _ = calibrated(held, scores, [kind], GRID)
    assert known == replace(kind, offset=plain.offset - 1.25)
    assert plain.offset > 1


def test_epochs_have_neither_curve_nor_interval():
    metrics = evaluate(*many(files=8), TYPES, GRID)
    assert metrics.f1_score_interval is None
    assert all(m.precision_recall_curve == () and not m.f1_score_interval for m in metrics.per_type.values())


def test_intervals_are_given_where_files_suffice():
    for files, given in ((4, False), (8, True)):
        held, scores = many(files=files)
        _, metrics = calibrated(held, scores, TYPES, GRID)
        for of_type in metrics.per_type.values():
            assert (of_type.f1_score_interval is not None) == given
        assert (metrics.f1_score_interval is not None) == given
    assert metrics.f1_score_interval.low < metrics.overall.f1_score < metrics.f1_score_interval.high


def test_files_count_together_as_each_on_its_own():
    held, scores = many(files=6)
    together = evaluate(held, scores, TYPES, GRID)
    each = [evaluate([one], [track], TYPES, GRID) for one, track in zip(held, scores, strict=True)]
    for level in ("event", "chunk", "segment"):
        for kind in NAMES:
            figures = [getattr(metrics.per_type[kind], level) for metrics in each]
            right = sum(f.recall * f.support for f in figures if f.support)
            total = getattr(together.per_type[kind], level)
            assert total.support == sum(f.support for f in figures)
            assert total.recall * total.support == pytest.approx(right)


def many(files):
    """Random events of each type, detected somewhat off, with other scores all around."""
    rng = np.random.default_rng(5)
    held, scores = [], []
    for _ in range(files):
        noise = rng.uniform(0, 0.6, (500, len(TYPES))).astype(np.float32)
        events = {}
        for column, kind in enumerate(NAMES):
            onsets = np.arange(0, 9500, 2000) + rng.integers(0, 500, 5)
            events[kind] = [
                (on, on + length) for on, length in zip(onsets, rng.integers(100, 900, 5), strict=True)
            ]
            for start, end in events[kind]:
                noise[start // 20 : (end + rng.integers(-80, 300)) // 20, column] += 0.4
        held.append(held_out(**events))
        scores.append(noise)
    return held, scores
