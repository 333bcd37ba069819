"""Finds artifacts in files for `earmark detect`, and writes them in the forms that people have."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from earmark.client.channel import Client
from earmark.client.errors import EarmarkError
from earmark.client.transfer import detect, list_detections, upload_recording
from earmark.client.watch import watch_detection_job
from earmark.v1 import detection_service_pb2 as detection
from earmark.v1.detection_pb2 import Detection, DetectionConfig

UPLOADS_AT_ONCE = 8


class Format(StrEnum):
    """The form of the output. The last two are one file for each recording."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    AUDACITY = "audacity"
    RAVEN = "raven"


@dataclass(frozen=True, slots=True)
class Found:
    """A detection in a file; `channels` count from 0."""

    file: str
    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float
    channels: tuple[int, ...]

    @classmethod
    def of(cls, file: str, found: Detection) -> "Found":
        """The detection with the file that has it."""
        spans = (found.artifact_type, found.start_ms, found.end_ms, round(found.confidence, 4))
        return cls(file, *spans, tuple(found.channels))


@dataclass(frozen=True, slots=True)
class Result:
    """What the model `model_id` found in the files, in their order, and why the others cannot be used."""

    found: list[Found]
    failed: dict[str, str]
    model_id: str


class SearchError(EarmarkError):
    """A detection job did not complete."""


def is_reference(file: str) -> bool:
    """Whether this is the URI of an object rather than a path."""
    return "://" in file


def search(
    client: Client, console: Console, model_id: str, files: Sequence[str], config: DetectionConfig
) -> Result:
    """Searches the files with the model, given by its id or an alias. All are paths, or all are URIs.

    One file is sent with Detect; several, and objects by reference, are searched by a detection job, with
    progress on the console. Raises grpc.RpcError, OSError and SearchError.
    """
    of_references = is_reference(files[0])
    if len(files) == 1 and not of_references:
        detections = detect(client, model_id, files[0], config)
        return Result([Found.of(files[0], found) for found in detections], {}, detections.model_id)
    request = detection.CreateDetectionJobRequest(model_id=model_id, config=config)
    recordings: dict[str, str] = {}
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        if of_references:
            request.uris.extend(files)
        else:
            recordings = _uploaded(client, files, progress)
            request.recording_ids.extend(recordings)
        job = _run(client, request, len(files), progress)
    # The name of an object by reference is its URI.
    found = [
        Found.of(recordings.get(each.file_id, each.filename), each.detection)
        for each in list_detections(client, job.id)
    ]
    failed = {
        recordings.get(file.id, file.filename): file.error.message for file in _failed_files(client, job.id)
    }
    return Result(found, failed, job.model_id)


def _uploaded(client: Client, files: Sequence[str], progress: Progress) -> dict[str, str]:
    """Uploads the files and returns them by the id of their recording, in their order."""
    task = progress.add_task("uploading", total=len(files))

    def upload(path: str) -> str:
        recording_id = upload_recording(client, path).id
        progress.advance(task)
        return recording_id

    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as threads:
        return dict(zip(threads.map(upload, files), files, strict=True))


def _run(
    client: Client, request: detection.CreateDetectionJobRequest, files: int, progress: Progress
) -> detection.DetectionJob:
    """Runs a job of so many files to its end and returns it."""
    job_id = client.detection.CreateDetectionJob(request).detection_job.id
    task = progress.add_task("searching", total=files)
    for event in watch_detection_job(client, job_id):
        if event.HasField("progress"):
            done = event.progress
            progress.update(task, completed=done.completed_files + done.failed_files)
    get = detection.GetDetectionJobRequest(detection_job_id=job_id)
    job: detection.DetectionJob = client.detection.GetDetectionJob(get).detection_job
    if job.status != detection.DETECTION_JOB_STATUS_COMPLETED:
        status = detection.DetectionJobStatus.Name(job.status).removeprefix("DETECTION_JOB_STATUS_").lower()
        raise SearchError(f"detection job {job_id} is {status}: {job.error.message}")
    return job


def _failed_files(client: Client, job_id: str) -> Iterable[detection.DetectionFile]:
    request = detection.ListDetectionFilesRequest(
        detection_job_id=job_id, statuses=[detection.DETECTION_FILE_STATUS_FAILED], page_size=1000
    )
    while True:
        page = client.detection.ListDetectionFiles(request)
        yield from page.files
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def text(found: Sequence[Found], form: Format) -> str:
    """All detections as one JSON list or one CSV table."""
    if form is Format.JSON:
        return json.dumps([asdict(each) for each in found], indent=2)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(field.name for field in fields(Found))
    writer.writerows([*_spans(each), " ".join(map(str, each.channels))] for each in found)
    return buffer.getvalue().rstrip("\n")


def json_line(found: Found) -> str:
    """A detection in live audio as a JSON object, which has no file."""
    return json.dumps({name: value for name, value in asdict(found).items() if name != "file"})


def write_labels(found: Sequence[Found], files: Sequence[str], form: Format, folder: Path) -> list[Path]:
    """Writes one file of labels for each recording, also for one without detections."""
    folder.mkdir(parents=True, exist_ok=True)
    write, suffix = _LABELS[form]
    written = []
    for file in files:
        path = folder / f"{Path(file).stem}{suffix}"
        path.write_text(write([each for each in found if each.file == file]))
        written.append(path)
    return written


def _audacity(found: Sequence[Found]) -> str:
    """A label track: start, end and label in each line."""
    return "".join(f"{_seconds(f.start_ms)}\t{_seconds(f.end_ms)}\t{f.artifact_type}\n" for f in found)


def _raven(found: Sequence[Found]) -> str:
    """A selection table, which counts channels from 1."""
    columns = ("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Annotation", "Confidence")
    lines = ["\t".join(columns)]
    lines += [
        f"{number}\tWaveform 1\t{each.channels[0] + 1 if each.channels else 1}\t{_seconds(each.start_ms)}"
        f"\t{_seconds(each.end_ms)}\t{each.artifact_type}\t{each.confidence}"
        for number, each in enumerate(found, 1)
    ]
    return "\n".join(lines) + "\n"


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3f}"


def _spans(found: Found) -> list[Any]:
    return [found.file, found.artifact_type, found.start_ms, found.end_ms, found.confidence]


_LABELS: dict[Format, tuple[Callable[[Sequence[Found]], str], str]] = {
    Format.AUDACITY: (_audacity, ".txt"),
    Format.RAVEN: (_raven, ".selections.txt"),
}
