"""The report of one detection job: its files, what was found in them, and where."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from earmark.gateway.reports.charts import TICKS, Axes, bars
from earmark.gateway.reports.page import Page
from earmark.gateway.reports.strips import EXPLANATION, Strip, drawn
from earmark.storage.queries.detection_jobs import FailureCount
from earmark.storage.records import DetectionJob

BINS = 20  # of the confidence
UNSET = "-"


@dataclass(frozen=True, slots=True)
class TypeFigures:
    """What was found of a type. `confidences` (BINS,) also counts what is below the threshold."""

    name: str
    threshold: float
    detections: int
    files: int
    confidences: Sequence[int]


@dataclass(frozen=True, slots=True)
class FileFigures:
    """What was found in a file, by type."""

    filename: str
    duration_ms: int
    counts: Mapping[str, int]

    @property
    def detections(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class JobFigures:
    """What a report says of a job; `files` are those with most detections."""

    statuses: Mapping[str, int]
    failures: Sequence[FailureCount]
    types: Sequence[TypeFigures]
    files: Sequence[FileFigures]
    strips: Sequence[Strip]


def detection_job_report(job: DetectionJob, figures: JobFigures) -> str:
    """The page."""
    page = Page("Detection job")
    page.facts(_facts(job))
    page.heading("Its files")
    page.table(("status", "files"), ((name, str(count)) for name, count in figures.statuses.items()))
    if figures.failures:
        page.table(
            ("why files failed", "files", "for example"),
            ((each.reason, str(each.files), each.example) for each in figures.failures),
        )
    page.heading("What was found")
    hours = job.audio_ms / 3_600_000
    page.table(
        ("artifact type", "threshold", "detections", "per hour", "files with any"),
        (_type_row(each, hours) for each in figures.types),
        _total_row(figures.types, hours),
    )
    page.heading("How sure it is")
    page.paragraph(
        "How many events there are at each confidence. Those left of the dashed line are below the "
        "threshold: a lower one would find them. The scores are kept, so another threshold needs no new job."
    )
    page.charts(bars(each.name, _axes(each), each.confidences, each.threshold) for each in figures.types)
    page.heading("The files with most detections")
    page.table(("file", "length", "detections", "per minute", "by type"), map(_file_row, figures.files))
    page.heading("Where")
    page.paragraph(f"The part of each of these files in which most was found. {EXPLANATION}")
    page.strips(map(drawn, figures.strips))
    return page.html()


def _facts(job: DetectionJob) -> Iterator[tuple[str, str]]:
    yield "job", f"{job.id}, {job.status}"
    yield "model", str(job.model_id)
    yield "searched", f"dataset {job.dataset_id}" if job.dataset_id else "recordings, or objects by reference"
    yield "audio", f"{job.audio_ms / 60_000:.1f} minutes in {job.completed_files} completed files"
    yield "settings", ", ".join(f"{name} {value}" for name, value in job.config.items()) or "the defaults"
    yield "labels", ", ".join(f"{name} {value}" for name, value in job.metadata.items()) or UNSET
    ended = f", ended {job.finished_at:%Y-%m-%d %H:%M} UTC" if job.finished_at else ""
    yield "created", f"{job.created_at:%Y-%m-%d %H:%M} UTC{ended}"


def _type_row(each: TypeFigures, hours: float) -> list[str]:
    rate = f"{each.detections / hours:.1f}" if hours else UNSET
    return [each.name, f"{each.threshold:.2f}", str(each.detections), rate, str(each.files)]


def _total_row(types: Sequence[TypeFigures], hours: float) -> list[str]:
    total = sum(each.detections for each in types)
    return ["all", "", str(total), f"{total / hours:.1f}" if hours else UNSET, ""]


def _axes(each: TypeFigures) -> Axes:
    # Each of the axis's ticks is a whole number.
    highest = TICKS * max(1, -(-max(each.confidences) // TICKS))
    return Axes((0, 1), (0, highest), "confidence", "events")


def _file_row(file: FileFigures) -> list[str]:
    minutes = file.duration_ms / 60_000
    by_type = ", ".join(f"{name} {count}" for name, count in file.counts.items() if count)
    rate = f"{file.detections / minutes:.1f}" if minutes else UNSET
    return [file.filename, f"{file.duration_ms / 1000:.1f} s", str(file.detections), rate, by_type or UNSET]
