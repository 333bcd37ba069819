"""What the detection process answers with: the models it has loaded, and its failures in words."""

import threading
from collections import OrderedDict

import structlog

from earmark.disk import is_of_disk
from earmark.storage.objects import ObjectNotFoundError, ObjectStore, ObjectStoreError
from earmark.trainer.model import Model, ModelFiles, UnreadableModelError, load_model, read_files
from earmark.trainer.workers.device import device_failure
from earmark.trainer.workers.wire import Failed

CACHED_MODELS = 8

log = structlog.get_logger()


class ModelCache:
    """The models used most recently, for several threads.

    They never become stale, because stored models never change.
    """

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

    def files(self, weights: str, config: str, sha256: str) -> ModelFiles:
        """Returns the files of the model stored under these keys. Raises what read_files raises."""
        return read_files(self._objects.identified(), weights, config, sha256)


def failed(error: Exception, work: str = "detection") -> Failed:
    """The failure that an error is: of loading a model, of reading features, or of this work."""
    match error:
        case ObjectStoreError():
            return Failed("OBJECT_STORE_UNAVAILABLE", str(error))
        case ObjectNotFoundError():
            return Failed(
                "STORED_DATA_DAMAGED", f"the model's object {error.key!r} is missing from the object store"
            )
        case UnreadableModelError():
            return Failed(error.reason, str(error))
        case FileNotFoundError():
            return Failed("INTERNAL", "the call's files are gone: was it cancelled?")
        case OSError() if is_of_disk(error):
            return Failed("DISK_FULL", f"the trainer's disk fails: {error}")
    log.error("a request crashed", work=work, exc_info=error)
    return device_failure(error) or Failed("INTERNAL", f"{work} crashed: the trainer's log has the traceback")
