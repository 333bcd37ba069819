"""Which changes to a job make its checkpoints unusable."""

from dataclasses import replace

import pytest

from earmark.trainer.job import Annotation, BaseModel, TrainingFile, TrainingJob
from earmark.trainer.learning.checkpoints import fingerprint
from tests.trainer.jobs import config

FILE = TrainingFile("file", "ab", "features/file", 1000, ())
JOB = TrainingJob(
    "job", 1, config(), (FILE,), "out", base=BaseModel("old/model.safetensors", "old/model.json", "ab")
)


@pytest.mark.parametrize(
    "change",
    [
        {"base": None},
        {"base": BaseModel("other/model.safetensors", "other/model.json", "cd")},
        {"config": config(early_stopping_epochs=3)},
        {"config": config(seed=8)},
        {"files": (replace(FILE, features="features/other"),)},
        {"files": (replace(FILE, group="Ana"),)},
    ],
    ids=str,
)
def test_another_base_model_setting_or_file_is_another_training(change):
    assert fingerprint(replace(JOB, **change)) != fingerprint(JOB)


def test_another_attempt_is_the_same_training():
    assert fingerprint(replace(JOB, attempt=2, prefix="elsewhere", resume_from="key")) == fingerprint(JOB)


def test_files_and_annotations_in_another_order_are_the_same_training():
    annotations = (
        Annotation("gone", 0, 100),
        Annotation("gone", 0, 100, channel=1),
        Annotation("gone", 0, 100, channel=0),
        Annotation("noisy", 0, 100),
        Annotation("gone", 500, 900),
    )
    files = (replace(FILE, annotations=annotations), replace(FILE, audio_file_id="other"))
    reordered = (files[1], replace(FILE, annotations=annotations[::-1]))
    assert fingerprint(replace(JOB, files=reordered)) == fingerprint(replace(JOB, files=files))
    assert fingerprint(replace(JOB, files=files)) != fingerprint(JOB)


def test_an_annotation_of_another_channel_is_another_training():
    jobs = [
        replace(JOB, files=(replace(FILE, annotations=(Annotation("gone", 0, 100, channel=channel),)),))
        for channel in (None, 0, 1)
    ]
    assert len(set(map(fingerprint, jobs))) == 3
