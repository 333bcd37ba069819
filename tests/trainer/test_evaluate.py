import numpy as np
from signals import config

from trainer.chunks import chunk_grid
from trainer.evaluate import HeldOut, evaluate, with_best_thresholds
from trainer.events import Figures
from trainer.frontend import FEATURES

TYPES = ("found", "missed", "absent")
GRID = chunk_grid(config())


def held_out(**events):
    spans = {kind: np.array(pairs).reshape(-1, 2) for kind, pairs in events.items()}
    return HeldOut(np.zeros((1000, FEATURES), np.float16), spans, 10_000)


def track(*spans, level):
    scores = np.zeros(500, np.float32)
    for start, end in spans:
        scores[start // 20 : end // 20] = level
    return scores


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
    assert absent.event == absent.chunk == Figures(None, None, None, 0)
    assert absent.average_precision is None


def test_average_precision_ranks_whatever_the_threshold():
    metrics = evaluate(*example(), TYPES, GRID)
    assert metrics.per_type["missed"].average_precision == metrics.per_type["found"].average_precision > 0.5


def test_chunks_are_counted_beside_events():
    assert evaluate(*example(), TYPES, GRID).per_type["found"].chunk.f1_score == 1.0


def test_the_best_threshold_is_the_middle_of_the_best_ones():
    held, scores = example()
    metrics = with_best_thresholds(evaluate(held, scores, TYPES, GRID), held, scores, TYPES)
    best = {kind: figures.best_threshold for kind, figures in metrics.per_type.items()}
    assert best == {"found": 0.5, "missed": 0.2, "absent": None}


def test_nothing_held_out_leaves_everything_unset():
    metrics = evaluate([], [], TYPES, GRID)
    assert metrics.overall == metrics.chunk == Figures(None, None, None, 0)
    assert metrics.macro_f1_score is None
