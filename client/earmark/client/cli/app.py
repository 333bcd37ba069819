"""The commands of `earmark`."""

import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from earmark.client import connect, detect_live, export, upload, wait_until_ready
from earmark.client.cli import aliases, keys, tenants
from earmark.client.cli.audit import audit as print_audit
from earmark.client.cli.common import Address, errors_on_stderr, use_connection
from earmark.client.cli.follow import follow, follow_all
from earmark.client.cli.search import Format, Found, is_reference, json_line, search, text, write_labels
from earmark.client.cli.tables import (
    detection_line,
    detection_table,
    job_counts,
    outdated_files,
    task_failures,
    trainer_table,
)
from earmark.client.cli.up import run_up
from earmark.client.local import DEFAULT_PORT, DEFAULT_TRAINER_PORT, require_extra
from earmark.client.watch import watch, watch_jobs
from earmark.v1 import admin_service_pb2 as admin
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import detection_service_pb2, model_service_pb2
from earmark.v1 import training_service_pb2 as training
from earmark.v1.detection_pb2 import PCM_ENCODING_S16LE, DetectionConfig, LiveAudio
from earmark.v1.model_service_pb2 import MODEL_FORMAT_NATIVE, MODEL_FORMAT_ONNX


class ExportFormat(StrEnum):
    """A name for each ModelFormat."""

    NATIVE = "native"
    ONNX = "onnx"


MODEL_FORMATS = {ExportFormat.NATIVE: MODEL_FORMAT_NATIVE, ExportFormat.ONNX: MODEL_FORMAT_ONNX}
app = typer.Typer(
    name="earmark",
    help="Trains custom detectors of audio artifacts and serves them over gRPC.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(aliases.app, name="alias")
app.add_typer(keys.app, name="keys")
app.command("audit")(print_audit)
app.add_typer(tenants.app, name="tenants")
app.callback()(use_connection)
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command()
def up(
    data_dir: Annotated[
        Path, typer.Option(envvar="EARMARK_DATA_DIR", help="Folder of the database, audio and models.")
    ] = Path("earmark-data"),
    host: Annotated[
        str, typer.Option(envvar="EARMARK_HOST", help="Where the gateway listens; see docs/security.md.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="EARMARK_PORT", help="The gateway's port; 0 takes a free one.")
    ] = DEFAULT_PORT,
    trainer_port: Annotated[
        int, typer.Option(envvar="EARMARK_TRAINER_PORT", help="The trainer's port; 0 takes a free one.")
    ] = DEFAULT_TRAINER_PORT,
    database_url: Annotated[
        str, typer.Option(envvar="EARMARK_DATABASE_URL", help="PostgreSQL; the embedded one if left out.")
    ] = "",
    object_store: Annotated[
        str,
        typer.Option(
            envvar="EARMARK_OBJECT_STORE", help="Folder, s3://, gs:// or az://; in DATA_DIR if left out."
        ),
    ] = "",
) -> None:
    """Start a trainer and the gateway on this machine; Ctrl-C stops both.

    They read every other setting (`earmark gateway --help`, `earmark trainer --help`) from the environment.
    """
    settings = {
        "EARMARK_DATA_DIR": str(data_dir),
        "EARMARK_HOST": host,
        "EARMARK_PORT": str(port),
        "EARMARK_TRAINER_PORT": str(trainer_port),
        "EARMARK_DATABASE_URL": database_url,
        "EARMARK_OBJECT_STORE": object_store,
    }
    with errors_on_stderr():
        run_up({name: value for name, value in settings.items() if value})


@app.command(context_settings=_PASS_ON)
def gateway(context: typer.Context) -> None:
    """Run a gateway; `earmark gateway --help` shows its settings."""
    _exec_service("gateway", context.args)


@app.command(context_settings=_PASS_ON)
def trainer(context: typer.Context) -> None:
    """Run a trainer; `earmark trainer --help` shows its settings."""
    _exec_service("trainer", context.args)


def _exec_service(service: str, arguments: list[str]) -> None:
    with errors_on_stderr():
        require_extra(service)
        sys.stdout.flush()
        # -P: nothing is imported from the current folder, which may have anything in it.
        command = [sys.executable, "-P", "-m", f"earmark.{service}", *arguments]
        os.execv(sys.executable, command)  # noqa: S606 (no shell)


@app.command("trainers")
def show_trainers(address: Address = None) -> None:
    """Show the gateway's trainers, how many jobs wait for them, and which of its tasks have failed."""
    console = Console()
    with errors_on_stderr(), connect(address) as client:
        trainers = client.admin.ListTrainers(admin.ListTrainersRequest()).trainers
        if trainers:
            console.print(trainer_table(trainers))
        else:
            console.print("the gateway has no trainers: name them in its EARMARK_TRAINERS")
        capacity = client.admin.GetCapacity(admin.GetCapacityRequest())
        console.print(job_counts(capacity), highlight=False)
        if capacity.upload_problem:
            console.print(f"the gateway takes no uploads: {capacity.upload_problem}", highlight=False)
        if capacity.certificate_problem:
            console.print(f"the gateway's certificate: {capacity.certificate_problem}", highlight=False)
        if left := outdated_files(capacity):
            console.print(left, highlight=False)
        for task in client.admin.ListBackgroundTasks(admin.ListBackgroundTasksRequest()).tasks:
            if task.restarts:
                console.print(task_failures(task), highlight=False)


@app.command("watch")
def watch_job(
    job: Annotated[
        str | None, typer.Argument(help="The training job's id; if left out, all jobs from now on.")
    ] = None,
    address: Address = None,
) -> None:
    """Follow a training job to its end (exit code 1 unless it completes), or all jobs until Ctrl-C."""
    with errors_on_stderr(), connect(address) as client:
        if job is None:
            follow_all(Console(), client, watch_jobs(client))
            return
        finished = follow(Console(), client, job, watch(client, job))
        if finished.status != training.TRAINING_JOB_STATUS_COMPLETED:
            raise typer.Exit(1)


@app.command("upload")
def upload_files(
    dataset: Annotated[str, typer.Argument(help="The dataset's id.")],
    files: Annotated[list[Path], typer.Argument(help="Audio files.")],
    *,
    group: Annotated[
        str, typer.Option(help="The group of the files, such as their speaker: validated together.")
    ] = "",
    group_by_folder: Annotated[
        bool, typer.Option("--group-by-folder", help="Take the name of each file's folder as its group.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait until the dataset's files are processed.")] = False,
    address: Address = None,
) -> None:
    """Upload audio files to a dataset and print each file's id and name."""
    if group and group_by_folder:
        raise typer.BadParameter("choose one of --group and --group-by-folder")
    console, failed = Console(soft_wrap=True), False
    with errors_on_stderr(), connect(address) as client:
        for path in files:
            try:
                with errors_on_stderr():
                    of_file = path.resolve().parent.name if group_by_folder else group
                    file = upload(client, dataset, path, group=of_file)
                    console.print(f"{file.id}  {escape(str(path))}", highlight=False)
            except typer.Exit:
                failed = True
        if wait:
            processed = wait_until_ready(client, dataset)
            bad = [
                file for file in processed if file.processing_status == audio.AUDIO_PROCESSING_STATUS_FAILED
            ]
            console.print(f"{len(processed) - len(bad)} ready, {len(bad)} failed", highlight=False)
            for file in bad:
                console.print(f"{file.id}  {escape(file.original_filename)}: {escape(file.error_message)}")
            failed = failed or bool(bad)
    if failed:
        raise typer.Exit(1)


def _of_one_kind(files: list[str]) -> list[str]:
    if len(set(map(is_reference, files))) > 1:
        raise typer.BadParameter("paths and URIs cannot be searched together: run the command twice")
    return files


@app.command("detect")
def detect_files(
    files: Annotated[
        list[str],
        typer.Argument(
            callback=_of_one_kind,
            help="Audio files, URIs such as s3://calls/a.wav that the operator allows, or - for live audio.",
        ),
    ],
    *,
    model: Annotated[str, typer.Option(help="The model's id, or an alias; it must be active.")],
    rate: Annotated[int, typer.Option(help="Samples per second of live audio, of 16 bits.")] = 16_000,
    channels: Annotated[int, typer.Option(help="Channels of live audio.")] = 1,
    is_file: Annotated[bool, typer.Option("--file", help="Live audio is a file, such as OGG.")] = False,
    threshold: Annotated[float | None, typer.Option(help="Lowest confidence, 0 to 1 [0.5].")] = None,
    merge_window_ms: Annotated[
        int | None, typer.Option(help="Joins detections no further apart [each type's own].")
    ] = None,
    min_duration_ms: Annotated[
        int | None, typer.Option(help="Drops shorter detections [each type's own].")
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="Audacity and Raven write a file of labels per recording.")
    ] = Format.TABLE,
    out: Annotated[
        Path | None, typer.Option(help="The file to write, or for labels the folder [standard output].")
    ] = None,
    address: Address = None,
) -> None:
    """Find artifacts in recordings, or in live audio; exits with 1 if a recording cannot be used."""
    labels = form in (Format.AUDACITY, Format.RAVEN)
    if labels and out is None:
        raise typer.BadParameter(f"--format {form} needs --out FOLDER")
    config = DetectionConfig(
        threshold=threshold, merge_window_ms=merge_window_ms, min_duration_ms=min_duration_ms
    )
    errors = Console(stderr=True, soft_wrap=True)
    with errors_on_stderr(), connect(address) as client:
        if files == ["-"]:
            pcm = LiveAudio.Pcm(sample_rate_hz=rate, channels=channels, encoding=PCM_ENCODING_S16LE)
            for detection in detect_live(client, model, _standard_input(), None if is_file else pcm, config):
                _show_live(Found.of(files[0], detection), form)
            return
        result = search(client, errors, model, files, config)
        if result.model_id != model:
            errors.print(f"{model} is model {result.model_id}", highlight=False)
        found, failed = result.found, result.failed
        if labels and out is not None:
            usable = [file for file in files if file not in failed]
            for path in write_labels(found, usable, form, out):
                typer.echo(path)
        elif form is Format.TABLE:
            _show(detection_table(found, with_files=len(files) > 1) if found else "nothing found", out)
        else:
            _show(text(found, form), out)
        for file, message in failed.items():
            errors.print(f"[red]{escape(file)}[/red]: {escape(message)}", highlight=False)
    if failed:
        raise typer.Exit(1)


def _show_live(found: Found, form: Format) -> None:
    typer.echo(json_line(found) if form is Format.JSON else detection_line(found))


def _show(content: Table | str, out: Path | None) -> None:
    """Prints to the file, or to standard output."""
    if isinstance(content, Table):
        with out.open("w") if out else nullcontext() as file:
            Console(file=file).print(content)
    elif out is None:
        typer.echo(content)
    else:
        out.write_text(content + "\n")


@app.command()
def report(
    subject: Annotated[str, typer.Argument(help="The model's id, or an alias; or the job's id.")],
    *,
    job: Annotated[bool, typer.Option(help="Report a detection job rather than a model.")] = False,
    out: Annotated[Path | None, typer.Option(help="The file to write [ID.html].")] = None,
    address: Address = None,
) -> None:
    """Write the report of a model or of a detection job: one HTML page with figures and pictures."""
    path = out or Path(f"{subject}.html")
    with errors_on_stderr(), connect(address) as client:
        if job:
            of_job = detection_service_pb2.GetDetectionJobReportRequest(detection_job_id=subject)
            html = client.detection.GetDetectionJobReport(of_job).html
        else:
            of_model = model_service_pb2.GetModelReportRequest(model_id=subject)
            html = client.models.GetModelReport(of_model).html
        path.write_text(html, encoding="utf-8")
    typer.echo(path)


@app.command("export")
def export_model(
    model: Annotated[str, typer.Argument(help="The model's id.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    model_format: Annotated[
        ExportFormat, typer.Option("--format", help="native is a zip of what is stored; see docs/export.md.")
    ] = ExportFormat.NATIVE,
    sample_rate: Annotated[
        int, typer.Option(help="Of the PCM that the ONNX form takes, in Hz [16000].", show_default=False)
    ] = 0,
    address: Address = None,
) -> None:
    """Write a file with which a model can be run elsewhere."""
    chosen = MODEL_FORMATS[model_format]
    with errors_on_stderr(), connect(address) as client:
        path = export(client, model, output, model_format=chosen, sample_rate_hz=sample_rate)
        typer.echo(f"{path}  {path.stat().st_size} bytes")


@app.command()
def protos() -> None:
    """Print the folder of the .proto files, the only include root that a compiler needs."""
    typer.echo(Path(__file__).parents[2] / "protos")


def _standard_input() -> Iterator[bytes]:
    """Yield what comes, as soon as it comes."""
    while data := sys.stdin.buffer.read1(1 << 16):  # type: ignore[union-attr]  # it is buffered
        yield data
