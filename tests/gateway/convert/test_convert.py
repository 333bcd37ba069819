"""Conversion between records and messages: stored values are read back unchanged."""

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf import json_format, timestamp_pb2
from hypothesis import given
from hypothesis import strategies as st

from earmark.gateway.convert import values
from earmark.v1 import metrics_pb2, training_config_pb2
from earmark.v1 import training_service_pb2 as pb

# JSON has only one NaN, so no other NaN is generated.
NUMBERS = st.floats(allow_nan=False) | st.just(math.nan) | st.integers(-1000, 1000).map(float)
FIGURES = st.builds(
    metrics_pb2.DetectionFigures,
    precision=st.none() | NUMBERS,
    recall=st.none() | NUMBERS,
    support=st.integers(-(2**31), 2**31 - 1),
)
METRICS = st.builds(
    metrics_pb2.EvalMetrics,
    overall=st.none() | FIGURES,
    per_type=st.dictionaries(st.text(max_size=5), st.builds(metrics_pb2.TypeMetrics, chunk=FIGURES)),
)
EVENTS = st.builds(
    pb.TrainingEvent,
    progress=st.none()
    | st.builds(
        pb.TrainingEvent.Progress, epoch=st.integers(0, 9), eta=st.just(timestamp_pb2.Timestamp(seconds=9))
    ),
    status_changed=st.none() | st.builds(pb.TrainingEvent.StatusChanged, to=st.sampled_from([0, 1, 6])),
)
ZONES = st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours)))


@given(METRICS | EVENTS)
def test_a_message_is_read_back_from_its_stored_form_unchanged(message) -> None:
    stored = values.to_json(message)
    restored = values.from_json(stored, type(message))
    assert restored.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    "stored",
    [
        {"epochs": 3, "forgotten": 1},
        {"epochs": 3.0},
        {"epochs": "3"},
        {"epochs": 3, "learning_rate": None},
    ],
)
def test_a_stored_form_may_be_any_that_json_allows(stored) -> None:
    assert values.from_json(stored, training_config_pb2.TrainingConfig).epochs == 3


def test_a_stored_form_that_does_not_fit_the_message_is_refused() -> None:
    with pytest.raises(json_format.ParseError):
        values.from_json({"epochs": "many"}, training_config_pb2.TrainingConfig)


@given(st.datetimes(timezones=ZONES, min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)))  # noqa: DTZ001
def test_a_time_keeps_its_microseconds_in_any_zone(time) -> None:
    assert values.timestamp(time).ToDatetime(tzinfo=UTC) == time
