import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from earmark.trainer.events import (
    Checkpoint,
    Completed,
    EpochCompleted,
    Loading,
    Notice,
    NoticeCode,
    Progress,
    TrainingFailedError,
    TrainingStoppedError,
)
from earmark.trainer.job import Stop
from earmark.trainer.learning.loop import train
from earmark.trainer.model import UnreadableModelError, load_model
from tests.sounds import annotated_speech
from tests.trainer.jobs import completed, config, never, stored_file, training_job

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture(scope="module")
def events(objects, job, tiny):  # noqa: ARG001
    return list(train(job, objects, never))


def test_the_events_come_in_the_promised_order(events):
    kinds = [type(event) for event in events if not isinstance(event, Progress | Notice)]
    assert kinds == [*[Loading] * 6, Checkpoint, EpochCompleted, Checkpoint, EpochCompleted, Completed]
    assert [event.epoch for event in events if isinstance(event, EpochCompleted)] == [1, 2]


def test_the_model_is_that_of_the_epoch_reported_as_best(objects, events):
    epochs = [event for event in events if isinstance(event, EpochCompleted)]
    assert all(1 <= event.best_epoch <= event.epoch for event in epochs)
    done = events[-1]
    assert done.best_epoch == epochs[-1].best_epoch
    assert json.loads(objects.get(done.config))["best_epoch"] == done.best_epoch
    assert done.metrics.overall == epochs[done.best_epoch - 1].metrics.overall


def test_the_model_counts_the_audio_that_it_was_trained_on_without_what_was_left_out(objects, job, events):
    whole = len(job.files), sum(file.duration_ms for file in job.files)
    assert (events[-1].audio_file_count, events[-1].audio_duration_ms) == whole
    lost = replace(job.files[0], audio_file_id="lost", features="features/lost", sha256="00" * 32)
    done = completed(replace(job, files=(*job.files, lost), prefix="lost"), objects)
    assert (done.audio_file_count, done.audio_duration_ms) == whole


def test_training_lowers_the_loss(events):
    first, last = (event for event in events if isinstance(event, EpochCompleted))
    assert last.train_loss < first.train_loss
    assert last.validation_loss < first.validation_loss


def test_a_checkpoint_of_other_settings_is_not_resumed_from(objects, job, events):
    first = next(event.key for event in events if isinstance(event, Checkpoint))
    other = replace(job, config=replace(job.config, learning_rate=0.002), resume_from=first, prefix="third")
    events = train(other, objects, never)
    notice = next(event for event in events if isinstance(event, Notice) and event.code == NoticeCode.RESUMED)
    assert "starts again with epoch 1" in notice.message
    assert next(event for event in events if isinstance(event, EpochCompleted)).epoch == 1


def test_a_stop_ends_the_job_before_its_next_device_call(objects, job):
    stopping = iter([None] * 8 + [Stop.DROP])
    with pytest.raises(TrainingStoppedError):
        list(train(replace(job, prefix="stopped"), objects, lambda: next(stopping)))
    assert next(stopping, None) is None


def test_a_loss_that_is_not_finite_fails_the_job_with_its_reason(objects, job):
    broken = replace(job, config=replace(job.config, learning_rate=1e30), prefix="broken")
    with pytest.raises(TrainingFailedError, match=r"in epoch 1, step \d+: .*lower learning_rate") as error:
        list(train(broken, objects, never))
    assert error.value.reason == "LOSS_NOT_FINITE"


def test_files_without_features_are_left_out_and_the_job_fails_if_none_remains(objects, job):
    gone = replace(job.files[0], audio_file_id="a-gone", features="features/gone")
    events = train(replace(job, files=(gone,), prefix="none"), objects, never)
    notice = next(events)
    assert notice.code == NoticeCode.FILE_LEFT_OUT
    assert notice.audio_file_id == "a-gone"
    assert "a-gone" in notice.message
    with pytest.raises(TrainingFailedError) as error:
        next(events)
    assert error.value.reason == "NO_TRAINING_DATA"


@pytest.mark.parametrize(("chunk", "stride", "batch"), [(100, 10, 8), (10_000, 3_000, 256)])
def test_the_smallest_and_largest_chunks_train_on_files_shorter_than_a_chunk(objects, chunk, stride, batch):
    files = [stored_file(objects, f"short-{chunk}-{n}", *annotated_speech(1.5, n)) for n in range(5)]
    files += [stored_file(objects, f"tiny-{chunk}", np.zeros(800, np.float32), [])]
    job = replace(training_job(objects, files=0, epochs=1), files=tuple(files), prefix=f"chunk-{chunk}")
    changed = config(epochs=1, chunk_size_ms=chunk, stride_ms=stride, batch_size=batch)
    assert isinstance(completed(replace(job, config=changed), objects), Completed)


def test_a_model_of_another_front_end_is_refused(objects, events):
    done = events[-1]
    stored = json.loads(objects.get(done.config))
    objects.put("old/model.json", json.dumps(stored | {"frontend": "0"}).encode())
    with pytest.raises(UnreadableModelError, match="front end 0"):
        load_model(objects, done.weights, "old/model.json", done.sha256)


def test_the_stored_model_has_the_settings_of_its_types(objects, job, events):
    done = events[-1]
    model = load_model(objects, done.weights, done.config, done.sha256)
    assert [kind.name for kind in model.types] == list(job.config.artifact_types)
    stored = json.loads(objects.get(done.config))["artifact_types"]
    assert [asdict(kind) for kind in model.types] == stored
    assert all(kind.smoothing >= 3 and kind.min_duration_ms >= 100 for kind in model.types)
    assert events[-1].merge_windows_ms == {kind.name: kind.merge_window_ms for kind in model.types}
    assert events[-1].min_durations_ms == {kind.name: kind.min_duration_ms for kind in model.types}


def test_progress_is_reported_for_every_step_up_to_the_last(events):
    progress = [event for event in events if isinstance(event, Progress)]
    steps = {(event.epoch, event.step) for event in progress}
    assert steps == {(epoch, step) for epoch in (1, 2) for step in range(1, progress[0].steps + 1)}
    assert [event.fraction for event in progress] == sorted(event.fraction for event in progress)
    assert progress[-1].fraction == 1
