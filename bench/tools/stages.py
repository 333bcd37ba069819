"""Where a job's time went, as far as its events tell."""

from collections.abc import Iterator, Sequence

import numpy as np
from earmark.v1 import training_service_pb2 as training

from trainer.chunks import chunk_grid, chunk_starts, windows_per_step
from trainer.features.frontend import FRAME_MS
from trainer.job import TrainingConfig

Events = Sequence[training.TrainingEvent]


def stages(events: Events, chunks: float) -> dict[str, float | None]:
    """Seconds of each stage; together they are those from the job's creation to its last event.

    `chunks` are those of one epoch. Its steps took chunks / chunks_per_second, the rest of its time went into
    evaluation. What the first epoch's steps and evaluation took longer than is usual later was compiling.
    With a single epoch nothing is usual, and these stages are None.
    """
    events = [events[0], *(event for event in events if event.attempt == events[-1].attempt)]
    accepted, loaded = (
        _noticed(events, code) for code in (training.NOTICE_CODE_ACCEPTED, training.NOTICE_CODE_LOADING)
    )
    begun = next(_seconds(event) for event in events if event.HasField("progress"))
    epochs = [event for event in events if event.HasField("epoch_completed")]
    ends = np.array([_seconds(event) for event in epochs])
    known = {
        "waiting": accepted - _seconds(events[0]),
        "loading": loaded - accepted,
        **_inner(begun - loaded, ends - begun, step_seconds(epochs, chunks)),
        "finishing": _seconds(events[-1]) - ends[-1],
    }
    return {name: None if value is None else round(float(value), 2) for name, value in known.items()}


def _inner(to_begin: float, ends: np.ndarray, steps: np.ndarray) -> dict[str, float | None]:
    """From the loaded dataset to the last epoch's end, `ends` counted from the first step's end."""
    if len(ends) == 1:
        return dict.fromkeys(("preparing", "compiling", "training", "evaluating"))
    evaluations = np.diff(ends) - steps[1:]
    compiling_steps = min(max(0.0, steps[0] - np.median(steps[1:])), to_begin)
    first_evaluation = ends[0] - (steps[0] - compiling_steps)
    compiling_scores = max(0.0, first_evaluation - np.median(evaluations))
    return {
        "preparing": to_begin - compiling_steps,
        "compiling": compiling_steps + compiling_scores,
        "training": steps.sum() - compiling_steps,
        "evaluating": first_evaluation - compiling_scores + evaluations.sum(),
    }


def step_seconds(epochs: Events, chunks: float) -> np.ndarray:
    """(epochs,) what the steps of each took."""
    return np.array([chunks / event.epoch_completed.chunks_per_second for event in epochs])


def chunks_per_second(events: Events) -> float:
    """The median of the epochs; the first, which may compile, counts only where it is the only one."""
    rates = [e.epoch_completed.chunks_per_second for e in events if e.HasField("epoch_completed")]
    return float(np.median(rates[1:] or rates))


def chunks_of_an_epoch(events: Events, durations_ms: Sequence[int], config: TrainingConfig) -> float:
    """Estimated, within a few percent, for no event says it.

    The steps are told. How many chunks one holds, on the average, follows from the lengths of all files, held
    out or not.
    """
    grid = chunk_grid(config)
    counts = [len(chunk_starts(-(-duration // FRAME_MS), grid)) for duration in durations_ms]
    windows = sum(-(-count // grid.chunks) for count in counts)
    steps = next(event.progress.steps for event in events if event.HasField("progress"))
    return steps * windows_per_step(config, grid) * sum(counts) / windows


def device(events: Events) -> str:
    """As the trainer names it."""
    return next(_notices(events, training.NOTICE_CODE_ACCEPTED)).notice.message.removeprefix("training on ")


def _notices(events: Events, code: int) -> Iterator[training.TrainingEvent]:
    return (event for event in events if event.notice.code == code)


def _noticed(events: Events, code: int) -> float:
    return _seconds(next(_notices(events, code)))


def _seconds(event: training.TrainingEvent) -> float:
    return event.time.ToMicroseconds() / 1e6
