"""What an attempt has taken its time for, as spans."""

import asyncio
from contextlib import suppress
from itertools import pairwise

import pytest

from earmark.otel import OtlpTracer
from earmark.trainer.events import Completed, EpochCompleted, Loading, Progress
from earmark.trainer.service.attempt_spans import METHOD, AttemptSpans
from earmark.trainer.service.errors import CallError, StoppingError
from tests.collector import Span, collecting


def epoch(number: int) -> EpochCompleted:
    return EpochCompleted(number, 0.1, None, None, 1.0, number)


def completed() -> Completed:
    return Completed("", "", 0, "", None, {}, {}, {}, 1, 0, 0)


def collected(*events, error: BaseException | None = None) -> tuple[Span, list[Span]]:
    """The span of an attempt with these events, which ends with the error, and its parts."""
    with collecting() as collector:
        tracer = OtlpTracer(collector.endpoint, "trainer")
        with suppress(CallError, asyncio.CancelledError), AttemptSpans.of(tracer, (), "a job", 2) as spans:
            for event in events:
                spans.see(event)
            if error:
                raise error
        tracer.close()
    [whole] = collector.named(METHOD.removeprefix("/"))
    parts = [span for span in collector.spans if span is not whole]
    assert {span.parent for span in parts} == {whole.id}
    return whole, sorted(parts, key=lambda span: span.began)


def test_each_phase_begins_where_the_one_before_ends() -> None:
    progress = Progress(1, 1, 9, 0.1, 1.0)
    whole, parts = collected(
        Loading(1, 2), Loading(2, 2), progress, progress, epoch(1), progress, epoch(2), completed()
    )
    assert [span.name for span in parts] == ["load files", "prepare", "epoch", "epoch", "store model"]
    assert [span.attributes.get("earmark.epoch") for span in parts] == [None, None, 1, 2, None]
    assert parts[0].attributes == {"earmark.files": 2}
    for before, after in pairwise(parts):
        assert before.ended <= after.began <= whole.ended
    assert (whole.attributes["earmark.training_job_id"], whole.attributes["earmark.attempt"]) == ("a job", 2)
    assert not whole.is_error


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (CallError("TRAINER_LOST", "its memory is full"), "TRAINER_LOST"),
        (StoppingError(), None),
        (asyncio.CancelledError(), None),
    ],
)
def test_an_attempt_that_fails_has_the_reason_and_one_that_is_stopped_has_none(error, fault) -> None:
    whole, parts = collected(Loading(2, 2), error=error)
    assert [span.name for span in parts] == ["load files"]
    assert (whole.attributes.get("error.type"), whole.is_error) == (fault, fault is not None)
