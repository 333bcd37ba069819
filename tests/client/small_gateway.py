"""A real gRPC server on a free port whose answers a test writes."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from earmark.client import Backoff
from earmark.v1 import audio_service_pb2_grpc as audio
from earmark.v1 import dataset_service_pb2_grpc as datasets
from earmark.v1 import detection_service_pb2_grpc as detection
from earmark.v1 import training_service_pb2_grpc as training
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

QUICK = Backoff(initial=0.001, longest=0.01, patience=5, first_contact=0.2)
_REGISTER = {
    audio.AudioServiceServicer: audio.add_AudioServiceServicer_to_server,
    datasets.DatasetServiceServicer: datasets.add_DatasetServiceServicer_to_server,
    detection.DetectionServiceServicer: detection.add_DetectionServiceServicer_to_server,
    training.TrainingServiceServicer: training.add_TrainingServiceServicer_to_server,
}


class Gateway:
    """A server with the given servicers, that can be stopped and started again on its port."""

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
