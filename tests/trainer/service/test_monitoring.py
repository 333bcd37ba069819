"""The trainer's Prometheus metrics."""

import grpc
import psutil
import pytest

from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.internal.v1 import trainer_service_pb2_grpc as pb_grpc
from tests.monitors import Metrics, documented, page
from tests.trainer.process import SECONDS

SERVICE = "earmark.internal.v1.TrainerService"


def monitor(trainer) -> str:
    """The address of its other port."""
    listening = {
        connection.laddr.port
        for connection in psutil.Process(trainer.process.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    (port,) = listening - {int(trainer.address.rpartition(":")[2])}
    return f"127.0.0.1:{port}"


def test_calls_slots_epochs_and_failures_are_counted(trainer, trained, files) -> None:  # noqa: ARG001 - they have used the trainer
    trainer.process_audio(b"no audio", "unusable")
    with grpc.insecure_channel(trainer.address) as channel:
        stranger = pb_grpc.TrainerServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
            stranger.GetCapacity(pb.GetCapacityRequest(), timeout=SECONDS)
    metrics = Metrics(monitor(trainer))
    capacity = {"grpc_type": "unary", "grpc_service": SERVICE, "grpc_method": "GetCapacity"}
    train = {"grpc_type": "bidi_stream", "grpc_service": SERVICE, "grpc_method": "Train"}
    assert metrics.value("grpc_server_handled_total", **capacity, grpc_code="UNAUTHENTICATED") >= 1
    assert metrics.value("grpc_server_handled_total", **train, grpc_code="OK") >= 1
    assert metrics.value("earmark_trainer_epochs_total") >= 2
    assert metrics.value("earmark_trainer_chunks_per_second") > 0
    assert metrics.value("earmark_trainer_decode_failures_total", reason="INVALID_AUDIO") >= 1
    assert metrics.value("earmark_trainer_slots", kind="live") == 50
    assert metrics.value("earmark_trainer_slots_free", kind="training") == 1
    assert metrics.names == documented("trainer", "both")


def test_the_trainer_is_ready(trainer) -> None:
    status, text = page(monitor(trainer), "/readyz")
    assert (status, text.splitlines()[0]) == (200, "ready: ok")
