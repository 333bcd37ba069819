"""The detection process. It is separate from training, so that a recording never waits for a job.

Live audio never waits for files: one thread judges what all streams have, and another opens streams, which
may have to read a model and to compile code for it.
"""

import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import astuple
from multiprocessing.connection import Connection
from typing import TypeVar

import structlog

from earmark.storage.objects import ObjectNotFoundError, ObjectStore, ObjectStoreError
from earmark.trainer.features.stored import unpack_features
from earmark.trainer.logs import configure_logging
from earmark.trainer.model import Model, UnreadableModelError, load_model
from earmark.trainer.scoring.detection import detect
from earmark.trainer.scoring.findings import DetectionConfig
from earmark.trainer.settings import TrainerSettings
from earmark.trainer.workers.device import device_failure, warm_up
from earmark.trainer.workers.live_detection import LiveStreams, Part
from earmark.trainer.workers.wire import (
    DetectedArtifact,
    DetectionReply,
    DetectionRequest,
    Failed,
    LiveProgress,
    LiveStart,
    Ready,
)

CACHED_MODELS = 8

Outcome = TypeVar("Outcome")

log = structlog.get_logger()


class ModelCache:
    """The models used most recently. They never become stale, because stored models never change."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._loaded: OrderedDict[tuple[str, str, str], Model] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, weights: str, config: str, sha256: str) -> Model:
        """Returns the model stored under these keys. Raises what load_model raises."""
        key = (weights, config, sha256)
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = load_model(self._objects.identified(), weights, config, sha256)
            self._loaded.move_to_end(key)
            while len(self._loaded) > CACHED_MODELS:
                self._loaded.popitem(last=False)
            return self._loaded[key]


def serve(connection: Connection, settings: TrainerSettings) -> None:
    """Sends Ready, then answers each DetectionRequest, LiveStart and LiveFeatures.

    Raises EOFError when the front has closed its end, and SystemExit after a failure of the device.
    """
    configure_logging(settings.log_level)
    models = ModelCache(ObjectStore.open(settings.object_store_url))
    connection.send(Ready(warm_up()))
    lanes = _Lanes(connection, models)
    for work in (lanes.read, lanes.start_streams, lanes.judge_streams):
        threading.Thread(target=work, daemon=True).start()
    lanes.answer_files()


class _Lanes:
    """What waits to be answered, for each kind of work that must not wait for the others."""

    def __init__(self, connection: Connection, models: ModelCache) -> None:
        self._connection = connection
        self._models = models
        self._sending = threading.Lock()
        self._streams = LiveStreams()
        self._files: queue.SimpleQueue[DetectionRequest | BaseException] = queue.SimpleQueue()
        self._starts: queue.SimpleQueue[LiveStart] = queue.SimpleQueue()
        self._parts: queue.SimpleQueue[Part] = queue.SimpleQueue()

    def read(self) -> None:
        """Sorts the requests into the lanes. Their end is an exception in the main thread."""
        try:
            while True:
                request = self._connection.recv()
                if isinstance(request, DetectionRequest):
                    self._files.put(request)
                elif isinstance(request, LiveStart):
                    self._starts.put(request)
                else:
                    self._parts.put(request)
        except Exception as error:  # noqa: BLE001 the main thread raises it
            self._files.put(error)

    def answer_files(self) -> None:
        """Raises what ends the process."""
        while True:
            request = self._files.get()
            if isinstance(request, BaseException):
                raise request
            self._reply(request.number, answer(request, self._models))

    def start_streams(self) -> None:
        """Opens streams."""
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

    def _reply(self, number: int, outcome: tuple[DetectedArtifact, ...] | LiveProgress | Failed) -> None:
        with self._sending:
            self._connection.send(DetectionReply(number, outcome))
        if isinstance(outcome, Failed) and outcome.ends_process:
            self._files.put(SystemExit(f"this process ends: {outcome.message}"))


def answer(request: DetectionRequest, models: ModelCache) -> tuple[DetectedArtifact, ...] | Failed:
    """Returns the detections by start, or the failure. Raises nothing."""
    return outcome_of(lambda: detected_artifacts(request, models))


def answer_start(request: LiveStart, streams: LiveStreams, models: ModelCache) -> LiveProgress | Failed:
    """Opens a stream, or returns the failure. Raises nothing."""
    return outcome_of(
        lambda: streams.start(request, models.get(request.weights, request.model_config, request.sha256))
    )


def outcome_of(work: Callable[[], Outcome]) -> Outcome | Failed:
    """Returns what `work` returns, or its failure."""
    try:
        return work()
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
        log.exception("detection crashed")
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
