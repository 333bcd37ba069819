"""A job gives the same bytes, wherever it is interrupted and in whatever order its files come."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from earmark.trainer import network
from earmark.trainer.events import (
    Checkpoint,
    EpochCompleted,
    Loading,
    Notice,
    NoticeCode,
    Progress,
    TrainingStoppedError,
)
from earmark.trainer.job import Annotation, Stop
from earmark.trainer.learning.loop import train
from earmark.trainer.model import load_model
from tests.trainer.jobs import completed, config, never

EPOCHS = 4
pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture(scope="module", params=[1 << 15, 1 << 13], ids=["one shard", "several shards"])
def longer(job, tiny, request):  # noqa: ARG001
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("earmark.trainer.data.shards.SHARD_FRAMES", request.param)
        yield replace(job, config=replace(job.config, epochs=EPOCHS, learning_rate=0.0018))


@pytest.fixture(scope="module")
def uninterrupted(objects, longer):
    return list(train(replace(longer, prefix="whole"), objects, never))


@pytest.fixture
def always_due(monkeypatch):
    """A checkpoint after every device call, which is every step."""
    monkeypatch.setattr("earmark.trainer.learning.checkpoints.CHECKPOINT_SECONDS", 0)


def stopped_within(job, objects, epoch):
    """Stops the job in the middle of `epoch`. Returns the key of its last checkpoint, or None."""
    seen = []
    with pytest.raises(TrainingStoppedError):
        list(recorded(train(job, objects, lambda: Stop.DROP if in_the_middle(seen, epoch) else None), seen))
    assert in_the_middle(seen, epoch)
    assert seen[-1].step < seen[-1].steps
    return next((event.key for event in reversed(seen) if isinstance(event, Checkpoint)), None)


def recorded(events, seen):
    """Appends each event to `seen` before it is passed on."""
    for event in events:
        seen.append(event)
        yield event


def in_the_middle(seen, epoch):
    last = seen[-1] if seen else None
    return isinstance(last, Progress) and last.epoch == epoch and 2 * last.step >= last.steps


def test_the_job_is_a_meaningful_example(uninterrupted):
    """Its figures are neither 0 nor perfect, and they change between epochs."""
    epochs = [event for event in uninterrupted if isinstance(event, EpochCompleted)]
    assert len({event.metrics.overall.f1_score for event in epochs}) > 1
    assert 0.2 < uninterrupted[-1].metrics.overall.f1_score < 1


def assert_same(objects, one, other):
    assert objects.get(one.weights) == objects.get(other.weights)
    assert objects.get(one.config) == objects.get(other.config)
    assert one.metrics == other.metrics
    assert one.best_epoch == other.best_epoch


@pytest.mark.parametrize("epoch", range(1, EPOCHS + 1))
def test_a_job_stopped_in_the_middle_of_any_epoch_resumes_to_the_same_bytes(
    objects, longer, uninterrupted, epoch
):
    key = stopped_within(replace(longer, prefix=f"stopped-{epoch}"), objects, epoch)
    assert (key is None) == (epoch == 1)
    resumed = list(train(replace(longer, prefix=f"on-{epoch}", resume_from=key, attempt=2), objects, never))
    epochs = [event for event in resumed if isinstance(event, EpochCompleted)]
    assert [event.epoch for event in epochs] == list(range(epoch, EPOCHS + 1))
    notices = [event.code for event in resumed if isinstance(event, Notice)]
    assert (NoticeCode.RESUMED in notices) == (key is not None)
    assert_same(objects, resumed[-1], uninterrupted[-1])
    before = [event for event in uninterrupted if isinstance(event, EpochCompleted)][epoch - 1 :]
    for one, other in zip(epochs, before, strict=True):
        assert replace(one, chunks_per_second=0) == replace(other, chunks_per_second=0)


def test_a_job_stopped_in_every_epoch_gives_the_same_bytes(objects, longer, uninterrupted):
    key = None
    for epoch in range(2, EPOCHS + 1):
        key = stopped_within(replace(longer, prefix=f"often-{epoch}", resume_from=key), objects, epoch)
    assert_same(
        objects, completed(replace(longer, prefix="often", resume_from=key), objects), uninterrupted[-1]
    )


def steps_of(events):
    return next(event.steps for event in events if isinstance(event, Progress))


def handed_back(job, objects, condition):
    """The events of a job that is handed back as soon as its last event meets the condition."""
    seen = []
    job_events = train(job, objects, lambda: Stop.HAND_BACK if seen and condition(seen[-1]) else None)
    with pytest.raises(TrainingStoppedError):
        list(recorded(job_events, seen))
    return seen


def after(epoch, step):
    return lambda event: isinstance(event, Progress) and (event.epoch, event.step) == (epoch, step)


def epochs_without_speed(events, first=1):
    """The completed epochs from `first` on, without their speed."""
    epochs = [event for event in events if isinstance(event, EpochCompleted) and event.epoch >= first]
    return [replace(epoch, chunks_per_second=0) for epoch in epochs]


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_job_handed_back_within_an_epoch_resumes_to_the_same_bytes_and_figures(
    objects, longer, uninterrupted, share
):
    step = max(1, int(share * steps_of(uninterrupted)))
    seen = handed_back(replace(longer, prefix=f"back-{share}"), objects, after(2, step))
    assert isinstance(seen[-1], Checkpoint)
    assert (seen[-1].epoch, seen[-1].step) == (1, step)
    again = replace(longer, prefix=f"again-{share}", resume_from=seen[-1].key, attempt=2)
    resumed = list(train(again, objects, never))
    assert_same(objects, resumed[-1], uninterrupted[-1])
    assert epochs_without_speed(resumed) == epochs_without_speed(uninterrupted, first=2)
    split, notice = (event for event in resumed if isinstance(event, Notice))
    assert split.code == NoticeCode.SPLIT
    assert notice.message == f"training goes on in epoch 2 after step {step} of {steps_of(uninterrupted)}"
    first = next((event for event in resumed if isinstance(event, Progress)), None)
    assert (first.epoch, first.step) == ((2, step + 1) if share < 1 else (3, 1))


def test_a_job_handed_back_step_after_step_gives_the_same_bytes(objects, longer, uninterrupted):
    key, steps = None, steps_of(uninterrupted)
    for number, done in enumerate(range(1, 2 * steps, max(1, steps // 5))):
        job = replace(longer, prefix=f"step-{number}", resume_from=key, attempt=number + 1)
        seen = handed_back(job, objects, after(1 + (done - 1) // steps, 1 + (done - 1) % steps))
        key = seen[-1].key
    assert_same(
        objects, completed(replace(longer, prefix="steps", resume_from=key), objects), uninterrupted[-1]
    )


@pytest.mark.usefixtures("always_due")
def test_a_job_lost_within_an_epoch_resumes_from_the_last_checkpoint(objects, longer, uninterrupted):
    key = stopped_within(replace(longer, prefix="lost-within"), objects, 3)
    before = -(-steps_of(uninterrupted) // 2) - 1
    assert key == f"lost-within/checkpoint-0002-{before:06d}.safetensors"
    resumed = list(train(replace(longer, prefix="on-within", resume_from=key), objects, never))
    assert_same(objects, resumed[-1], uninterrupted[-1])
    assert epochs_without_speed(resumed) == epochs_without_speed(uninterrupted, first=3)


def test_progress_of_a_resumed_job_continues_where_it_stopped(objects, longer, uninterrupted):
    seen = handed_back(replace(longer, prefix="share"), objects, after(2, 1))
    resumed = train(replace(longer, prefix="share-on", resume_from=seen[-1].key), objects, never)
    shares = {
        (event.epoch, event.step): event.fraction for event in uninterrupted if isinstance(event, Progress)
    }
    for event in resumed:
        if isinstance(event, Progress):
            assert event.fraction == shares[event.epoch, event.step]


def test_a_job_handed_back_before_its_first_step_stores_nothing(objects, longer):
    seen = handed_back(replace(longer, prefix="nothing"), objects, lambda event: isinstance(event, Loading))
    assert not any(isinstance(event, Checkpoint | Progress) for event in seen)
    assert not list(objects.keys("nothing"))


def test_a_job_handed_back_right_after_it_resumed_stores_nothing(objects, longer):
    seen = handed_back(replace(longer, prefix="once"), objects, after(2, 1))
    again = replace(longer, prefix="twice", resume_from=seen[-1].key)
    again = handed_back(again, objects, lambda event: isinstance(event, Notice))
    assert isinstance(again[-1], Notice)
    assert not list(objects.keys("twice"))


@pytest.mark.usefixtures("always_due")
def test_every_reported_checkpoint_stays_in_the_store(objects, longer):
    """The trainer does not know which one a later attempt will resume from."""
    objects.delete(*list(objects.keys("kept")))
    events = list(train(replace(longer, prefix="kept"), objects, never))
    reported = [event.key for event in events if isinstance(event, Checkpoint)]
    assert len(reported) == len(set(reported)) > 2 * EPOCHS
    assert {key for key in objects.keys("kept") if "/checkpoint-" in key} == set(reported)


def test_the_order_of_uploads_files_and_annotations_does_not_matter(objects, longer, uninterrupted):
    """Uploaded again in another order, the files have other ids, which are ordered otherwise."""
    files = [
        replace(file, audio_file_id=f"again-{number}", annotations=file.annotations[::-1])
        for number, file in enumerate(longer.files[::-1])
    ]
    assert_same(
        objects, completed(replace(longer, files=tuple(files), prefix="other"), objects), uninterrupted[-1]
    )


def test_the_names_of_types_do_not_matter(objects, longer, uninterrupted):
    """The types keep their order; sorted by name, they would have the opposite one."""
    names = {"gone": "zebra", "noisy": "aardvark"}
    files = [
        replace(
            file,
            annotations=tuple(
                Annotation(names[a.artifact_type], a.start_ms, a.end_ms) for a in file.annotations
            ),
        )
        for file in longer.files
    ]
    renamed = replace(longer.config, artifact_types=("zebra", "aardvark"))
    done = completed(replace(longer, files=tuple(files), config=renamed, prefix="names"), objects)
    models = [load_model(objects, one.weights, one.config, one.sha256) for one in (done, uninterrupted[-1])]
    jax.tree.map(np.testing.assert_array_equal, *(model.parameters for model in models))
    before = uninterrupted[-1].metrics.per_type
    assert done.metrics.per_type == {names[name]: figures for name, figures in before.items()}


def test_a_checkpoint_of_other_annotations_is_not_resumed_from(objects, longer, uninterrupted):
    key = [event.key for event in uninterrupted if isinstance(event, Checkpoint)][-1]
    fewer = replace(longer.files[0], annotations=longer.files[0].annotations[1:])
    other = replace(longer, files=(fewer, *longer.files[1:]), prefix="fewer", resume_from=key)
    epochs = [event.epoch for event in train(other, objects, never) if isinstance(event, EpochCompleted)]
    assert epochs == list(range(1, EPOCHS + 1))


def test_a_checkpoint_that_is_gone_costs_the_epochs_and_not_the_job(objects, longer, uninterrupted):
    lost = replace(longer, prefix="lost", resume_from="no/such/checkpoint")
    events = list(train(lost, objects, never))
    split, notice = (event for event in events if isinstance(event, Notice))
    assert split.code == NoticeCode.SPLIT
    assert "starts again with epoch 1" in notice.message
    assert_same(objects, events[-1], uninterrupted[-1])


def test_all_epochs_done_a_job_resumes_to_its_end(objects, longer, uninterrupted):
    key = [event.key for event in uninterrupted if isinstance(event, Checkpoint)][-1]
    events = list(train(replace(longer, prefix="end", resume_from=key), objects, never))
    assert not any(isinstance(event, EpochCompleted | Progress) for event in events)
    assert_same(objects, events[-1], uninterrupted[-1])


def test_the_data_is_drawn_anew_by_the_seed(objects, longer, uninterrupted):
    other = replace(longer, config=replace(longer.config, seed=config().seed + 1), prefix="seed")
    assert completed(other, objects).sha256 != uninterrupted[-1].sha256


def test_another_kind_of_device_goes_on_with_the_work(objects, longer, monkeypatch):
    """As a GPU, which computes in bfloat16, hands a job to a CPU."""
    # Flax's LayerNorm promotes bfloat16 to float32 by itself.
    with monkeypatch.context() as patch, jax.numpy_dtype_promotion("standard"):
        patch.setattr(network, "default_dtype", lambda: "bfloat16")
        key = stopped_within(replace(longer, prefix="on a GPU"), objects, 3)
    resumed = list(train(replace(longer, prefix="on a CPU", resume_from=key), objects, never))
    (notice,) = [event for event in resumed if isinstance(event, Notice) and event.code == NoticeCode.RESUMED]
    assert notice.message.startswith("training goes on after epoch 2, in float32")
    assert "bfloat16" in notice.message
    epochs = [event for event in resumed if isinstance(event, EpochCompleted)]
    assert [event.epoch for event in epochs] == [3, 4]
    assert epochs[-1].metrics.overall.f1_score > 0.2
