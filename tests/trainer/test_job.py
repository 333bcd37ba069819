"""The annotations of a file: in order, each once."""

from itertools import permutations

from earmark.trainer.job import Annotation, TrainingFile

ANNOTATIONS = (
    Annotation("echo", 100, 200),
    Annotation("echo", 100, 200, channel=0),
    Annotation("echo", 100, 200, channel=1),
    Annotation("hum", 100, 200, channel=0),
)


def test_annotations_of_different_channels_are_different_and_have_one_order():
    for given in permutations(ANNOTATIONS):
        assert TrainingFile("a", "a", "a", 1000, given).annotations == ANNOTATIONS


def test_of_annotations_that_differ_in_confidence_alone_the_most_confident_is_kept():
    given = tuple(Annotation("echo", 0, 9, confidence, channel=1) for confidence in (0.4, 0.9, 0.7))
    assert TrainingFile("a", "a", "a", 1000, given).annotations == (given[1],)
