import numpy as np
import pytest

from bench.tools.stages import chunks_of_an_epoch, chunks_per_second, device, stages
from earmark.trainer.chunks import chunk_grid, window_table, windows_per_step
from earmark.trainer.learning.precompile import DEFAULT
from earmark.v1 import training_service_pb2 as training

CHUNKS = 1000
CREATED, COMPLETED = training.TRAINING_JOB_STATUS_PENDING, training.TRAINING_JOB_STATUS_COMPLETED


def event(seconds, attempt=1, **kind):
    made = training.TrainingEvent(attempt=attempt, **kind)
    made.time.FromMicroseconds(round(seconds * 1e6))
    return made


def notice(seconds, code, message="", attempt=1):
    return event(seconds, attempt, notice={"code": code, "message": message})


def epoch(seconds, steps_took):
    return event(seconds, epoch_completed={"chunks_per_second": CHUNKS / steps_took})


def job(*epochs, steps=33):
    """The events of a job whose data is loaded at 2 s and whose first step ends at 7 s."""
    return [
        event(0, 0, status_changed={"to": CREATED}),
        notice(1, training.NOTICE_CODE_ACCEPTED, "training on cpu"),
        notice(2, training.NOTICE_CODE_LOADING),
        event(7, progress={"epoch": 1, "step": 1, "steps": steps}),
        *epochs,
        event(16, status_changed={"to": COMPLETED}),
    ]


def test_the_stages_add_up_to_all_seconds():
    # Steps take 2 s and evaluation 0.5 s; before, 1 s to split, 4 s to compile the step, 0.5 s the scores.
    events = job(epoch(10, 6), epoch(12.5, 2), epoch(15, 2))
    seconds_by_stage = stages(events, CHUNKS)
    assert seconds_by_stage == {
        "waiting": 1,
        "loading": 1,
        "preparing": 1,
        "compiling": 4.5,
        "training": 6,
        "evaluating": 1.5,
        "finishing": 1,
    }
    assert sum(seconds_by_stage.values()) == 16


def test_an_epoch_like_the_others_has_no_compiling():
    seconds_by_stage = stages(job(epoch(9.5, 2), epoch(12, 2), epoch(14.5, 2)), CHUNKS)
    assert (seconds_by_stage["compiling"], seconds_by_stage["preparing"], seconds_by_stage["training"]) == (
        0,
        5,
        6,
    )


def test_a_single_epoch_cannot_separate_compiling_from_training():
    seconds_by_stage = stages(job(epoch(15, 6)), CHUNKS)
    assert [name for name, seconds in seconds_by_stage.items() if seconds is None] == [
        "preparing",
        "compiling",
        "training",
        "evaluating",
    ]
    assert (seconds_by_stage["waiting"], seconds_by_stage["loading"], seconds_by_stage["finishing"]) == (
        1,
        1,
        1,
    )


def test_an_attempt_that_was_lost_counts_as_waiting():
    first, *others = job(epoch(10, 6), epoch(12.5, 2))
    lost = [notice(0.2, training.NOTICE_CODE_ACCEPTED), notice(0.4, training.NOTICE_CODE_LOADING)]
    for other in others:
        other.attempt = 2
    assert stages([first, *lost, *others], CHUNKS)["waiting"] == 1


def test_the_rate_is_that_of_the_epochs_that_do_not_compile():
    events = job(epoch(10, 8), epoch(12.5, 2), epoch(15, 2))
    assert chunks_per_second(events) == CHUNKS / 2
    assert chunks_per_second(job(epoch(10, 8))) == CHUNKS / 8
    assert device(events) == "cpu"


@pytest.mark.parametrize("seconds", [(20, 60), (38, 38), (300, 1800)])
def test_the_chunks_of_an_epoch_are_close(seconds):
    durations = np.random.default_rng(0).integers(seconds[0] * 1000, seconds[1] * 1000 + 1, 30).tolist()
    grid, windows = chunk_grid(DEFAULT), windows_per_step(DEFAULT, chunk_grid(DEFAULT))
    table = window_table([(0, duration // 10) for duration in durations[:24]], grid)
    events = job(steps=-(-len(table) // windows))
    assert chunks_of_an_epoch(events, durations, DEFAULT) == pytest.approx(table[:, 3].sum(), rel=0.03)
