"""Scores the files of jobs in a thread of the detection process, several in one batch.

Another thread answers recordings meanwhile. They wait for no file: on the device they come after the batches
that are there already, of which there are two at most.
"""

import queue
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from earmark.scores import DetectionConfig, Scores
from earmark.trainer.devices import all_devices
from earmark.trainer.features.stored import FileFeatures, unpack_features
from earmark.trainer.model import LearnedType
from earmark.trainer.scoring.detection import BATCHES, TILE, scores_of_files
from earmark.trainer.workers.answers import ModelCache, failed
from earmark.trainer.workers.wire import Failed, FileRequest, Outcome, Scored, Unreadable

# For each device: of all tracks of the files that are scored together, or of one file.
GROUP_FRAMES = BATCHES[-1] * TILE
WAIT_SECONDS = 0.5  # a file waits so long for others to fill its batch

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file to score, in memory."""

    request: FileRequest
    features: FileFeatures

    @property
    def frames(self) -> int:
        """The length of all tracks, in frames."""
        return len(self.features.tracks) * self.features.frames


class FileScorer:
    """Answers requests with `reply`, in about the order in which they were added."""

    def __init__(self, models: ModelCache, reply: Callable[[int, Outcome], None]) -> None:
        self._models = models
        self._reply = reply
        self._devices = all_devices()
        self._requests: queue.SimpleQueue[FileRequest] = queue.SimpleQueue()

    def add(self, request: FileRequest) -> None:
        """Has the file scored soon."""
        self._requests.put(request)

    def run(self) -> None:
        """Answers requests until the front has closed its end, or the device has failed."""
        with suppress(BrokenPipeError, ConnectionResetError):
            while self.answer_next():
                pass

    def answer_next(self) -> bool:
        """Answers the next requests. Returns whether the process can be trusted with others.

        If not, the front ends the process when it reads the reply.
        """
        group = self._next_group()
        return all(self._answer(*model, of_model) for model, of_model in by_model(group).items())

    def _next_group(self) -> list[ReadFile]:
        """Waits for a file, and for others until they fill a batch or WAIT_SECONDS have passed."""
        group: list[ReadFile] = []
        frames, until = 0, None
        while frames < GROUP_FRAMES * self._devices.count:
            try:
                file = self._read(self._requests.get(timeout=until and max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
            if file is not None:
                group.append(file)
                frames += file.frames
                until = until or time.monotonic() + WAIT_SECONDS
        return group

    def _read(self, request: FileRequest) -> ReadFile | None:
        """Returns None if the features cannot be read; the request is answered then."""
        try:
            features = unpack_features(request.features.read_bytes())
        except OSError as error:
            self._reply(request.number, failed(error))
        except Exception as error:  # noqa: BLE001 they may be what a hostile file made of its decoder
            log.warning("features cannot be read", error=repr(error))
            self._reply(request.number, Unreadable(str(error)))
        else:
            if features.frames and len(features.tracks):
                return ReadFile(request, features)
            self._reply(request.number, Unreadable("they have no frames"))
        return None

    def _answer(self, weights: str, model_config: str, sha256: str, files: Sequence[ReadFile]) -> bool:
        """Scores files with one model. Returns whether the process can be trusted with others."""
        unanswered = list(files)

        def check() -> None:
            if not any(file.request.features.exists() for file in unanswered):
                raise FileNotFoundError("the calls of these files have ended")

        try:
            model = self._models.get(weights, model_config, sha256)
            parts = [(file.features, file.request.duration_ms) for file in files]
            for file, scores in zip(files, scores_of_files(model, parts, check, self._devices), strict=True):
                outcome = stored(scores, file.request, model.types)
                self._reply(file.request.number, outcome)
                unanswered.remove(file)
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:  # noqa: BLE001 it becomes a failure, and a line in the log if it is unknown
            failure = failed(error)
            for file in unanswered:
                self._reply(file.request.number, failure)
            return not failure.ends_process
        return True


def by_model(files: Iterable[ReadFile]) -> dict[tuple[str, str, str], list[ReadFile]]:
    """The files by keys and digest of their model: a cancelled job's may come before those of the next."""
    groups: dict[tuple[str, str, str], list[ReadFile]] = {}
    for file in files:
        model = (file.request.weights, file.request.model_config, file.request.sha256)
        groups.setdefault(model, []).append(file)
    return groups


def stored(scores: Scores, request: FileRequest, types: Sequence[LearnedType]) -> Scored | Failed:
    """Writes the scores where the request wants them."""
    try:
        request.scores.write_bytes(scores.pack())
    except OSError as error:
        return failed(error)
    return Scored(len(scores.detections(types, DetectionConfig(**request.config))))
