from dataclasses import replace

import pytest
import safetensors.numpy

from earmark.figures import Figures
from earmark.trainer.events import Checkpoint, EpochCompleted, Notice, NoticeCode
from earmark.trainer.learning.loop import train
from earmark.trainer.scoring.evaluation import evaluate
from tests.trainer.jobs import never

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def scored(monkeypatch):
    """Sets the F1 of the next epochs. With the default `support`, chance plays no part."""

    def script(*f1, support=1_000_000):
        remaining = iter(f1)

        def with_next_score(*arguments):
            score = next(remaining)
            return replace(evaluate(*arguments), overall=Figures(score, score, score, support))

        monkeypatch.setattr("earmark.trainer.learning.loop.evaluate", with_next_score)

    return script


@pytest.fixture
def run(objects, job):
    """Trains with this patience. Returns the events, and the averaged weights after each epoch."""

    def trained(patience, prefix="early", epochs=8, **changes):
        config = replace(job.config, epochs=epochs, early_stopping_epochs=patience)
        events, averages = [], {}
        for event in train(replace(job, config=config, prefix=prefix, **changes), objects, never):
            events.append(event)
            if isinstance(event, Checkpoint):
                averages[event.epoch] = average(objects.get(event.key))
        return events, averages

    return trained


def average(checkpoint):
    """The moving average in a checkpoint of (state, totals, best), by the names of a model's weights."""
    start = "0/average/"
    arrays = safetensors.numpy.load(checkpoint)
    return {name.removeprefix(start): a.tobytes() for name, a in arrays.items() if name.startswith(start)}


def epochs_of(events):
    return [event.epoch for event in events if isinstance(event, EpochCompleted)]


def notices_of(events):
    """The notices without the one of every job, which describes the split."""
    return [event for event in events if isinstance(event, Notice) and event.code != NoticeCode.SPLIT]


def stored_weights(objects, event):
    return {name: a.tobytes() for name, a in safetensors.numpy.load(objects.get(event.weights)).items()}


@pytest.mark.parametrize(
    ("patience", "f1", "ends", "improved"),
    [
        (1, [0.2, 0.3, 0.1], 3, 2),
        (2, [0.2, 0.5, 0.4, 0.3], 4, 2),
        (2, [0.5, 0.4, 0.6, 0.5, 0.5], 5, 3),
        (3, [0.5, 0.1, 0.1, 0.1], 4, 1),
    ],
)
def test_training_ends_after_the_given_number_of_epochs_without_a_better_one(
    objects, run, scored, patience, f1, ends, improved
):
    scored(*f1)
    events, averages = run(patience)
    assert epochs_of(events) == list(range(1, ends + 1))
    (notice,) = notices_of(events)
    assert notice.code == NoticeCode.STOPPED_EARLY
    assert notice.message == (
        f"no epoch was better than epoch {improved} for {patience} epochs: training ends with epoch {ends}"
    )
    assert events[-1].best_epoch == improved
    assert stored_weights(objects, events[-1]) == averages[improved] != averages[ends]


def test_an_equally_good_epoch_is_kept_but_is_no_improvement(objects, run, scored):
    scored(0.2, 0.5, 0.5, 0.5)
    events, averages = run(2)
    assert epochs_of(events) == [1, 2, 3, 4]
    assert "better than epoch 2" in notices_of(events)[0].message
    assert events[-1].best_epoch == 4
    assert stored_weights(objects, events[-1]) == averages[4]


def test_the_latest_epoch_within_a_standard_error_of_the_best_is_kept(objects, run, scored):
    """The standard error of 0.5 on 25 examples is about 0.1."""
    scored(0.2, 0.5, 0.41, 0.39, 0.3, support=25)
    events, averages = run(None, epochs=5)
    best = [event.best_epoch for event in events if isinstance(event, EpochCompleted)]
    assert best == [1, 2, 3, 3, 3]
    assert stored_weights(objects, events[-1]) == averages[3]


def test_by_default_every_epoch_runs_and_the_best_is_kept(objects, run, scored):
    scored(0.5, *[0.1] * 7)
    events, averages = run(None)
    assert epochs_of(events) == list(range(1, 9))
    assert notices_of(events) == []
    assert events[-1].best_epoch == 1
    assert stored_weights(objects, events[-1]) == averages[1]


def test_training_ends_after_the_last_epoch_without_a_notice(run, scored):
    scored(0.5, 0.1, 0.1)
    events, _ = run(2, epochs=3)
    assert epochs_of(events) == [1, 2, 3]
    assert notices_of(events) == []


def test_resuming_from_a_checkpoint_that_meets_the_condition_ends_at_once_with_the_same_bytes(
    objects, run, scored
):
    scored(0.2, 0.5, 0.4, 0.3)
    events, _ = run(2)
    last = [event.key for event in events if isinstance(event, Checkpoint)][-1]
    scored()
    resumed, _ = run(2, prefix="resumed", resume_from=last)
    assert epochs_of(resumed) == []
    assert [notice.code for notice in notices_of(resumed)] == [NoticeCode.RESUMED, NoticeCode.STOPPED_EARLY]
    assert notices_of(resumed)[1] == notices_of(events)[0]
    for key in ("weights", "config"):
        assert objects.get(getattr(resumed[-1], key)) == objects.get(getattr(events[-1], key))


def test_a_resumed_job_counts_the_epochs_before_it_was_interrupted(objects, run, scored):
    scored(0.2, 0.5, 0.4, 0.3)
    events, _ = run(2)
    before = [event.key for event in events if isinstance(event, Checkpoint)][-2]
    scored(0.3)
    resumed, _ = run(2, prefix="resumed", resume_from=before)
    assert epochs_of(resumed) == [4]
    assert objects.get(resumed[-1].weights) == objects.get(events[-1].weights)
    assert objects.get(resumed[-1].config) == objects.get(events[-1].config)


def test_training_goes_on_while_nothing_is_detected_at_all(run, scored):
    scored(0.0, 0.0, 0.0, 0.4, 0.2, 0.1)
    events, _ = run(2)
    assert epochs_of(events) == [1, 2, 3, 4, 5, 6]
