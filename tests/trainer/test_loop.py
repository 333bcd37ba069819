import json
from dataclasses import replace

import numpy as np
import pytest
from signals import config, marked, stored_file, training_job

from storage.objects import ObjectStore
from trainer.detect import DetectionConfig, UnreadableModelError, detect, frame_scores, load_model
from trainer.events import (
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
from trainer.frontend import unpack_features
from trainer.loop import train
from trainer.metrics import event_counts


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    return ObjectStore.open(str(tmp_path_factory.mktemp("objects")))


@pytest.fixture(scope="module")
def job(objects):
    return training_job(objects, seconds=40)


@pytest.fixture(scope="module")
def events(objects, job):
    return list(train(job, objects, never))


def never():
    return False


def completed(job, objects):
    return list(train(job, objects, never))[-1]


def test_the_events_come_in_the_promised_order(events):
    kinds = [type(event) for event in events if not isinstance(event, Progress)]
    assert kinds == [*[Loading] * 6, Checkpoint, EpochCompleted, Checkpoint, EpochCompleted, Completed]
    assert [event.epoch for event in events if isinstance(event, EpochCompleted)] == [1, 2]


def test_the_model_is_that_of_the_epoch_told_to_be_best(objects, events):
    epochs = [event for event in events if isinstance(event, EpochCompleted)]
    assert all(1 <= event.best_epoch <= event.epoch for event in epochs)
    done = events[-1]
    assert done.best_epoch == epochs[-1].best_epoch
    assert json.loads(objects.get(done.config))["best_epoch"] == done.best_epoch
    assert done.metrics.overall == epochs[done.best_epoch - 1].metrics.overall


def test_training_lowers_the_loss(events):
    first, last = (event for event in events if isinstance(event, EpochCompleted))
    assert last.train_loss < first.train_loss
    assert last.validation_loss < first.validation_loss


def test_the_same_job_gives_the_same_bytes_whatever_order_its_files_come_in(objects, job, events):
    again = replace(job, files=job.files[::-1], prefix="again")
    done = completed(again, objects)
    assert objects.get(done.weights) == objects.get(events[-1].weights)
    assert done.metrics == events[-1].metrics


def test_another_seed_gives_another_model(objects, job, events):
    other = replace(job, config=replace(job.config, seed=8), prefix="other")
    assert completed(other, objects).sha256 != events[-1].sha256


def test_a_resumed_job_gives_the_same_bytes_as_an_uninterrupted_one(objects, job, events):
    first = next(event.key for event in events if isinstance(event, Checkpoint))
    resumed = list(train(replace(job, resume_from=first, attempt=2, prefix="second"), objects, never))
    assert [e.epoch for e in resumed if isinstance(e, EpochCompleted)] == [2]
    assert [e.code for e in resumed if isinstance(e, Notice)] == [NoticeCode.RESUMED]
    assert objects.get(resumed[-1].weights) == objects.get(events[-1].weights)
    assert objects.get(resumed[-1].config) == objects.get(events[-1].config)


def test_a_checkpoint_of_other_settings_is_not_resumed_from(objects, job, events):
    first = next(event.key for event in events if isinstance(event, Checkpoint))
    other = replace(job, config=replace(job.config, learning_rate=0.002), resume_from=first, prefix="third")
    events = train(other, objects, never)
    notice = next(event for event in events if isinstance(event, Notice))
    assert notice.code == NoticeCode.RESUMED
    assert "starts again with epoch 1" in notice.message
    assert next(event for event in events if isinstance(event, EpochCompleted)).epoch == 1


def test_a_stop_ends_the_job_before_its_next_device_call(objects, job):
    stopping = iter([False] * 8 + [True])
    with pytest.raises(TrainingStoppedError):
        list(train(replace(job, prefix="stopped"), objects, lambda: next(stopping)))
    assert next(stopping, None) is None


def test_a_loss_that_is_not_finite_fails_the_job_by_name(objects, job):
    broken = replace(job, config=replace(job.config, learning_rate=1e30), prefix="broken")
    with pytest.raises(TrainingFailedError, match=r"in epoch 1, step \d+: .*lower learning_rate") as error:
        list(train(broken, objects, never))
    assert error.value.reason == "LOSS_NOT_FINITE"


def test_files_without_features_are_left_out_by_name_and_none_left_fails_the_job(objects, job):
    gone = replace(job.files[0], audio_file_id="a-gone", features="features/gone")
    seen = train(replace(job, files=(gone,), prefix="none"), objects, never)
    notice = next(seen)
    assert notice.code == NoticeCode.FILE_LEFT_OUT
    assert "a-gone" in notice.message
    with pytest.raises(TrainingFailedError) as error:
        next(seen)
    assert error.value.reason == "NO_TRAINING_DATA"


@pytest.mark.parametrize(("chunk", "stride", "batch"), [(100, 10, 8), (10_000, 3_000, 256)])
def test_any_legal_chunk_trains_on_files_shorter_than_it(objects, chunk, stride, batch):
    files = [stored_file(objects, f"short-{chunk}-{n}", *marked(1.5, n)) for n in range(5)]
    files += [stored_file(objects, f"tiny-{chunk}", np.zeros(800, np.float32), [])]
    job = replace(training_job(objects, files=0, epochs=1), files=tuple(files), prefix=f"chunk-{chunk}")
    changed = config(epochs=1, chunk_size_ms=chunk, stride_ms=stride, batch_size=batch)
    assert isinstance(completed(replace(job, config=changed), objects), Completed)


def test_the_stored_model_finds_artifacts_in_new_audio(objects, job):
    longer = replace(job.config, epochs=16, learning_rate=0.003)
    done = completed(replace(job, config=longer, prefix="good"), objects)
    assert done.metrics.overall.f1_score > 0.8
    model = load_model(objects, done.weights, done.config)
    fresh = stored_file(objects, "fresh", *marked(40, 99))
    found = detect(model, unpack_features(objects.get(fresh.features)), fresh.duration_ms, DetectionConfig())
    for kind in ("gone", "noisy"):
        real = np.array([(a.start_ms, a.end_ms) for a in fresh.annotations if a.artifact_type == kind])
        claimed = np.array([(d.start_ms, d.end_ms) for d in found if d.artifact_type == kind]).reshape(-1, 2)
        assert event_counts(real, claimed).figures().f1_score > 0.8
    assert set(done.recommended_thresholds) == {"gone", "noisy"}


def test_a_long_file_scores_the_same_in_segments_as_in_one(objects, events, monkeypatch):
    model = load_model(objects, events[-1].weights, events[-1].config)
    audio = unpack_features(objects.get("features/file-0"))
    whole = frame_scores(model, audio)
    monkeypatch.setattr("trainer.detect.BUCKETS", (512,))
    parts = frame_scores(model, audio)
    assert whole.shape == (-(-len(audio) // 2), 2)
    np.testing.assert_allclose(parts, whole, atol=1e-4)


def test_a_model_of_another_front_end_is_refused(objects, events):
    stored = json.loads(objects.get(events[-1].config))
    objects.put("old/model.json", json.dumps(stored | {"frontend": "0"}).encode())
    with pytest.raises(UnreadableModelError, match="front end 0"):
        load_model(objects, events[-1].weights, "old/model.json")
