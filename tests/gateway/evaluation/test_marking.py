"""Files are worth marking where a job is uncertain, or where two jobs disagree."""

import numpy as np
import pytest

from earmark.gateway.evaluation.marking import Disagreement, Uncertainty, disagreement, uncertainty
from earmark.scores import DetectionConfig, Scores
from earmark.trainer.model import LearnedType

TYPES = [LearnedType("click"), LearnedType("echo")]


def scores(*levels):
    """A second with a click of each level."""
    values = np.zeros((1, 100 * len(levels) + 1, 2), np.float32)
    for number, level in enumerate(levels):
        values[0, 100 * number + 20 : 100 * number + 40, 0] = level
    return Scores(values, ((0,),), (0,), 1000 * len(levels))


def test_detections_near_the_threshold_are_uncertain_also_below_it():
    result = uncertainty(scores(0.5, 0.6, 0.35, 0.9, 0.2, 0.7), TYPES, DetectionConfig())
    assert result.detections == 3
    assert result.total == pytest.approx(1 + 0.5 + 0.25, abs=1e-6)
    assert result.per_minute(30_000) == pytest.approx(3.5, abs=1e-5)


def test_each_type_has_its_own_threshold():
    config = DetectionConfig(thresholds={"click": 0.9})
    assert uncertainty(scores(0.5, 0.85), TYPES, config).detections == 1
    assert uncertainty(scores(0.0), TYPES, DetectionConfig(threshold=0.1)) == Uncertainty(0, 0)


def test_what_one_job_has_alone_is_a_disagreement():
    first = {"click": np.array([[0, 100], [1000, 1100]]), "echo": np.array([[5000, 5600]])}
    second = {"click": np.array([[20, 130]]), "hum": np.array([[5000, 5600]])}
    assert disagreement(first, second) == Disagreement(only_first=2, only_second=1, both=1)
    assert disagreement(first, first) == Disagreement(0, 0, 3)
    assert Disagreement(2, 1, 9).per_minute(120_000) == 1.5
