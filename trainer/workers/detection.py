"""The detection process. It is separate from training, so that a recording never waits for a job."""

import hashlib
import sys
from collections import OrderedDict
from dataclasses import astuple
from multiprocessing.connection import Connection

import structlog

from earmark.storage.objects import ObjectNotFoundError, ObjectStore, ObjectStoreError
from earmark.trainer.export.native import archive
from earmark.trainer.features.stored import unpack_features
from earmark.trainer.logs import configure_logging
from earmark.trainer.model import Model, ModelFiles, UnreadableModelError, load_model, read_files
from earmark.trainer.scoring.detection import DetectionConfig, detect
from earmark.trainer.settings import TrainerSettings
from earmark.trainer.workers.device import device_failure, warm_up
from earmark.trainer.workers.wire import (
    DetectedArtifact,
    DetectionReply,
    DetectionRequest,
    Exported,
    ExportRequest,
    Failed,
    Ready,
)

CACHED_MODELS = 8

log = structlog.get_logger()


class ModelCache:
    """Stored models, the ones used most recently in memory. They never become stale, because none changes."""

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

    def files(self, weights: str, config: str, sha256: str) -> ModelFiles:
        """Returns the files of the model stored under these keys. Raises what read_files raises."""
        return read_files(self._objects.identified(), weights, config, sha256)


def serve(connection: Connection, settings: TrainerSettings) -> None:
    """Sends Ready, then answers each request.

    Raises EOFError when the front has closed its end, and SystemExit after a failure of the device.
    """
    configure_logging(settings.log_level)
    models = ModelCache(ObjectStore.open(settings.object_store_url))
    connection.send(Ready(warm_up()))
    while True:
        request: DetectionRequest | ExportRequest = connection.recv()
        outcome = answer(request, models)
        connection.send(DetectionReply(request.number, outcome))
        if isinstance(outcome, Failed) and outcome.ends_process:
            sys.exit(f"this process ends: {outcome.message}")


def answer(
    request: DetectionRequest | ExportRequest, models: ModelCache
) -> tuple[DetectedArtifact, ...] | Exported | Failed:
    """Returns the detections by start, what was exported, or the failure. Raises nothing."""
    try:
        return result(request, models)
    except ObjectStoreError as error:
        return Failed("OBJECT_STORE_UNAVAILABLE", str(error))
    except ObjectNotFoundError as error:
        return Failed(
            "STORED_DATA_DAMAGED", f"the model's object {error.key!r} is missing from the object store"
        )
    except UnreadableModelError as error:
        return Failed(error.reason, str(error))
    except FileNotFoundError:
        return Failed("INTERNAL", "the call's files are gone: was it cancelled?")
    except Exception as error:
        what = "the export" if isinstance(request, ExportRequest) else "detection"
        log.exception("a request crashed", work=what, weights=request.weights)
        crashed = Failed("INTERNAL", f"{what} crashed: the trainer's log has the traceback")
        return device_failure(error) or crashed


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
        DetectedArtifact(*astuple(detection))
        for detection in detect(model, features, request.duration_ms, DetectionConfig(**request.config))
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
