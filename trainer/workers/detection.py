"""The detection process. It is separate from training, so that a recording never waits for a job."""

import sys
from collections import OrderedDict
from dataclasses import astuple
from multiprocessing.connection import Connection

import structlog

from earmark.scores import DetectionConfig
from earmark.storage.objects import ObjectNotFoundError, ObjectStore, ObjectStoreError
from earmark.trainer.features.stored import unpack_features
from earmark.trainer.logs import configure_logging
from earmark.trainer.model import Model, UnreadableModelError, load_model
from earmark.trainer.scoring.detection import detect
from earmark.trainer.settings import TrainerSettings
from earmark.trainer.workers.device import device_failure, warm_up
from earmark.trainer.workers.wire import DetectedArtifact, DetectionReply, DetectionRequest, Failed, Ready

CACHED_MODELS = 8

log = structlog.get_logger()


class ModelCache:
    """The models used most recently. They never become stale, because stored models never change."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._loaded: OrderedDict[tuple[str, str, str], Model] = OrderedDict()

    def get(self, weights: str, config: str, sha256: str) -> Model:
        """Returns the model stored under these keys. Raises what load_model raises."""
        key = (weights, config, sha256)
        if key not in self._loaded:
            self._loaded[key] = load_model(self._objects.identified(), weights, config, sha256)
        self._loaded.move_to_end(key)
        while len(self._loaded) > CACHED_MODELS:
            self._loaded.popitem(last=False)
        return self._loaded[key]


def serve(connection: Connection, settings: TrainerSettings) -> None:
    """Sends Ready, then answers each DetectionRequest.

    Raises EOFError when the front has closed its end, and SystemExit after a failure of the device.
    """
    configure_logging(settings.log_level)
    models = ModelCache(ObjectStore.open(settings.object_store_url))
    connection.send(Ready(warm_up()))
    while True:
        request: DetectionRequest = connection.recv()
        outcome = answer(request, models)
        connection.send(DetectionReply(request.number, outcome))
        if isinstance(outcome, Failed) and outcome.ends_process:
            sys.exit(f"this process ends: {outcome.message}")


def answer(request: DetectionRequest, models: ModelCache) -> tuple[DetectedArtifact, ...] | Failed:
    """Returns the detections by start, or the failure. Raises nothing."""
    try:
        return detected_artifacts(request, models)
    except ObjectStoreError as error:
        return Failed("OBJECT_STORE_UNAVAILABLE", str(error))
    except ObjectNotFoundError as error:
        return Failed(
            "STORED_DATA_DAMAGED", f"the model's object {error.key!r} is missing from the object store"
        )
    except UnreadableModelError as error:
        return Failed(error.reason, str(error))
    except FileNotFoundError:
        return Failed("INTERNAL", "the features are gone: was the call cancelled?")
    except Exception as error:
        log.exception("detection crashed", weights=request.weights)
        crashed = Failed("INTERNAL", "detection crashed: the trainer's log has the traceback")
        return device_failure(error) or crashed


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
