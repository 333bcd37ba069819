"""A training job on the screen: bars that move on a terminal, one line for each event elsewhere."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from earmark.client.channel import Client
from earmark.client.cli.tables import figure, metrics_table
from earmark.client.watch import TERMINAL_STATUSES, JobEvent
from earmark.v1 import training_service_pb2 as training
from earmark.v1.metrics_pb2 import EvalMetrics
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

_PREFIX = "TRAINING_JOB_STATUS_"


@dataclass
class Story:
    """What the events of a job have told so far."""

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
        """Take in the next event."""
        match event.WhichOneof("kind"):
            case "status_changed":
                self.status = status_name(event.status_changed.to)
                self.reason = event.status_changed.reason
                self.eta = None
            case "progress":
                progress = event.progress
                self.epoch, self.share = progress.epoch, progress.fraction
                self.epoch_share = progress.step / max(1, progress.steps)
                self.eta = progress.eta.ToDatetime(UTC) if progress.HasField("eta") else None
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
        """The last epoch's losses."""
        if self.train_loss is None:
            return ""
        held_out = "" if self.validation_loss is None else f", held out {self.validation_loss:.4f}"
        return f"loss {self.train_loss:.4f}{held_out}"

    @property
    def best(self) -> str:
        """The best epoch so far."""
        return f"best epoch {self.best_epoch}" if self.best_epoch else ""

    @property
    def remaining(self) -> str:
        """The time left, m:ss, as far as it is known."""
        if self.eta is None:
            return ""
        left = max(timedelta(), self.eta - datetime.now(UTC))
        return f"{int(left.total_seconds()) // 60}:{int(left.total_seconds()) % 60:02d} left"


def follow(
    console: Console, client: Client, job_id: str, events: Iterable[training.TrainingEvent]
) -> training.TrainingJob:
    """Show a job's events until they end, then its final figures; return the finished job."""
    job = _read(client, job_id)
    story = _story(job)
    if job.HasField("waiting"):
        place = f"number {job.waiting.place} in the queue: {job.waiting.message}"
        console.print(place, markup=False, highlight=False, soft_wrap=True)
    show = _show_live if console.is_terminal else _show_lines
    show(console, story, events)
    job = _read(client, job_id)
    if job.HasField("metrics"):
        console.print(metrics_table(job.metrics))
    console.print(verdict(job), highlight=False, soft_wrap=True)
    return job


def follow_all(console: Console, client: Client, events: Iterable[JobEvent]) -> None:
    """Show the events of many jobs, a line for each: when, the end of the job's id, and what happened."""
    stories: dict[str, Story] = {}
    for event in (each.event for each in events):
        job_id = event.training_job_id
        if job_id not in stories:
            stories[job_id] = _story(_read(client, job_id))
        story = stories[job_id]
        story.add(event)
        if line := _line(story, event):
            _print(console, event, f"{job_id[-8:]}  {line}")
        if event.status_changed.to in TERMINAL_STATUSES:
            del stories[job_id]


def verdict(job: training.TrainingJob) -> str:
    """Return how a job ended, in one line with markup."""
    match job.status:
        case training.TRAINING_JOB_STATUS_COMPLETED:
            weights = f", the weights of epoch {job.best_epoch}" if job.best_epoch else ""
            return f"[green]completed[/green]: model {job.model_id}{weights}"
        case training.TRAINING_JOB_STATUS_FAILED:
            return f"[red]failed[/red]: {escape(job.error.reason)}: {escape(job.error.message)}"
        case _:
            return f"[yellow]{status_name(job.status)}[/yellow]"


def status_name(status: int) -> str:
    """Return a status as people write it: `training`."""
    return training.TrainingJobStatus.Name(status).removeprefix(_PREFIX).lower()


def _story(job: training.TrainingJob) -> Story:
    return Story(total_epochs=job.total_epochs or job.config.epochs)


def _read(client: Client, job_id: str) -> training.TrainingJob:
    reply: training.GetTrainingJobResponse = client.training.GetTrainingJob(
        training.GetTrainingJobRequest(training_job_id=job_id)
    )
    return reply.training_job


def _show_live(console: Console, story: Story, events: Iterable[training.TrainingEvent]) -> None:
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
            whole, completed=story.share, description=story.status, note=story.remaining or story.reason
        )
        bars.update(
            epoch,
            completed=story.epoch_share,
            description=f"epoch {story.epoch}/{story.total_epochs}",
            note=", ".join(filter(None, (story.losses, story.best))) or escape(story.notice),
        )
        return Group(bars, metrics_table(story.metrics)) if story.metrics else bars

    # Transient: the final table follows, and two of them would only confuse.
    with Live(console=console, transient=True, get_renderable=render, refresh_per_second=8):
        for event in events:
            story.add(event)
            if event.HasField("notice") and event.notice.code in _TOLD:
                console.print(escape(event.notice.message), soft_wrap=True)


def _show_lines(console: Console, story: Story, events: Iterable[training.TrainingEvent]) -> None:
    for event in events:
        story.add(event)
        if line := _line(story, event):
            _print(console, event, line)


def _print(console: Console, event: training.TrainingEvent, line: str) -> None:
    time = event.time.ToDatetime(UTC).astimezone().strftime("%H:%M:%S")
    console.print(f"{time}  {line}", markup=False, highlight=False, soft_wrap=True)


# The other notices say what a bar shows as well.
_TOLD = frozenset(
    {
        training.NOTICE_CODE_FILE_LEFT_OUT,
        training.NOTICE_CODE_TYPE_NOT_VALIDATED,
        training.NOTICE_CODE_TYPE_NOT_TRAINED,
        training.NOTICE_CODE_RESUMED,
        training.NOTICE_CODE_TRAINER_LOST,
        training.NOTICE_CODE_WARM_START,
        training.NOTICE_CODE_STOPPED_EARLY,
    }
)


def _line(story: Story, event: training.TrainingEvent) -> str:
    """Return what a log should say of an event; nothing for mere progress."""
    match event.WhichOneof("kind"):
        case "status_changed":
            return f"{story.status}  {story.reason}".rstrip()
        case "epoch_completed":
            done = event.epoch_completed
            score = f"F1 {figure(done.metrics.overall, 'f1_score')}"
            score += " (best)" if done.best_epoch == done.epoch else ""
            parts = [f"epoch {done.epoch}/{story.total_epochs}", story.losses, score]
            parts += [f"{story.remaining}"] if story.remaining else []
            return "  ".join(parts)
        case "notice":
            return event.notice.message
        case "model_created":
            return f"model {event.model_created.model_id}"
        case _:
            return ""
