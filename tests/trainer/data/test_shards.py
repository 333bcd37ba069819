from hypothesis import given
from hypothesis import strategies as st

from earmark.trainer.data.shards import BOUNDARY_FRAMES, frame_targets
from earmark.trainer.regions import CERTAIN, RegionEvent


def targets(*spans, frames=40):
    """As a text: one character per frame."""
    events = [RegionEvent("x", onset, offset) for onset, offset in spans]
    return "".join(map(str, frame_targets(events, ["x"], frames)[:, 0] // CERTAIN))


def test_an_event_is_active_in_every_frame_that_it_overlaps():
    assert targets((5, 30), (95, 101), frames=12) == "111000000110"


def test_events_that_touch_have_a_boundary_between_them():
    assert targets((0, 100), (100, 200), frames=22) == "1111111110011111111100"[:22]
    assert targets((0, 100), (110, 200), frames=20) == "11111111100111111111"


def test_events_that_are_apart_stay_whole():
    assert targets((0, 100), (120, 200), frames=20) == "11111111110011111111"
    assert targets((0, 100), (150, 200), frames=20) == "11111111110000011111"


def test_events_that_overlap_are_one_run():
    assert targets((0, 100), (90, 200), frames=20) == "1" * 20
    assert targets((0, 200), (50, 60), (200, 230), frames=23) == "1111111111111111111" + "00" + "11"


def test_of_two_short_events_that_touch_each_keeps_a_frame():
    assert targets((0, 10), (10, 20), frames=3) == "110"
    assert targets((0, 20), (20, 40), frames=5) == "10010"


def test_types_have_boundaries_of_their_own():
    events = [RegionEvent("a", 0, 100), RegionEvent("b", 100, 200)]
    result = frame_targets(events, ["a", "b"], 20)
    assert (result == CERTAIN).sum(axis=0).tolist() == [10, 10]


def test_the_annotators_confidence_is_a_soft_label_and_the_higher_one_counts_where_events_overlap():
    events = [RegionEvent("x", 0, 30, 0.2), RegionEvent("x", 20, 40), RegionEvent("x", 30, 50, 0.6)]
    assert frame_targets(events, ["x"], 6)[:, 0].tolist() == [51, 51, 255, 255, 153, 0]


LENGTHS = st.lists(st.tuples(st.integers(0, 60), st.integers(10, 300)), min_size=1, max_size=8)


@given(LENGTHS)
def test_events_apart_or_touching_are_as_many_runs_as_events(lengths):
    spans, at = [], 0
    for gap, length in lengths:
        spans.append((at + gap, at + gap + max(length, 10 * (BOUNDARY_FRAMES + 2))))
        at = spans[-1][1]
    active = targets(*spans, frames=-(-at // 10))
    assert len(active.replace("0", " ").split()) == len(spans)
