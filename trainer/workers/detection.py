"""The detection process: apart from training, so that a recording never waits behind a job."""

from collections import OrderedDict
from multiprocessing.connection import Connection

import structlog

from storage.objects import ObjectNotFoundError, ObjectStore
from trainer.features.frontend import unpack_features
from trainer.logs import configure_logging
from trainer.model import Model, UnreadableModelError, load_model
from trainer.scoring.detection import DetectionConfig, detect
from trainer.settings import TrainerSettings
from trainer.workers.device import summary, warm_up
from trainer.workers.wire import Failed, Found, Ready, Scored, ScoreRequest

MODELS_KEPT = 8

log = structlog.get_logger()


class Models:
    """The models used last. Their objects never change, so neither do they."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._loaded: OrderedDict[tuple[str, str], Model] = OrderedDict()

    def get(self, weights: str, config: str) -> Model:
        """Raises as load_model does."""
        key = (weights, config)
        if key not in self._loaded:
            self._loaded[key] = load_model(self._objects, weights, config)
        self._loaded.move_to_end(key)
        while len(self._loaded) > MODELS_KEPT:
            self._loaded.popitem(last=False)
        return self._loaded[key]


def serve(connection: Connection, settings: TrainerSettings) -> None:
    """Says Ready, then answers each ScoreRequest. Raises EOFError when the front is gone."""
    configure_logging(settings.log_level)
    models = Models(ObjectStore.open(settings.object_store_url))
    connection.send(Ready(warm_up()))
    while True:
        request: ScoreRequest = connection.recv()
        connection.send(Scored(request.number, answer(request, models)))


def answer(request: ScoreRequest, models: Models) -> tuple[Found, ...] | Failed:
    """Detections by start."""
    try:
        return score(request, models)
    except ObjectNotFoundError as error:
        return Failed(
            "STORED_DATA_DAMAGED", f"the model's object {error.key!r} is missing from the object store"
        )
    except UnreadableModelError as error:
        return Failed("STORED_DATA_DAMAGED", str(error))
    except FileNotFoundError:
        return Failed("INTERNAL", "the features are gone: was the call given up?")
    except Exception as error:
        log.exception("detection crashed", weights=request.weights)
        return Failed("INTERNAL", summary(error))


def score(request: ScoreRequest, models: Models) -> tuple[Found, ...]:
    """Raises as load_model does, and FileNotFoundError for a call whose files are gone."""
    model = models.get(request.weights, request.model_config)
    features = unpack_features(request.features.read_bytes())
    return tuple(
        Found(found.artifact_type, found.start_ms, found.end_ms, found.confidence)
        for found in detect(model, features, request.duration_ms, DetectionConfig(**request.config))
    )
