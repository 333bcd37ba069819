"""The channel: it retries unary calls, and gives changes a request_id that makes retries safe."""

import json
import uuid
from typing import Any

import grpc

from earmark.client.channel import channel_options
from earmark.v1 import dataset_service_pb2 as datasets
from earmark.v1 import dataset_service_pb2_grpc
from tests.client.small_gateway import Serve, refuse


class Flaky(dataset_service_pb2_grpc.DatasetServiceServicer):
    """Is UNAVAILABLE twice before it answers, and keeps every request."""

    def __init__(self) -> None:
        self.requests: list[datasets.CreateDatasetRequest] = []

    def CreateDataset(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.append(request)
        if len(self.requests) < 3:
            refuse(context, "UNAVAILABLE", "the database is unavailable", "DATABASE_UNAVAILABLE")
        return datasets.CreateDatasetResponse(dataset=datasets.Dataset(name=request.name))


def test_a_change_is_retried_under_one_request_id(serve: Serve) -> None:
    gateway = Flaky()
    request = datasets.CreateDatasetRequest(name="Calls")

    reply = serve(gateway).datasets.CreateDataset(request)

    assert reply.dataset.name == "Calls"
    assert len(gateway.requests) == 3
    (request_id,) = {sent.request_id for sent in gateway.requests}
    assert uuid.UUID(request_id).version == 4
    assert request.request_id == "", "the caller's message is not touched"


def test_the_callers_request_id_is_kept(serve: Serve) -> None:
    gateway = Flaky()
    request_id = str(uuid.uuid4())

    serve(gateway).datasets.CreateDataset(datasets.CreateDatasetRequest(name="Calls", request_id=request_id))

    assert {sent.request_id for sent in gateway.requests} == {request_id}


def test_streams_are_not_in_the_retry_policy() -> None:
    config = json.loads(dict(channel_options())["grpc.service_config"])
    names = {name["method"] for name in config["methodConfig"][0]["name"]}

    assert {"CreateTrainingJob", "GetModel", "ListAudioFiles"} <= names
    assert not names & {"UploadAudio", "DownloadAudio", "WatchAudioFiles", "WatchTrainingJob", "Detect"}
