from bench.tools.scores import scores


def row(filename, kind, start_ms, end_ms):
    return {
        "filename": filename,
        "artifact_type": kind,
        "start_ms": str(start_ms),
        "end_ms": str(end_ms),
    }


TRUTH = [row("a", "click", 1000, 1200), row("b", "click", 1000, 1200), row("a", "echo", 3000, 5000)]


def test_exact_detections_score_one():
    assert scores(TRUTH, TRUTH) == {
        "event_f1": 1,
        "event_f1_macro": 1,
        "event_f1_per_type": {"click": 1, "echo": 1},
        "segment_f1": 1,
        "segment_f1_macro": 1,
        "segment_f1_per_type": {"click": 1, "echo": 1},
    }


def test_micro_counts_events_and_macro_counts_types():
    metrics = scores(TRUTH, [row("a", "click", 1000, 1200), row("a", "echo", 3000, 3500)])
    assert metrics["event_f1_per_type"] == {"click": 0.6667, "echo": 0}
    assert (metrics["event_f1"], metrics["event_f1_macro"]) == (0.4, 0.3333)
    assert metrics["segment_f1_per_type"] == {"click": 0.6667, "echo": 0.4}
    assert (metrics["segment_f1"], metrics["segment_f1_macro"]) == (round(14 / 31, 4), 0.5333)


def test_a_file_is_matched_with_itself_only():
    assert scores(TRUTH[:1], [row("b", "click", 1000, 1200)])["event_f1"] == 0


def test_a_type_that_does_not_occur_costs_precision_and_has_no_figure():
    metrics = scores(TRUTH, [*TRUTH, row("a", "static", 0, 500)])
    assert metrics["event_f1"] == round(6 / 7, 4)
    assert metrics["event_f1_macro"] == 1
    assert "static" not in metrics["event_f1_per_type"]


def test_without_annotations_there_is_no_figure():
    assert scores([], TRUTH)["event_f1"] is None
    assert scores([], [])["segment_f1_macro"] is None
