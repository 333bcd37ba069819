"""The stages that a job's time went into, derived from its events."""

from collections.abc import Iterator, Sequence

import numpy as np

from earmark.scores import FRAME_MS
from earmark.trainer.chunks import chunk_grid, chunk_starts, windows_per_step
from earmark.trainer.job import TrainingConfig
from earmark.v1 import training_service_pb2 as training

Events = Sequence[training.TrainingEvent]


def stages(events: Events, chunks: float) -> dict[str, float | None]:
    """Seconds of each stage; they add up to the time from the job's creation to its last event.

    `chunks` is the number in one epoch. The steps of an epoch take chunks / chunks_per_second seconds; the
    rest of its time is evaluation. The time by which the first epoch's steps and evaluation exceed the median
    of the later epochs is compiling. With a single epoch there is no such median, and these stages are None.
    """
    events = [events[0], *(event for event in events if event.attempt == events[-1].attempt)]
    accepted = _time_of_notice(events, training.NOTICE_CODE_ACCEPTED)
    loaded = _time_of_notice(events, training.NOTICE_CODE_LOADING)
    first_step = next(_seconds(event) for event in events if event.HasField("progress"))
    epochs = [event for event in events if event.HasField("epoch_completed")]
    ends = np.array([_seconds(event) for event in epochs])
    durations = {
        "waiting": accepted - _seconds(events[0]),
        "loading": loaded - accepted,
        **_inner_stages(first_step - loaded, ends - first_step, step_seconds(epochs, chunks)),
        "finishing": _seconds(events[-1]) - ends[-1],
    }
    return {name: None if value is None else round(float(value), 2) for name, value in durations.items()}


def _inner_stages(to_first_step: float, ends: np.ndarray, steps: np.ndarray) -> dict[str, float | None]:
    """The stages between the loaded dataset and the end of the last epoch.

    `to_first_step`: seconds from the loaded dataset to the first step; `ends` (epochs,): the epochs' ends, in
    seconds after the first step; `steps` (epochs,): seconds of the epochs' steps.
    """
    if len(ends) == 1:
        return dict.fromkeys(("preparing", "compiling", "training", "evaluating"))
    evaluations = np.diff(ends) - steps[1:]
    compiling_steps = min(max(0.0, steps[0] - np.median(steps[1:])), to_first_step)
    first_evaluation = ends[0] - (steps[0] - compiling_steps)
    compiling_scores = max(0.0, first_evaluation - np.median(evaluations))
    return {
        "preparing": to_first_step - compiling_steps,
        "compiling": compiling_steps + compiling_scores,
        "training": steps.sum() - compiling_steps,
        "evaluating": first_evaluation - compiling_scores + evaluations.sum(),
    }


def step_seconds(epochs: Events, chunks: float) -> np.ndarray:
    """Seconds of the steps of each epoch, (epochs,)."""
    return np.array([chunks / event.epoch_completed.chunks_per_second for event in epochs])


def chunks_per_second(events: Events) -> float:
    """The median over the epochs without the first, which may compile, unless it is the only one."""
    rates = [event.epoch_completed.chunks_per_second for event in events if event.HasField("epoch_completed")]
    return float(np.median(rates[1:] or rates))


def chunks_of_an_epoch(events: Events, durations_ms: Sequence[int], config: TrainingConfig) -> float:
    """Estimates the chunks of an epoch, within a few percent, since no event reports them.

    Events report the steps. The average number of chunks per step follows from the lengths of all files,
    including those of the validation set.
    """
    grid = chunk_grid(config)
    counts = [len(chunk_starts(-(-duration // FRAME_MS), grid)) for duration in durations_ms]
    windows = sum(-(-count // grid.chunks) for count in counts)
    steps = next(event.progress.steps for event in events if event.HasField("progress"))
    return steps * windows_per_step(config, grid) * sum(counts) / windows


def device(events: Events) -> str:
    """The device that the job was trained on, as the trainer names it."""
    return next(_notices(events, training.NOTICE_CODE_ACCEPTED)).notice.message.removeprefix("training on ")


def _notices(events: Events, code: int) -> Iterator[training.TrainingEvent]:
    return (event for event in events if event.notice.code == code)


def _time_of_notice(events: Events, code: int) -> float:
    return _seconds(next(_notices(events, code)))


def _seconds(event: training.TrainingEvent) -> float:
    return event.time.ToMicroseconds() / 1e6
