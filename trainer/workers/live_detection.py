"""The live streams in the detection process: what many have goes through the network together."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from itertools import groupby
from typing import TypeAlias

import numpy as np

from earmark.scores import Detection, DetectionConfig
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.model import Model
from earmark.trainer.network import Architecture
from earmark.trainer.scoring.live import LiveStream, advance, prepare
from earmark.trainer.workers.wire import DetectedArtifact, LiveClosed, LiveFeatures, LiveProgress, LiveStart

Part: TypeAlias = LiveFeatures | LiveClosed


@dataclass(slots=True)
class _Open:
    stream: LiveStream
    channels: int
    rest: bytearray = field(default_factory=bytearray)

    def push(self, data: bytes) -> None:
        self.rest += data
        row = self.channels * (FEATURES + 1) * np.dtype(np.float16).itemsize
        whole = len(self.rest) // row * row
        rows = np.frombuffer(bytes(self.rest[:whole]), np.float16).reshape(-1, self.channels, FEATURES + 1)
        del self.rest[:whole]
        self.stream.push(rows[:, :, :FEATURES], rows[:, :, FEATURES] > 0)


class LiveStreams:
    """The open streams by number."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._prepared: set[Architecture] = set()

    def prepare(self, model: Model) -> None:
        """Compiles what streams of such models need. No thread that others wait for may call it."""
        if model.architecture not in self._prepared:
            prepare(model)
            self._prepared.add(model.architecture)

    def start(self, request: LiveStart, model: Model) -> LiveProgress:
        """Opens a stream, for which it may have to compile: see prepare."""
        self.prepare(model)
        stream = LiveStream(model, DetectionConfig(**request.config), request.begun)
        self._open[request.number] = _Open(stream, len(request.begun))
        return _progress(stream, [])

    def take(self, parts: Sequence[Part]) -> dict[int, LiveProgress]:
        """Takes the next parts of streams, and returns the progress of those that sent features."""
        for closed in (part for part in parts if isinstance(part, LiveClosed)):
            self._open.pop(closed.number, None)
        sent = [part for part in parts if isinstance(part, LiveFeatures) and part.number in self._open]
        for part in sent:
            opened = self._open[part.number]
            opened.push(part.data)
            if part.duration_ms is not None:
                opened.stream.end()
        streams = sorted((self._open[part.number].stream for part in sent), key=lambda each: id(each.model))
        for _, of_model in groupby(streams, key=lambda each: id(each.model)):
            advance(list(of_model))
        return {part.number: self._progress_of(part) for part in sent}

    def _progress_of(self, part: LiveFeatures) -> LiveProgress:
        stream = self._open[part.number].stream
        if part.duration_ms is None:
            return _progress(stream, stream.take())
        del self._open[part.number]
        return _progress(stream, [*stream.take(), *stream.finish(part.duration_ms)])


def _progress(stream: LiveStream, detections: Sequence[Detection]) -> LiveProgress:
    artifacts = tuple(DetectedArtifact(*astuple(detection)) for detection in detections)
    return LiveProgress(artifacts, stream.judged_ms, stream.silent_channels)
