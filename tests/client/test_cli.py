"""The command line: its output and its exit codes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from rich.console import Console
from typer.testing import CliRunner

from earmark.client import Client, local
from earmark.client.cli import app
from earmark.client.cli.follow import follow
from earmark.client.watch import watch
from earmark.v1 import admin_service_pb2 as admin
from earmark.v1 import admin_service_pb2_grpc, training_service_pb2_grpc
from earmark.v1 import training_service_pb2 as training
from earmark.v1.detection_pb2 import DetectionConfig
from earmark.v1.error_reason_pb2 import ERROR_REASON_LOSS_NOT_FINITE
from earmark.v1.model_service_pb2 import MODEL_FORMAT_NATIVE, MODEL_FORMAT_ONNX
from tests.client.small_gateway import CONTENT, Exporter, Finder, Serve, Store, refuse

COMPLETED = training.TRAINING_JOB_STATUS_COMPLETED
FAILED = training.TRAINING_JOB_STATUS_FAILED


def run(client: Client, *arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--address", client.gateway.address])


class OneJob(training_service_pb2_grpc.TrainingServiceServicer):
    """A job that ends with `status` after two of its three epochs, of which the first is the best."""

    def __init__(self, status: int = COMPLETED) -> None:
        self.job = training.TrainingJob(
            id="job", status=status, total_epochs=3, model_id="model-7", best_epoch=1
        )
        self.job.metrics.overall.support = 12
        self.job.metrics.overall.precision = 0.5
        self.job.metrics.overall.f1_score = 0.625
        self.job.metrics.per_type["dropout"].f1_score = 0.75
        self.job.metrics.per_type["echo [rare]"].support = 0
        if status == FAILED:
            self.job.error.reason = ERROR_REASON_LOSS_NOT_FINITE
            self.job.error.message = "the loss was not finite in epoch 1"

    def GetTrainingJob(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.training_job_id != "job":
            refuse(context, "NOT_FOUND", "there is no training job", "NOT_FOUND")
        return training.GetTrainingJobResponse(training_job=self.job)

    def WatchTrainingJob(self, _request: Any, _context: grpc.ServicerContext) -> Iterator[Any]:
        events = [training.TrainingEvent(revision=revision) for revision in range(1, 9)]
        events[0].status_changed.to = training.TRAINING_JOB_STATUS_TRAINING
        events[1].notice.code = training.NOTICE_CODE_TYPE_NOT_VALIDATED
        events[1].notice.message = "echo [rare] has no example"
        events[2].notice.code = training.NOTICE_CODE_WARM_START
        events[2].notice.message = "the weights come from a model that knew dropout"
        events[3].progress.fraction = 0.5
        events[3].progress.eta.GetCurrentTime()
        for number, event in enumerate(events[4:6], start=1):
            event.epoch_completed.epoch = number
            event.epoch_completed.train_loss = 0.125 / number
            event.epoch_completed.metrics.CopyFrom(self.job.metrics)
            event.epoch_completed.best_epoch = 1
        events[6].notice.code = training.NOTICE_CODE_STOPPED_EARLY
        events[6].notice.message = "no epoch was better than epoch 1"
        events[7].status_changed.to = self.job.status
        for event in events:
            yield training.WatchTrainingJobResponse(event=event)


def test_watch_prints_lines_and_the_final_table(serve: Serve) -> None:
    result = run(serve(OneJob()), "watch", "job")

    assert result.exit_code == 0, result.output
    assert "training" in result.stdout
    assert "echo [rare] has no example" in result.stdout
    assert "epoch 1/3  loss 0.1250  F1 0.62 (best)  0:00 left" in result.stdout
    assert "epoch 2/3  loss 0.0625  F1 0.62  0:00 left" in result.stdout
    assert "the weights come from a model that knew dropout" in result.stdout
    assert "no epoch was better than epoch 1" in result.stdout
    assert "0.75" in result.stdout
    assert "–" in result.stdout, "an unset figure is a dash, never a number"  # noqa: RUF001
    assert "completed: model model-7, the weights of epoch 1" in result.stdout


def test_watch_shows_why_a_queued_job_waits(serve: Serve) -> None:
    queued = OneJob()
    queued.job.queue_state.place = 3
    queued.job.queue_state.message = "every training slot is taken"
    result = run(serve(queued), "watch", "job")

    assert "number 3 of your jobs in the queue: every training slot is taken" in result.stdout


def test_watch_shows_why_a_job_failed_and_exits_1(serve: Serve) -> None:
    result = run(serve(OneJob(FAILED)), "watch", "job")

    assert result.exit_code == 1
    assert "failed: LOSS_NOT_FINITE: the loss was not finite in epoch 1" in result.stdout


class TwoJobs(OneJob):
    """Two jobs whose events alternate; then the gateway refuses, so that the command ends."""

    def GetTrainingJob(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        return training.GetTrainingJobResponse(training_job=self.job)

    def WatchTrainingJobs(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        assert (request.after_cursor, request.from_start) == ("", False)
        for response in self.WatchTrainingJob(None, context):
            event = response.event
            for job_id in ("019a9f45-0000-7000-8000-00000000aaaa", "019a9f45-0000-7000-8000-00000000bbbb"):
                event.training_job_id = job_id
                yield training.WatchTrainingJobsResponse(event=event, cursor="x")
        refuse(context, "OUT_OF_RANGE", "too old", "CURSOR_OUT_OF_RANGE")


def test_watch_without_a_job_prints_a_line_for_each_event_of_all_jobs(serve: Serve) -> None:
    result = run(serve(TwoJobs()), "watch")

    lines = [line.split("  ", 1)[1] for line in result.stdout.splitlines()]
    assert lines[:2] == ["0000aaaa  training", "0000bbbb  training"]
    assert "0000bbbb  echo [rare] has no example" in lines
    assert any(line.startswith("0000aaaa  epoch 1/3  loss 0.1250  F1 0.62 (best)") for line in lines)
    assert lines[-2:] == ["0000aaaa  completed", "0000bbbb  completed"]
    assert result.exit_code == 1
    assert "too old" in result.stderr


def test_watch_on_a_terminal_ends_with_the_table(serve: Serve) -> None:
    client = serve(OneJob())
    console = Console(force_terminal=True, width=100, record=True)

    follow(console, client, "job", watch(client, "job"))

    text = console.export_text()
    assert "artifact type" in text
    assert "the weights come from a model that knew dropout" in text
    assert "no epoch was better than epoch 1" in text
    assert "completed: model model-7, the weights of epoch 1" in text


class Fleet(admin_service_pb2_grpc.AdminServiceServicer):
    """Answers with the given trainers and capacity."""

    def __init__(self, *trainers: admin.Trainer, **capacity: Any) -> None:
        self.trainers = trainers
        self.capacity = admin.GetCapacityResponse(**capacity)
        self.tasks: list[admin.BackgroundTask] = []

    def GetCapacity(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        return self.capacity

    def ListTrainers(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        return admin.ListTrainersResponse(trainers=self.trainers)

    def ListBackgroundTasks(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        return admin.ListBackgroundTasksResponse(tasks=self.tasks)


def test_trainers_prints_a_table_and_the_job_counts(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    available = admin.Trainer(address="10.0.0.1:50052", is_available=True, device="NVIDIA [H100]")
    available.training_slots, available.free_training_slots = 2, 1
    available.audio_slots, available.free_audio_slots = 4, 4
    unavailable = admin.Trainer(address="[::1]:50052", problem="cannot be reached: connection refused")
    unavailable.seen_at.FromJsonString("2026-01-02T03:04:05Z")
    fleet = Fleet(available, unavailable, waiting_jobs=2, training_jobs=1)

    result = run(serve(fleet), "trainers")

    assert result.exit_code == 0, result.output
    *_, first, second, _end, counts = result.stdout.splitlines()
    assert [cell.strip() for cell in first.split("│")[1:-1]] == [
        *("10.0.0.1:50052", "available", "NVIDIA [H100]", "1/2", "0/4", ""),
    ]
    cells = [cell.strip() for cell in second.split("│")[1:-1]]
    assert cells[:5] == ["[::1]:50052", "unavailable", "", "–", "–"]  # noqa: RUF001
    assert cells[5].startswith("cannot be reached: connection refused (last seen 2026-01-0")
    assert counts == "2 jobs wait, 1 trains"


def test_trainers_says_why_the_gateway_takes_no_uploads(serve: Serve) -> None:
    result = run(serve(Fleet(upload_problem="the disk of /data is full")), "trainers")

    assert result.stdout.splitlines()[-1] == "the gateway takes no uploads: the disk of /data is full"


@pytest.mark.parametrize(
    ("left", "failing", "line"), [(1, 0, "1 file left"), (12, 2, "12 files left, 2 failing")]
)
def test_trainers_says_how_many_files_wait_for_new_features(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, left: int, failing: int, line: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = run(serve(Fleet(outdated_files=left, failing_outdated_files=failing)), "trainers")

    what = "features are being computed again for the trainers' front end"
    assert result.stdout.splitlines()[-1] == f"{what}: {line}"


@pytest.mark.parametrize(
    ("waiting", "running", "line"),
    [(0, 0, "no job waits, none trains"), (1, 2, "1 job waits, 2 train")],
)
def test_without_trainers_the_setting_is_named(serve: Serve, waiting: int, running: int, line: str) -> None:
    result = run(serve(Fleet(waiting_jobs=waiting, training_jobs=running)), "trainers")

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "the gateway has no trainers: name them in its EARMARK_TRAINERS",
        line,
    ]


def test_the_gateways_tasks_that_have_failed_are_shown(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    fleet = Fleet()
    fleet.tasks = [
        admin.BackgroundTask(name="cleaning up"),
        admin.BackgroundTask(
            name="dispatching jobs", restarts=4, last_error="KeyError: [1]", keeps_failing=True
        ),
        admin.BackgroundTask(name="health", restarts=1, last_error="ValueError: 2"),
    ]

    *_, failing, failed = run(serve(fleet), "trainers").stdout.splitlines()

    assert re.fullmatch(r"dispatching jobs keeps failing \(4 in all, last .*\): KeyError: \[1\]", failing)
    assert re.fullmatch(r"health has failed \(1 in all, last .*\): ValueError: 2", failed)


def test_an_error_is_printed_to_stderr(serve: Serve) -> None:
    result = run(serve(OneJob()), "watch", "other")

    assert result.exit_code == 1
    assert result.stderr == "error: NOT_FOUND (NOT_FOUND): there is no training job\n"


def test_upload_prints_ids_and_continues_after_a_missing_file(serve: Serve, recording: Path) -> None:
    store = Store()

    result = run(serve(store), "upload", "dataset", "missing.wav", str(recording))

    assert result.exit_code == 1
    assert result.stdout == f"new  {recording}\n"
    assert "missing.wav" in result.stderr


@pytest.mark.parametrize(
    ("options", "groups"),
    [((), ["", ""]), (("--group", "Ana"), ["Ana", "Ana"]), (("--group-by-folder",), ["Bo", "Cy"])],
    ids=str,
)
def test_upload_sends_the_group_of_each_file(
    serve: Serve, tmp_path: Path, options: tuple[str, ...], groups: list[str]
) -> None:
    store, paths = Store(), [tmp_path / speaker / "call.wav" for speaker in ("Bo", "Cy")]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(b"RIFF")

    result = run(serve(store), "upload", "dataset", *map(str, paths), *options)

    assert result.exit_code == 0, result.output
    assert [requests[0].metadata.group for requests in store.uploads] == groups


def test_upload_takes_the_group_from_one_place(serve: Serve, recording: Path) -> None:
    store = Store()

    result = run(serve(store), "upload", "dataset", str(recording), "--group", "Ana", "--group-by-folder")

    assert result.exit_code == 2
    assert "choose one of --group and --group-by-folder" in result.stderr
    assert store.uploads == []


def test_detect_prints_a_table(serve: Serve, recording: Path) -> None:
    result = run(serve(Finder()), "detect", str(recording), "--model", "model", "--threshold", "0.25")

    assert result.exit_code == 0, result.output
    assert "dropout" in result.stdout
    assert "1.200 s" in result.stdout
    assert "0, 2" in result.stdout


def test_detect_prints_json(serve: Serve, recording: Path) -> None:
    finder = Finder()

    result = run(
        serve(finder), "detect", str(recording), "--model", "model", "--format", "json", "--threshold", "0.25"
    )

    (detection,) = json.loads(result.stdout)
    times = {"start_ms": 1200, "end_ms": 1350}
    what = {"file": str(recording), "artifact_type": "dropout", "confidence": 0.9, "channels": [0, 2]}
    assert detection == what | times
    assert finder.requests[0].start.config.threshold == 0.25
    assert [field.name for field, _ in finder.requests[0].start.config.ListFields()] == ["threshold"]


def test_detect_says_which_model_an_alias_named_without_spoiling_the_json(
    serve: Serve, recording: Path
) -> None:
    result = run(serve(Finder()), "detect", str(recording), "--model", "calls@production", "--format", "json")
    assert "calls@production is model model" in result.stderr
    assert len(json.loads(result.stdout)) == 1
    assert "is model" not in run(serve(Finder()), "detect", str(recording), "--model", "model").stderr


def test_detect_sends_a_window_and_a_minimum_of_zero(serve: Serve, recording: Path) -> None:
    finder, options = Finder(), ["--merge-window-ms", "0", "--min-duration-ms", "0"]

    run(serve(finder), "detect", str(recording), "--model", "model", *options)

    assert finder.requests[0].start.config == DetectionConfig(merge_window_ms=0, min_duration_ms=0)


def test_detect_prints_what_is_found_in_standard_input_as_it_comes(serve: Serve) -> None:
    finder = Finder()
    arguments = ["detect", "-", "--model", "model", "--rate", "8000", "--channels", "2", "--address"]
    address = serve(finder).gateway.address

    result = CliRunner().invoke(app, [*arguments, address], input=bytes(100_000))

    assert result.exit_code == 0, result.output
    assert result.stdout == "1.200 s - 1.350 s  dropout  0.90  channels 0, 2\n"
    live = finder.requests[0].start.live
    assert (live.pcm.sample_rate_hz, live.pcm.channels) == (8000, 2)
    assert sum(len(request.data) for request in finder.requests) == 100_000
    as_json = CliRunner().invoke(app, [*arguments, address, "--format", "json"], input=bytes(100))
    assert json.loads(as_json.stdout)["start_ms"] == 1200
    finder.requests.clear()
    CliRunner().invoke(app, [*arguments, address, "--file"], input=bytes(100))
    assert finder.requests[0].start.HasField("live")
    assert not finder.requests[0].start.live.HasField("pcm")


def test_incomplete_detections_are_reported(serve: Serve, recording: Path) -> None:
    result = run(serve(Finder(None)), "detect", str(recording), "--model", "model")

    assert result.exit_code == 1
    assert "without their summary" in result.stderr


def test_up_shows_its_settings() -> None:
    text = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["up", "--help"]).stdout
    for name in ("DATA_DIR", "HOST", "PORT", "TRAINER_PORT", "DATABASE_URL", "OBJECT_STORE"):
        assert f"EARMARK_{name}" in text


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        local.importlib.metadata,
        "requires",
        lambda _name: ["rich>=14", "no-such-thing>=1; extra == 'gateway'"],
    )
    result = CliRunner().invoke(app, ["gateway", "--help"])

    assert result.exit_code == 1
    assert 'no-such-thing, which is not installed: pip install "earmark[gateway]"' in result.stderr


def test_export_writes_the_file_and_prints_its_size(serve: Serve, tmp_path: Path) -> None:
    client, path = serve(exporter := Exporter()), tmp_path / "model.onnx"

    result = run(client, "export", "m", "--format", "onnx", "--sample-rate", "8000", "-o", str(path))

    assert result.exit_code == 0, result.output
    assert result.stdout == f"{path}  {len(CONTENT)} bytes\n"
    assert path.read_bytes() == CONTENT
    run(client, "export", "m", "--output", str(path))
    sent = [(request.model_id, request.format, request.sample_rate_hz) for request in exporter.requests]
    assert sent == [("m", MODEL_FORMAT_ONNX, 8_000), ("m", MODEL_FORMAT_NATIVE, 0)]


def test_an_export_that_breaks_off_is_an_error_and_leaves_no_file(serve: Serve, tmp_path: Path) -> None:
    result = run(serve(Exporter(CONTENT[:1000])), "export", "m", "-o", str(tmp_path / "model.zip"))

    assert result.exit_code == 1
    assert "the export of model m does not match its 2560000 bytes" in result.stderr
    assert list(tmp_path.iterdir()) == []
