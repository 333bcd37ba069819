"""The detection process. It is separate from training, so that a recording never waits for a job."""

import sys
import threading
from dataclasses import astuple
from multiprocessing.connection import Connection

from earmark.scores import DetectionConfig
from earmark.storage.objects import ObjectStore
from earmark.trainer.features.stored import unpack_features
from earmark.trainer.logs import configure_logging
from earmark.trainer.scoring.detection import detect
from earmark.trainer.settings import TrainerSettings
from earmark.trainer.workers.answers import ModelCache, failed
from earmark.trainer.workers.device import warm_up
from earmark.trainer.workers.file_scorer import FileScorer
from earmark.trainer.workers.wire import (
    DetectedArtifact,
    DetectionReply,
    DetectionRequest,
    Failed,
    FileRequest,
    Loaded,
    ModelRequest,
    Outcome,
    Ready,
)


def serve(connection: Connection, settings: TrainerSettings) -> None:
    """Sends Ready, then answers each request. Another thread answers those for the files of jobs.

    Raises EOFError when the front has closed its end, and SystemExit after a failure of the device.
    """
    configure_logging(settings.log_level)
    models = ModelCache(ObjectStore.open(settings.object_store_url))
    connection.send(Ready(warm_up()))
    sending = threading.Lock()

    def reply(number: int, outcome: Outcome) -> None:
        with sending:
            connection.send(DetectionReply(number, outcome))

    scorer = FileScorer(models, reply)
    threading.Thread(target=scorer.run, name="files of jobs", daemon=True).start()
    while True:
        request: DetectionRequest | ModelRequest | FileRequest = connection.recv()
        if isinstance(request, FileRequest):
            scorer.add(request)
            continue
        outcome = answer(request, models)
        reply(request.number, outcome)
        if isinstance(outcome, Failed) and outcome.ends_process:
            sys.exit(f"this process ends: {outcome.message}")


def answer(
    request: DetectionRequest | ModelRequest, models: ModelCache
) -> tuple[DetectedArtifact, ...] | Loaded | Failed:
    """Returns the detections by start, or that the model is loaded, or the failure. Raises nothing."""
    try:
        if isinstance(request, DetectionRequest):
            return detected_artifacts(request, models)
        models.get(request.weights, request.model_config, request.sha256)
        return Loaded()
    except Exception as error:  # noqa: BLE001 it becomes a failure, and a line in the log if it is unknown
        return failed(error)


def detected_artifacts(request: DetectionRequest, models: ModelCache) -> tuple[DetectedArtifact, ...]:
    """Returns the detections by start.

    Raises what load_model raises, and FileNotFoundError if the call has ended and its files were removed.
    """
    model = models.get(request.weights, request.model_config, request.sha256)
    features = unpack_features(request.features.read_bytes())
    return tuple(
        DetectedArtifact(*astuple(detection))
        for detection in detect(model, features, request.duration_ms, DetectionConfig(**request.config))
    )
