"""Each annotation and each detection is counted once, in the place of the best other one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from earmark.gateway.evaluation.confusion import Events, confusion
from earmark.gateway.evaluation.errors import Error, errors
from earmark.matching import matched_pairs
from earmark.scores import DetectionConfig, Scores
from earmark.trainer.model import LearnedType

NAMES = ["click", "echo", "hum"]
TYPES = [LearnedType("click"), LearnedType("echo")]
SIDES = st.dictionaries(
    st.sampled_from(NAMES),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20)), max_size=6).map(
        lambda pairs: np.array([(50 * a, 50 * (a + b)) for a, b in pairs], np.int64).reshape(-1, 2)
    ),
)


def counts(real, found):
    return confusion(Events.of(real, NAMES), Events.of(found, NAMES), len(NAMES))


def test_what_is_in_the_place_of_another_type_is_confused_with_it():
    real = {"click": np.array([[0, 100], [1000, 1100]]), "hum": np.array([[5000, 9000]])}
    found = {"click": np.array([[10, 100]]), "echo": np.array([[1020, 1100], [5100, 8000], [20_000, 20_100]])}
    assert counts(real, found).tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]]


def test_a_detection_of_the_right_type_goes_before_one_of_another():
    real = {"click": np.array([[0, 100]]), "echo": np.array([[0, 100]])}
    found = {"echo": np.array([[0, 100], [150, 250]])}
    assert counts(real, found).tolist() == [[0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


@given(SIDES, SIDES)
def test_every_event_is_counted_once_and_the_right_ones_as_in_the_figures(real, found):
    result = counts(real, found)
    for number, name in enumerate(NAMES):
        ours, theirs = (side.get(name, np.empty((0, 2), np.int64)) for side in (real, found))
        assert result[number].sum() == len(ours)
        assert result[:, number].sum() == len(theirs)
        assert result[number, number] == len(matched_pairs(ours, theirs)[0])
    assert result[-1, -1] == 0


def scores(*, click=(), echo=()):
    values = np.zeros((1, 1000, 2), np.float32)
    for column, events in enumerate((click, echo)):
        for start, end, level in events:
            values[0, start // 10 : end // 10, column] = level
    return Scores(values, ((0,),), (0,), 10_000)


def test_misses_and_false_detections_have_what_is_there_instead():
    file = scores(click=[(0, 100, 0.9), (3000, 3100, 0.75)], echo=[(1000, 1400, 0.6), (5000, 5300, 0.3)])
    real = {
        "click": np.array([[0, 100], [1000, 1300]]),
        "echo": np.array([[5000, 5300]]),
        "hum": np.array([[3000, 3200], [9000, 9100]]),
    }
    found = file.detections(TYPES, DetectionConfig())
    assert errors(file, found, real, ["click", "echo"]) == [
        Error("missed", "click", 1000, 1300, 0.0, "echo"),
        Error("false_detection", "echo", 1000, 1400, 0.6, "click"),
        Error("false_detection", "click", 3000, 3100, 0.75, "hum"),
        Error("missed", "echo", 5000, 5300, 0.3, ""),
    ]


def test_a_file_without_events_has_no_errors():
    assert errors(scores(), [], {}, ["click", "echo"]) == []
