import pytest

from bench.tools.scores import edit_distance, scores


def row(filename, kind, start_ms, end_ms):
    return {
        "filename": filename,
        "artifact_type": kind,
        "start_ms": str(start_ms),
        "end_ms": str(end_ms),
    }


TRUTH = [row("a", "click", 1000, 1200), row("b", "click", 1000, 1200), row("a", "echo", 3000, 5000)]
DURATIONS_MS = {"a": 6000, "b": 4000}


def figures(*detections, truth=TRUTH):
    return scores(truth, list(detections), DURATIONS_MS)


def test_exact_detections_have_the_best_figures():
    assert figures(*TRUTH) == {
        "event_f1": 1,
        "event_f1_macro": 1,
        "event_f1_per_type": {"click": 1, "echo": 1},
        "segment_f1": 1,
        "segment_f1_macro": 1,
        "segment_f1_per_type": {"click": 1, "echo": 1},
        "edit_distance": 0,
        "frame_accuracy": 1,
        "onset_error_ms": 0,
        "offset_error_ms": 0,
    }


def test_micro_counts_events_and_macro_counts_types():
    metrics = figures(row("a", "click", 1000, 1200), row("a", "echo", 3000, 3500))
    assert metrics["event_f1_per_type"] == {"click": 0.6667, "echo": 0}
    assert (metrics["event_f1"], metrics["event_f1_macro"]) == (0.4, 0.3333)
    assert metrics["segment_f1_per_type"] == {"click": 0.6667, "echo": 0.4}
    assert (metrics["segment_f1"], metrics["segment_f1_macro"]) == (round(14 / 31, 4), 0.5333)


def test_a_file_is_matched_with_itself_only():
    metrics = scores(TRUTH[:1], [row("b", "click", 1000, 1200)], DURATIONS_MS)
    assert (metrics["event_f1"], metrics["edit_distance"], metrics["onset_error_ms"]) == (0, 2, None)


def test_a_type_that_does_not_occur_costs_precision_and_has_no_figure():
    metrics = figures(*TRUTH, row("a", "static", 0, 500))
    assert metrics["event_f1"] == round(6 / 7, 4)
    assert metrics["event_f1_macro"] == 1
    assert "static" not in metrics["event_f1_per_type"]


def test_without_annotations_there_are_no_figures_of_events():
    metrics = figures(*TRUTH, truth=[])
    assert (metrics["event_f1"], metrics["edit_distance"], metrics["onset_error_ms"]) == (None, None, None)
    assert figures(truth=[])["segment_f1_macro"] is None
    assert figures(truth=[])["frame_accuracy"] == 1


def test_the_edit_distance_compares_the_order_of_the_types_and_not_their_times():
    late = [row("a", "click", 1500, 1700), row("a", "echo", 3900, 5900), row("b", "click", 0, 100)]
    assert figures(*late)["edit_distance"] == 0
    assert figures(*late[1:])["edit_distance"] == round(1 / 3, 4)
    assert figures(*late, row("b", "echo", 200, 400))["edit_distance"] == round(1 / 3, 4)
    swapped = row("a", "click", 3000, 3200), row("a", "echo", 1000, 2000)
    assert figures(*swapped, late[2])["edit_distance"] == round(2 / 3, 4)


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("abab", "baba", 2)],
)
def test_the_edit_distance_is_the_fewest_changes(first, second, distance):
    assert edit_distance(first, second) == edit_distance(second, first) == distance


def test_frames_are_right_if_exactly_the_annotated_types_are_detected():
    missed = figures(*TRUTH[:2])  # 200 of the 1000 frames are echo
    assert missed["frame_accuracy"] == 0.8
    assert figures(*TRUTH, row("b", "echo", 0, 100))["frame_accuracy"] == 0.99
    # A frame counts if an event covers any part of it.
    assert figures(*TRUTH[:2], row("a", "echo", 2999, 5001))["frame_accuracy"] == 0.998
    assert figures(*TRUTH[:2], row("a", "echo", 3001, 4999))["frame_accuracy"] == 1


def test_the_errors_of_the_ends_are_medians_over_the_nearest_detections_within_the_collar():
    metrics = figures(
        row("a", "click", 1010, 1180),
        row("a", "click", 1100, 1300),  # further from the annotation than the other one
        row("b", "click", 970, 1240),
        row("a", "echo", 3050, 5005),
        row("a", "echo", 500, 600),
    )
    assert (metrics["onset_error_ms"], metrics["offset_error_ms"]) == (30, 20)
