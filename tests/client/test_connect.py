"""Unary calls: retries, the request_id that makes them safe for changes, and the deadline."""

import json
import math
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import grpc
import pytest

from earmark.client import DEFAULT_TIMEOUT, channel_options, explain
from earmark.v1 import dataset_service_pb2 as datasets
from earmark.v1 import dataset_service_pb2_grpc, training_service_pb2_grpc
from earmark.v1 import training_service_pb2 as training
from tests.client.both import Reach, Reached
from tests.client.small_gateway import refuse


class Flaky(dataset_service_pb2_grpc.DatasetServiceServicer):
    """Is UNAVAILABLE twice before it answers, and keeps every request."""

    def __init__(self) -> None:
        self.requests: list[datasets.CreateDatasetRequest] = []

    def CreateDataset(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.append(request)
        if len(self.requests) < 3:
            refuse(context, "UNAVAILABLE", "the database is unavailable", "DATABASE_UNAVAILABLE")
        return datasets.CreateDatasetResponse(dataset=datasets.Dataset(name=request.name))


def create(reached: Reached, request: datasets.CreateDatasetRequest) -> datasets.Dataset:
    return reached.result(lambda _, client: client.datasets.CreateDataset(request)).dataset


def test_a_change_is_retried_under_one_request_id(reach: Reach) -> None:
    gateway = Flaky()
    request = datasets.CreateDatasetRequest(name="Calls")

    assert create(reach(gateway), request).name == "Calls"

    assert len(gateway.requests) == 3
    (request_id,) = {sent.request_id for sent in gateway.requests}
    assert uuid.UUID(request_id).version == 4
    assert request.request_id == "", "the caller's message is not touched"


def test_the_callers_request_id_is_kept(reach: Reach) -> None:
    gateway = Flaky()
    request_id = str(uuid.uuid4())

    create(reach(gateway), datasets.CreateDatasetRequest(name="Calls", request_id=request_id))

    assert {sent.request_id for sent in gateway.requests} == {request_id}


class Clock(
    dataset_service_pb2_grpc.DatasetServiceServicer, training_service_pb2_grpc.TrainingServiceServicer
):
    """Keeps how many seconds each call has."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def CreateDataset(self, _request: Any, context: grpc.ServicerContext) -> Any:
        self.seconds.append(context.time_remaining())
        return datasets.CreateDatasetResponse()

    def WatchTrainingJob(self, _request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self.seconds.append(context.time_remaining())
        event = training.TrainingEvent(revision=1)
        event.status_changed.to = training.TRAINING_JOB_STATUS_CANCELLED
        yield training.WatchTrainingJobResponse(event=event)


@pytest.mark.parametrize(
    ("arguments", "timeout", "expected"),
    [
        ({}, None, DEFAULT_TIMEOUT),
        ({"timeout": 600}, None, 600),
        ({"timeout": None}, None, math.inf),
        ({}, 25, 25),
        ({}, 300, 300),
        ({"timeout": None}, 300, 300),
    ],
)
def test_the_deadline_of_a_unary_call(
    reach: Reach, arguments: dict[str, Any], timeout: float | None, expected: float
) -> None:
    gateway = Clock()
    request = datasets.CreateDatasetRequest(name="Calls")

    reach(gateway, **arguments).result(
        lambda _, client: client.datasets.CreateDataset(request, timeout=timeout)
    )

    (seconds,) = gateway.seconds
    # gRPC rounds on the wire, and shows a call without a deadline as one that has centuries.
    assert seconds > 1e9 if expected == math.inf else expected / 2 < seconds < expected * 1.05


def test_a_stream_has_no_deadline(reach: Reach) -> None:
    gateway = Clock()

    reach(gateway).items(lambda api, client: api.watch(client, "job"))

    (seconds,) = gateway.seconds
    assert seconds > 1e9


def test_a_call_without_an_answer_ends_at_its_deadline_and_says_what_to_do(reach: Reach) -> None:
    ended = threading.Event()

    class Silent(dataset_service_pb2_grpc.DatasetServiceServicer):
        def CreateDataset(self, _request: Any, context: grpc.ServicerContext) -> Any:
            context.add_callback(ended.set)
            ended.wait(30)
            return datasets.CreateDatasetResponse()

    with pytest.raises(grpc.RpcError) as caught:
        create(reach(Silent(), timeout=0.1), datasets.CreateDatasetRequest(name="Calls"))

    explanation = explain(caught.value)
    assert explanation.code == "DEADLINE_EXCEEDED"
    assert "with the same request_id" in str(explanation)
    assert ended.wait(30)


def test_streams_are_not_in_the_retry_policy() -> None:
    config = json.loads(dict(channel_options())["grpc.service_config"])
    names = {name["method"] for name in config["methodConfig"][0]["name"]}

    assert {"CreateTrainingJob", "GetModel", "ListAudioFiles"} <= names
    assert not names & {"UploadAudio", "DownloadAudio", "WatchAudioFiles", "WatchTrainingJob", "Detect"}


class Busy:
    """Forwards a connection to a gateway that begins to answer a second after it was accepted."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._gateway = (host, int(port))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.accepted = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self.accepted += 1
                self._threads.append(threading.Thread(target=self._forward, args=(client,)))
                self._threads[-1].start()

    def _forward(self, client: socket.socket) -> None:
        time.sleep(1)  # is what a busy gateway does
        with client, socket.create_connection(self._gateway) as gateway:
            sending = threading.Thread(target=_pump, args=(client, gateway))
            sending.start()
            _pump(gateway, client)
            sending.join()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def test_a_busy_gateway_is_given_time_to_answer_a_connection(reach: Reach) -> None:
    reached = reach(Clock())
    with closing(Busy(reached.gateway.address)) as busy:
        reached.arguments["address"] = busy.address
        request = datasets.CreateDatasetRequest(name="Calls")
        reached.result(lambda _, client: client.datasets.CreateDataset(request))
        assert busy.accepted == 1
