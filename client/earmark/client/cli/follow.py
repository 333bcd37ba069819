"""Shows a training job: with progress bars on a terminal, with one line for each event elsewhere."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from earmark.client.channel import Client
from earmark.client.cli.tables import figure, metrics_table
from earmark.client.positions import TERMINAL_STATUSES, JobEvent
from earmark.v1 import training_service_pb2 as training
from earmark.v1.error_reason_pb2 import ErrorReason
from earmark.v1.metrics_pb2 import EvalMetrics

_PREFIX = "TRAINING_JOB_STATUS_"


@dataclass
class JobProgress:
    """The state of a job, according to the events received so far."""

    total_epochs: int
    status: str = "pending"
    reason: str = ""
    epoch: int = 0
    epoch_share: float = 0.0
    share: float = 0.0
    eta: datetime | None = None
    train_loss: float | None = None
    validation_loss: float | None = None
    best_epoch: int = 0
    metrics: EvalMetrics | None = None
    notice: str = ""

    def add(self, event: training.TrainingEvent) -> None:
        """Update the state with the next event."""
        match event.WhichOneof("kind"):
            case "status_changed":
                self.status = status_name(event.status_changed.to)
                self.reason = event.status_changed.reason
                self.eta = None
            case "progress":
                now = event.progress
                self.epoch, self.share = now.epoch, now.fraction
                self.epoch_share = now.step / max(1, now.steps)
                self.eta = now.eta.ToDatetime(UTC) if now.HasField("eta") else None
            case "epoch_completed":
                done = event.epoch_completed
                self.epoch, self.epoch_share = done.epoch, 1.0
                self.share = max(self.share, done.epoch / max(1, self.total_epochs))
                self.train_loss, self.metrics = done.train_loss, done.metrics
                self.validation_loss = done.validation_loss if done.HasField("validation_loss") else None
                self.best_epoch = done.best_epoch
            case "notice":
                self.notice = event.notice.message

    @property
    def losses(self) -> str:
        """The training and the validation loss of the last epoch."""
        if self.train_loss is None:
            return ""
        validation = "" if self.validation_loss is None else f", validation {self.validation_loss:.4f}"
        return f"loss {self.train_loss:.4f}{validation}"

    @property
    def best(self) -> str:
        """The best epoch so far."""
        return f"best epoch {self.best_epoch}" if self.best_epoch else ""

    @property
    def remaining(self) -> str:
        """The time left as m:ss, empty if it is unknown."""
        if self.eta is None:
            return ""
        left = max(timedelta(), self.eta - datetime.now(UTC))
        return f"{int(left.total_seconds()) // 60}:{int(left.total_seconds()) % 60:02d} left"


def follow(
    console: Console, client: Client, job_id: str, events: Iterable[training.TrainingEvent]
) -> training.TrainingJob:
    """Show a job's events to the last one, then its final figures, and return the finished job."""
    job = _read(client, job_id)
    progress = _initial_progress(job)
    if job.HasField("queue_state"):
        place = f"number {job.queue_state.place} of your jobs in the queue: {job.queue_state.message}"
        console.print(place, markup=False, highlight=False, soft_wrap=True)
    show = _show_live if console.is_terminal else _show_lines
    show(console, progress, events)
    job = _read(client, job_id)
    if job.HasField("metrics"):
        console.print(metrics_table(job.metrics))
    console.print(verdict(job), highlight=False, soft_wrap=True)
    return job


def follow_all(console: Console, client: Client, events: Iterable[JobEvent]) -> None:
    """Show one line for each event of many jobs: the time, the end of the job's id, and what happened."""
    jobs: dict[str, JobProgress] = {}
    for event in (each.event for each in events):
        job_id = event.training_job_id
        if event.HasField("deleted"):
            _print(console, event, f"{job_id[-8:]}  deleted")
            jobs.pop(job_id, None)
            continue
        if job_id not in jobs:
            jobs[job_id] = _initial_progress(_read(client, job_id))
        progress = jobs[job_id]
        progress.add(event)
        if line := _line(progress, event):
            _print(console, event, f"{job_id[-8:]}  {line}")
        if event.status_changed.to in TERMINAL_STATUSES:
            del jobs[job_id]


def verdict(job: training.TrainingJob) -> str:
    """Return how a job ended, in one line with markup."""
    match job.status:
        case training.TRAINING_JOB_STATUS_COMPLETED:
            weights = f", the weights of epoch {job.best_epoch}" if job.best_epoch else ""
            return f"[green]completed[/green]: model {job.model_id}{weights}"
        case training.TRAINING_JOB_STATUS_FAILED:
            reason = ErrorReason.Name(job.error.reason).removeprefix("ERROR_REASON_")
            return f"[red]failed[/red]: {reason}: {escape(job.error.message)}"
        case _:
            return f"[yellow]{status_name(job.status)}[/yellow]"


def status_name(status: int) -> str:
    """Return the name of a status without its prefix, in lower case: `training`."""
    return training.TrainingJobStatus.Name(status).removeprefix(_PREFIX).lower()


def _initial_progress(job: training.TrainingJob) -> JobProgress:
    return JobProgress(total_epochs=job.total_epochs or job.config.epochs)


def _read(client: Client, job_id: str) -> training.TrainingJob:
    reply: training.GetTrainingJobResponse = client.training.GetTrainingJob(
        training.GetTrainingJobRequest(training_job_id=job_id)
    )
    return reply.training_job


def _show_live(console: Console, progress: JobProgress, events: Iterable[training.TrainingEvent]) -> None:
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )
    whole = bars.add_task("job", total=1.0, note="")
    epoch = bars.add_task("epoch", total=1.0, note="")

    def render() -> RenderableType:
        bars.update(
            whole,
            completed=progress.share,
            description=progress.status,
            note=progress.remaining or progress.reason,
        )
        bars.update(
            epoch,
            completed=progress.epoch_share,
            description=f"epoch {progress.epoch}/{progress.total_epochs}",
            note=", ".join(filter(None, (progress.losses, progress.best))) or escape(progress.notice),
        )
        return Group(bars, metrics_table(progress.metrics)) if progress.metrics else bars

    # Transient, because the table of the final figures follows.
    with Live(console=console, transient=True, get_renderable=render, refresh_per_second=8):
        for event in events:
            progress.add(event)
            if event.HasField("notice") and event.notice.code not in _NOTICES_IN_BAR:
                console.print(escape(event.notice.message), soft_wrap=True)


def _show_lines(console: Console, progress: JobProgress, events: Iterable[training.TrainingEvent]) -> None:
    for event in events:
        progress.add(event)
        if line := _line(progress, event):
            _print(console, event, line)


def _print(console: Console, event: training.TrainingEvent, line: str) -> None:
    time = event.time.ToDatetime(UTC).astimezone().strftime("%H:%M:%S")
    console.print(f"{time}  {line}", markup=False, highlight=False, soft_wrap=True)


# A bar shows what these say.
_NOTICES_IN_BAR = frozenset({training.NOTICE_CODE_ACCEPTED, training.NOTICE_CODE_LOADING})


def _line(progress: JobProgress, event: training.TrainingEvent) -> str:
    """Return the line for an event; empty for a progress event."""
    match event.WhichOneof("kind"):
        case "status_changed":
            return f"{progress.status}  {progress.reason}".rstrip()
        case "epoch_completed":
            done = event.epoch_completed
            score = f"F1 {figure(done.metrics.overall, 'f1_score')}"
            score += " (best)" if done.best_epoch == done.epoch else ""
            parts = [f"epoch {done.epoch}/{progress.total_epochs}", progress.losses, score]
            parts += [progress.remaining] if progress.remaining else []
            return "  ".join(parts)
        case "notice":
            return event.notice.message
        case "model_created":
            return f"model {event.model_created.model_id}"
        case _:
            return ""
