from dataclasses import replace

import pytest
import safetensors.numpy

from tests.trainer.jobs import never
from trainer.events import Checkpoint, EpochCompleted, Figures, Notice, NoticeCode
from trainer.learning.loop import train
from trainer.scoring.evaluation import evaluate

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def scored(monkeypatch):
    """Gives the epochs from the next on these F1, of so many examples that chance plays no part."""

    def script(*f1, support=1_000_000):
        left = iter(f1)

        def judged(*held):
            score = next(left)
            return replace(evaluate(*held), overall=Figures(score, score, score, support))

        monkeypatch.setattr("trainer.learning.loop.evaluate", judged)

    return script


@pytest.fixture
def run(objects, job):
    """Trains with this patience; gives the events, and the averaged weights after each epoch."""

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
    """The moving average in a checkpoint of (state, best), by the names that a model's weights have."""
    start = "0/average/"
    arrays = safetensors.numpy.load(checkpoint)
    return {name.removeprefix(start): a.tobytes() for name, a in arrays.items() if name.startswith(start)}


def epochs_of(events):
    return [event.epoch for event in events if isinstance(event, EpochCompleted)]


def notices_of(events):
    return [event for event in events if isinstance(event, Notice)]


def stored(objects, event):
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
def test_training_ends_after_so_many_epochs_without_a_better_one(
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
    assert stored(objects, events[-1]) == averages[improved] != averages[ends]


def test_an_equal_is_kept_but_is_no_improvement(objects, run, scored):
    scored(0.2, 0.5, 0.5, 0.5)
    events, averages = run(2)
    assert epochs_of(events) == [1, 2, 3, 4]
    assert "better than epoch 2" in notices_of(events)[0].message
    assert events[-1].best_epoch == 4
    assert stored(objects, events[-1]) == averages[4]


def test_of_epochs_within_a_standard_error_of_the_best_the_latest_is_kept(objects, run, scored):
    """Of 0.5 on 25 examples it is 0.1."""
    scored(0.2, 0.5, 0.41, 0.39, 0.3, support=25)
    events, averages = run(None, epochs=5)
    best = [event.best_epoch for event in events if isinstance(event, EpochCompleted)]
    assert best == [1, 2, 3, 3, 3]
    assert stored(objects, events[-1]) == averages[3]


def test_off_by_default_every_epoch_is_run_and_the_best_is_kept(objects, run, scored):
    scored(0.5, *[0.1] * 7)
    events, averages = run(None)
    assert epochs_of(events) == list(range(1, 9))
    assert notices_of(events) == []
    assert events[-1].best_epoch == 1
    assert stored(objects, events[-1]) == averages[1]


def test_the_last_epoch_ends_training_without_a_word(run, scored):
    scored(0.5, 0.1, 0.1)
    events, _ = run(2, epochs=3)
    assert epochs_of(events) == [1, 2, 3]
    assert notices_of(events) == []


def test_a_checkpoint_that_meets_the_condition_ends_at_once_with_the_same_bytes(objects, run, scored):
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


def test_resumed_it_counts_on_from_the_epochs_before(objects, run, scored):
    scored(0.2, 0.5, 0.4, 0.3)
    events, _ = run(2)
    before = [event.key for event in events if isinstance(event, Checkpoint)][-2]
    scored(0.3)
    resumed, _ = run(2, prefix="resumed", resume_from=before)
    assert epochs_of(resumed) == [4]
    assert objects.get(resumed[-1].weights) == objects.get(events[-1].weights)
    assert objects.get(resumed[-1].config) == objects.get(events[-1].config)


def test_while_nothing_is_found_at_all_training_goes_on(run, scored):
    scored(0.0, 0.0, 0.0, 0.4, 0.2, 0.1)
    events, _ = run(2)
    assert epochs_of(events) == [1, 2, 3, 4, 5, 6]
