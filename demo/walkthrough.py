"""The steps of the demo, made of calls that any client could make."""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from rich.console import Console
from rich.markup import escape

from demo.compare import comparison_table, pair, tally
from demo.picture import draw
from demo.sounds import COLORS, TYPES, Sound, new_voice_sound, training_sounds
from demo.speech import SAMPLE_RATE, SpeechError
from earmark.client import (
    Client,
    EarmarkError,
    connect,
    detect,
    explain,
    list_detections,
    upload,
    wait_until_ready,
    watch,
    watch_detection_job,
)
from earmark.client.cli.follow import follow
from earmark.client.local import LocalSystem
from earmark.v1 import annotation_service_pb2
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import dataset_service_pb2 as datasets
from earmark.v1 import detection_service_pb2 as detection
from earmark.v1 import model_service_pb2 as models
from earmark.v1 import training_service_pb2 as training
from earmark.v1.detection_pb2 import DetectionConfig
from earmark.v1.training_config_pb2 import TrainingConfig

_MINUTES = 7.0
_SEED = 1


class DemoError(EarmarkError):
    """A step of the walkthrough had an unexpected result."""


def run(output: Path) -> int:
    """Run the demo, with all its files in `output`, and return the exit code."""
    walkthrough = Walkthrough(output)
    try:
        walkthrough.run()
    except grpc.RpcError as error:
        message = str(explain(error))
    except (EarmarkError, SpeechError, OSError) as error:
        message = str(error)
    except KeyboardInterrupt:
        return 130
    else:
        return 0
    walkthrough.console.print(f"\n[red]error:[/red] {escape(message)}", soft_wrap=True)
    walkthrough.console.print(f"The services' log: {walkthrough.log_path}")
    return 1


class Walkthrough:
    """Runs the steps of the demo, prints what they do, and measures how long each takes."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.data = output / "data"
        self.log_path = output / "earmark.log"
        self.console = Console(highlight=False)
        self.times: list[tuple[str, float]] = []

    def run(self) -> None:
        """Start the services, run every step, and stop the services."""
        shutil.rmtree(self.data, ignore_errors=True)
        self.output.mkdir(parents=True, exist_ok=True)
        settings = {"EARMARK_DATA_DIR": str(self.data), "EARMARK_PORT": "0", "EARMARK_TRAINER_PORT": "0"}
        with self.log_path.open("w", buffering=1) as log:
            system = LocalSystem(settings, log=lambda line: print(line, file=log))
            try:
                with self.part("Starting Earmark: PostgreSQL, a gateway and a trainer"):
                    system.start()
                    self.say(f"the gateway answers at {system.address}; its logs go to {self.log_path}")
                with connect(system.address) as client:
                    self.train_and_use(client)
            finally:
                system.stop()
        self.end()

    def train_and_use(self, client: Client) -> None:
        """Run the steps between the start and the stop of the services."""
        with self.part("Making speech, and planting artifacts in it"):
            sounds, voices = training_sounds(_MINUTES, _SEED)
            minutes = sum(sound.seconds for sound in sounds) / 60
            planted = sum(len(sound.annotations) for sound in sounds)
            self.say(f"{len(sounds)} recordings, {minutes:.1f} minutes, {len(voices)} voices")
            self.say(f"{planted} artifacts of {len(TYPES)} types: {', '.join(TYPES)}")
        with self.part("Creating a dataset, uploading, annotating"):
            dataset_id, set_id = self.prepare(client, sounds)
        with self.part("Asking for a training job too early"):
            self.ask_too_early(client, dataset_id, set_id)
        with self.part("Waiting for the files, publishing the annotations"):
            self.make_ready(client, dataset_id, set_id)
        with self.part("Training, with every setting at its default"):
            job = self.train(client, dataset_id, set_id)
        with self.part("Naming and activating the model"):
            self.activate(client, job.model_id)
        with self.part("Detecting in a new recording"):
            self.detect(client, job.model_id, new_voice_sound(voices, _SEED))
        with self.part("Searching all recordings by a detection job"):
            self.search(client, job.model_id, dataset_id)
        with self.part("Writing the model's report"):
            self.report(client, job.model_id)
        self.job_id = job.id

    def prepare(self, client: Client, sounds: list[Sound]) -> tuple[str, str]:
        """Create a dataset and a draft annotation set with all of their content, and return their ids."""
        types = [
            datasets.ArtifactType(name=name, color=color) for name, color in zip(TYPES, COLORS, strict=True)
        ]
        request = datasets.CreateDatasetRequest(name="Demo speech", artifact_types=types)
        dataset = client.datasets.CreateDataset(request).dataset
        self.say(f"dataset {dataset.id}")
        files = self.upload(client, dataset.id, sounds)
        self.say(f"{len(files)} files uploaded")
        draft = client.annotations.CreateAnnotationSet(
            annotation_service_pb2.CreateAnnotationSetRequest(dataset_id=dataset.id)
        ).annotation_set
        new = [
            annotation_service_pb2.AnnotationSpec(
                audio_file_id=file.id,
                artifact_type=annotation.artifact_type,
                start_ms=annotation.start_ms,
                end_ms=annotation.end_ms,
            )
            for file, sound in zip(files, sounds, strict=True)
            for annotation in sound.annotations
        ]
        client.annotations.BatchCreateAnnotations(
            annotation_service_pb2.BatchCreateAnnotationsRequest(annotation_set_id=draft.id, annotations=new)
        )
        self.say(f"annotation set {draft.id}, version {draft.version}: {len(new)} annotations")
        return dataset.id, draft.id

    def upload(self, client: Client, dataset_id: str, sounds: list[Sound]) -> list[audio.AudioFile]:
        """Upload the recordings as WAV files and return the audio files."""
        files = []
        with tempfile.TemporaryDirectory() as folder:
            for sound in sounds:
                path = Path(folder) / sound.name
                path.write_bytes(sound.wav())
                files.append(upload(client, dataset_id, path))
        return files

    def ask_too_early(self, client: Client, dataset_id: str, set_id: str) -> None:
        """Show that a job is refused, and that the error names everything that is missing."""
        try:
            client.training.CreateTrainingJob(_job_request(dataset_id, set_id))
        except grpc.RpcError as error:
            refusal = explain(error)
            if refusal.reason != "PREREQUISITES_NOT_MET":
                raise
            self.say("refused, as it must be; the reply names every prerequisite that is not met:")
            self.console.print(escape(str(refusal)), style="yellow", soft_wrap=True)
        else:
            raise DemoError("a training job was created although its annotation set is a draft")

    def make_ready(self, client: Client, dataset_id: str, set_id: str) -> None:
        """Wait until every file is ready, and publish the annotation set."""
        files = wait_until_ready(client, dataset_id)
        for file in files:
            if file.processing_status != audio.AUDIO_PROCESSING_STATUS_READY:
                raise DemoError(f"{file.original_filename} is not ready: {file.error_message}")
        self.say(f"{len(files)} files ready, {sum(file.duration_ms for file in files) / 60_000:.1f} minutes")
        request = annotation_service_pb2.PublishAnnotationSetRequest(annotation_set_id=set_id)
        published = client.annotations.PublishAnnotationSet(request).annotation_set
        by_type = published.annotations_by_type
        self.say("published: " + ", ".join(f"{by_type[name]} {name}" for name in sorted(by_type)))

    def train(self, client: Client, dataset_id: str, set_id: str) -> training.TrainingJob:
        """Create a training job, follow it to its end, and return it."""
        request = _job_request(dataset_id, set_id)
        job = client.training.CreateTrainingJob(request).training_job
        self.say(f"training job {job.id}")
        values = {field.name: value for field, value in job.config.ListFields()}
        del values["artifact_types"]
        self.say(", ".join(f"{name} {value}" for name, value in values.items()))
        done = follow(self.console, client, job.id, watch(client, job.id))
        if done.status != training.TRAINING_JOB_STATUS_COMPLETED:
            raise DemoError(f"the training job ended without a model: {done.error.message or 'cancelled'}")
        return done

    def activate(self, client: Client, model_id: str) -> None:
        """Name the model and activate it, so that it can detect."""
        model = client.models.UpdateModel(
            models.UpdateModelRequest(
                model=models.Model(id=model_id, name="Demo detector", is_active=True),
                update_mask=FieldMask(paths=["name", "is_active"]),
            )
        ).model
        self.say(f"{model.name}: active, {model.size_bytes / 1e6:.1f} MB")

    def detect(self, client: Client, model_id: str, sound: Sound) -> None:
        """Detect artifacts in a recording, compare them with the planted ones, and draw both."""
        self.say(f"{sound.name}: {sound.seconds:.0f} s, a voice and sentences that it was not trained on")
        detections = detect(client, model_id, sound.wav())
        pairs = pair(sound.annotations, detections)
        self.console.print(comparison_table(pairs))
        self.say(tally(pairs))
        picture = self.output / "detections.png"
        title = f"{sound.name}: {tally(pairs)}"
        draw(picture, sound.audio, SAMPLE_RATE, sound.annotations, detections, title)
        self.say(f"drawn in {picture}")

    def search(self, client: Client, model_id: str, dataset_id: str) -> None:
        """Run a detection job over the dataset, and write what it finds as a table."""
        request = detection.CreateDetectionJobRequest(model_id=model_id, dataset_id=dataset_id)
        job_id = client.detection.CreateDetectionJob(request).detection_job.id
        for event in watch_detection_job(client, job_id):
            if event.HasField("progress"):
                self.say(f"{event.progress.completed_files} of {event.progress.total_files} files")
        get = detection.GetDetectionJobRequest(detection_job_id=job_id)
        job = client.detection.GetDetectionJob(get).detection_job
        if job.status != detection.DETECTION_JOB_STATUS_COMPLETED or job.failed_files:
            raise DemoError(f"the detection job did not complete: {job.error.message or job.failed_files}")
        strict = list_detections(client, job_id, DetectionConfig(threshold=0.9))
        self.say(
            f"{job.total_detections} detections in {job.audio_ms / 60_000:.1f} minutes; "
            f"with a threshold of 0.9 {len(list(strict))}, from the scores that the job keeps"
        )
        path = self.output / "detections.csv"
        download = detection.DownloadDetectionsRequest(
            detection_job_id=job_id, format=detection.DETECTIONS_FORMAT_CSV
        )
        path.write_bytes(b"".join(part.data for part in client.detection.DownloadDetections(download)))
        self.say(f"written to {path}")
        html = client.detection.GetDetectionJobReport(
            detection.GetDetectionJobReportRequest(detection_job_id=job_id)
        ).html
        page = self.output / "detection-job.html"
        page.write_text(html, encoding="utf-8")
        self.say(f"its report is {page}")

    def report(self, client: Client, model_id: str) -> None:
        """Write the model's report, which a browser shows."""
        reply = client.models.GetModelReport(models.GetModelReportRequest(model_id=model_id))
        self.report_path = self.output / "report.html"
        self.report_path.write_text(reply.html, encoding="utf-8")
        self.say(f"written to {self.report_path}: open it in a browser")

    def end(self) -> None:
        """Print how long each step took, and the commands with which to continue."""
        self.console.print("\n[bold]Wall time[/bold]")
        for title, seconds in self.times:
            self.console.print(f"  {seconds:6.1f} s  {title}")
        self.console.print(f"  {sum(seconds for _, seconds in self.times):6.1f} s  in all")
        command = "earmark" if shutil.which("earmark") else str(Path(sys.prefix) / "bin" / "earmark")
        command = command.removeprefix(f"{Path.cwd()}/")
        call = f"""grpcurl -plaintext -d '{{"training_job_id": "{self.job_id}"}}' localhost:50051"""
        self.console.print("\nEarmark has stopped. To start it again on the same data, and look at the job:")
        self.console.print(f"  EARMARK_DATA_DIR={self.data} {command} up", soft_wrap=True)
        self.console.print(f"  {call} earmark.v1.TrainingService/GetTrainingJob", soft_wrap=True)
        self.console.print(
            f"\nHow good the model is, to look at in a browser: {self.report_path}", soft_wrap=True
        )

    def say(self, text: str) -> None:
        """Print one line of output for the current step."""
        self.console.print(f"  {escape(text)}", soft_wrap=True)

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        """Print the heading of a step, and record how long it takes."""
        self.console.print(f"\n[bold]{len(self.times) + 1}. {title}[/bold]")
        start = time.monotonic()
        yield
        self.times.append((title, time.monotonic() - start))


def _job_request(dataset_id: str, set_id: str) -> training.CreateTrainingJobRequest:
    return training.CreateTrainingJobRequest(
        dataset_id=dataset_id, annotation_set_id=set_id, config=TrainingConfig(artifact_types=TYPES)
    )
