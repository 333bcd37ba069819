"""A real gRPC server on a free port, with servicers whose answers a test chooses."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from earmark.client import Backoff, Client
from earmark.v1 import admin_service_pb2_grpc as admin
from earmark.v1 import audio_service_pb2, detection_pb2, detection_service_pb2, model_service_pb2
from earmark.v1 import audio_service_pb2_grpc as audio
from earmark.v1 import dataset_service_pb2_grpc as datasets
from earmark.v1 import detection_service_pb2_grpc as detection
from earmark.v1 import model_service_pb2_grpc as models
from earmark.v1 import training_service_pb2_grpc as training

Serve = Callable[..., Client]
CONTENT = bytes(range(256)) * 10_000
QUICK = Backoff(initial=0.001, longest=0.01, patience=5, first_contact=0.2)
_REGISTER = {
    admin.AdminServiceServicer: admin.add_AdminServiceServicer_to_server,
    audio.AudioServiceServicer: audio.add_AudioServiceServicer_to_server,
    datasets.DatasetServiceServicer: datasets.add_DatasetServiceServicer_to_server,
    detection.DetectionServiceServicer: detection.add_DetectionServiceServicer_to_server,
    models.ModelServiceServicer: models.add_ModelServiceServicer_to_server,
    training.TrainingServiceServicer: training.add_TrainingServiceServicer_to_server,
}


class Gateway:
    """A server with the given servicers, which can be stopped and started again on its port."""

    def __init__(self, *servicers: Any) -> None:
        self.servicers = servicers
        self.port = 0
        self.start()

    def start(self) -> None:
        self.server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        for servicer in self.servicers:
            for kind, register in _REGISTER.items():
                if isinstance(servicer, kind):
                    register(servicer, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        self.server.start()

    def stop(self) -> None:
        self.server.stop(None).wait()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


def refuse(
    context: grpc.ServicerContext, code: str, message: str, reason: str = "", *details: Any, **facts: str
) -> None:
    """Abort with google.rpc details, as the gateway does."""
    status = status_pb2.Status(code=code_pb2.Code.Value(code), message=message)
    if reason:
        details = (error_details_pb2.ErrorInfo(reason=reason, domain="earmark", metadata=facts), *details)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    context.abort_with_status(rpc_status.to_status(status))


def unavailable(context: grpc.ServicerContext) -> None:
    """End a stream as a gateway does that is stopping."""
    refuse(context, "UNAVAILABLE", "stopping", "STOPPING")


def too_slow(context: grpc.ServicerContext) -> None:
    """End a stream as a gateway does whose watcher reads too slowly."""
    refuse(context, "RESOURCE_EXHAUSTED", "this watcher is too slow")


def cut(context: grpc.ServicerContext) -> None:
    """End a stream as a proxy does that cuts the connection."""
    context.abort(grpc.StatusCode.INTERNAL, "RST_STREAM")


def early_end(_context: grpc.ServicerContext) -> None:
    """End a stream without an error, but before its last message."""


class Store(audio.AudioServiceServicer):
    """Keeps the requests of each upload, and breaks off the first ones with `endings`."""

    def __init__(self, *endings: Callable[[grpc.ServicerContext], None], sent_back: bytes = CONTENT) -> None:
        self.endings = list(endings)
        self.sent_back = sent_back
        self.uploads: list[list[audio_service_pb2.UploadAudioRequest]] = []

    def UploadAudio(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        self.uploads.append(list(requests))
        if self.endings:
            self.endings.pop(0)(context)
        return audio_service_pb2.UploadAudioResponse(audio_file=audio_service_pb2.AudioFile(id="new"))

    def GetAudioFile(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        sha256 = hashlib.sha256(CONTENT).hexdigest()
        return audio_service_pb2.GetAudioFileResponse(
            audio_file=audio_service_pb2.AudioFile(sha256=sha256, size_bytes=len(CONTENT))
        )

    def DownloadAudio(self, _request: Any, _context: grpc.ServicerContext) -> Iterator[Any]:
        for offset in range(0, len(self.sent_back), 100_000):
            yield audio_service_pb2.DownloadAudioResponse(
                offset=offset, data=self.sent_back[offset : offset + 100_000]
            )


class Exporter(models.ModelServiceServicer):
    """Exports `sent`, which should be CONTENT, and keeps the requests."""

    def __init__(self, sent: bytes = CONTENT) -> None:
        self.sent = sent
        self.requests: list[model_service_pb2.ExportModelRequest] = []

    def ExportModel(self, request: Any, _context: grpc.ServicerContext) -> Iterator[Any]:
        self.requests.append(request)
        sha256 = hashlib.sha256(CONTENT).hexdigest()
        yield model_service_pb2.ExportModelResponse(file={"size_bytes": len(CONTENT), "sha256": sha256})
        for offset in range(0, len(self.sent), 100_000):
            yield model_service_pb2.ExportModelResponse(data=self.sent[offset : offset + 100_000])


class Finder(detection.DetectionServiceServicer):
    """Finds one dropout, and gives `count` in its summary; sends no summary if `count` is None."""

    def __init__(self, count: int | None = 1) -> None:
        self.count = count
        self.requests: list[detection_service_pb2.DetectRequest] = []

    def Detect(self, requests: Iterator[Any], _context: grpc.ServicerContext) -> Iterator[Any]:
        self.requests = list(requests)
        dropout = detection_pb2.Detection(
            artifact_type="dropout", start_ms=1200, end_ms=1350, confidence=0.9, channels=[0, 2]
        )
        yield detection_service_pb2.DetectResponse(detection=dropout)
        if self.count is not None:
            yield detection_service_pb2.DetectResponse(
                summary=detection_service_pb2.DetectResponse.Summary(
                    detection_count=self.count, model_id="model"
                )
            )
