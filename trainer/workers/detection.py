"""The detection process. It is separate from training, so that a recording never waits for a job.

Live audio never waits for files: one thread judges what all streams have, and another opens streams, which
may have to read a model and to compile code for it. A third one scores the files of jobs, and a fourth writes
exports.
"""

import hashlib
import queue
import threading
from collections.abc import Callable
from dataclasses import astuple
from multiprocessing.connection import Connection
from typing import TypeVar

from earmark.scores import DetectionConfig
from earmark.storage.objects import ObjectStore
from earmark.trainer.export.native import archive
from earmark.trainer.features.stored import unpack_features
from earmark.trainer.logs import configure_logging
from earmark.trainer.model import Model, empty_model
from earmark.trainer.network import new_architecture
from earmark.trainer.scoring import detection
from earmark.trainer.workers.answers import ModelCache, failed
from earmark.trainer.workers.device import warm_up
from earmark.trainer.workers.file_scorer import FileScorer
from earmark.trainer.workers.live_detection import LiveStreams, Part
from earmark.trainer.workers.wire import (
    DetectedArtifact,
    DetectionReply,
    DetectionRequest,
    Exported,
    ExportRequest,
    Failed,
    FileRequest,
    LiveProgress,
    LiveStart,
    Loaded,
    ModelRequest,
    Outcome,
    Ready,
    WorkerSettings,
)

Answer = TypeVar("Answer")


def serve(connection: Connection, settings: WorkerSettings) -> None:
    """Sends Ready, then answers each request; see _Lanes.

    Before the first, it compiles what new models need: otherwise the first recording would wait for that.
    Raises EOFError when the front has closed its end, and SystemExit after a failure of the device.
    """
    configure_logging(settings.log_level)
    models = ModelCache(ObjectStore.open(settings.object_store_url))
    connection.send(Ready(warm_up()))
    new = empty_model(new_architecture(1, settings.network)) if settings.precompile else None
    lanes = _Lanes(connection, models, new)
    for work in (lanes.read, lanes.start_streams, lanes.judge_streams, lanes.score_files, lanes.export):
        threading.Thread(target=work, daemon=True).start()
    lanes.answer()


class _Lanes:
    """What waits to be answered, for each kind of work that must not wait for the others."""

    def __init__(self, connection: Connection, models: ModelCache, new: Model | None) -> None:
        """`new`: a model of the architecture to compile for, if any."""
        self._new = new
        self._connection = connection
        self._models = models
        self._sending = threading.Lock()
        self._streams = LiveStreams()
        self._scorer = FileScorer(models, self._reply)
        self._requests: queue.SimpleQueue[DetectionRequest | ModelRequest | BaseException] = (
            queue.SimpleQueue()
        )
        self._exports: queue.SimpleQueue[ExportRequest] = queue.SimpleQueue()
        self._starts: queue.SimpleQueue[LiveStart] = queue.SimpleQueue()
        self._parts: queue.SimpleQueue[Part] = queue.SimpleQueue()

    def read(self) -> None:
        """Sorts the requests into the lanes. Their end is an exception in the main thread."""
        try:
            while True:
                request = self._connection.recv()
                if isinstance(request, DetectionRequest | ModelRequest):
                    self._requests.put(request)
                elif isinstance(request, FileRequest):
                    self._scorer.add(request)
                elif isinstance(request, ExportRequest):
                    self._exports.put(request)
                elif isinstance(request, LiveStart):
                    self._starts.put(request)
                else:
                    self._parts.put(request)
        except Exception as error:  # noqa: BLE001 the main thread raises it
            self._requests.put(error)

    def answer(self) -> None:
        """Answers what is about one recording or a model. Raises what ends the process."""
        self._prepare(detection.prepare)
        while True:
            request = self._requests.get()
            if isinstance(request, BaseException):
                raise request
            self._reply(request.number, answer(request, self._models))

    def score_files(self) -> None:
        """Scores the files of jobs."""
        self._scorer.run()

    def export(self) -> None:
        """Writes the files of exports."""
        while True:
            request = self._exports.get()
            self._reply(request.number, answer(request, self._models))

    def start_streams(self) -> None:
        """Opens streams."""
        self._prepare(self._streams.prepare)
        while True:
            request = self._starts.get()
            self._reply(request.number, answer_start(request, self._streams, self._models))

    def judge_streams(self) -> None:
        """Judges all parts that there are at a time."""
        while True:
            parts = [self._parts.get()]
            while not self._parts.empty():
                parts.append(self._parts.get())
            outcome = outcome_of(lambda: self._streams.take(parts))  # noqa: B023 it is called at once
            for part in parts:
                if isinstance(outcome, Failed):
                    self._reply(part.number, outcome)
                elif part.number in outcome:
                    self._reply(part.number, outcome[part.number])

    def _prepare(self, work: Callable[[Model], None]) -> None:
        if (new := self._new) is not None:
            outcome_of(lambda: work(new), "compiling for new models")

    def _reply(self, number: int, outcome: Outcome) -> None:
        with self._sending:
            self._connection.send(DetectionReply(number, outcome))
        if isinstance(outcome, Failed) and outcome.ends_process:
            self._requests.put(SystemExit(f"this process ends: {outcome.message}"))


def answer(
    request: DetectionRequest | ModelRequest | ExportRequest, models: ModelCache
) -> tuple[DetectedArtifact, ...] | Loaded | Exported | Failed:
    """Returns the detections by start, or what was done, or the failure. Raises nothing."""
    match request:
        case DetectionRequest():
            return outcome_of(lambda: detected_artifacts(request, models))
        case ExportRequest():
            return outcome_of(lambda: exported(request, models), "the export")
        case ModelRequest():
            return outcome_of(lambda: loaded(request, models))


def answer_start(request: LiveStart, streams: LiveStreams, models: ModelCache) -> LiveProgress | Failed:
    """Opens a stream, or returns the failure. Raises nothing."""
    return outcome_of(
        lambda: streams.start(request, models.get(request.weights, request.model_config, request.sha256))
    )


def outcome_of(work: Callable[[], Answer], name: str = "detection") -> Answer | Failed:
    """Returns what `work`, which has this name, returns, or its failure."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 it becomes a failure, and a line in the log if it is unknown
        return failed(error, name)


def loaded(request: ModelRequest, models: ModelCache) -> Loaded:
    """Loads the model. Raises what load_model raises."""
    models.get(request.weights, request.model_config, request.sha256)
    return Loaded()


def result(
    request: DetectionRequest | ExportRequest, models: ModelCache
) -> tuple[DetectedArtifact, ...] | Exported:
    """Returns the detections by start, or what was exported. Raises what these raise."""
    if isinstance(request, ExportRequest):
        return exported(request, models)
    return detected_artifacts(request, models)


def detected_artifacts(request: DetectionRequest, models: ModelCache) -> tuple[DetectedArtifact, ...]:
    """Returns the detections by start.

    Raises what load_model raises, and FileNotFoundError if the call has ended and its files were removed.
    """
    model = models.get(request.weights, request.model_config, request.sha256)
    features = unpack_features(request.features.read_bytes())
    return tuple(
        DetectedArtifact(*astuple(found))
        for found in detection.detect(model, features, request.duration_ms, DetectionConfig(**request.config))
    )


def exported(request: ExportRequest, models: ModelCache) -> Exported:
    """Writes the file. Raises what load_model raises, and FileNotFoundError if the call has ended."""
    keys = (request.weights, request.model_config, request.sha256)
    if request.onnx_rate is None:
        data = archive(models.files(*keys))
    else:
        # Importing ONNX takes up to a second, for a rare request.
        from earmark.trainer.export.onnx import onnx_model  # noqa: PLC0415

        data = onnx_model(models.get(*keys), request.onnx_rate)
    request.file.write_bytes(data)
    return Exported(len(data), hashlib.sha256(data).hexdigest())
