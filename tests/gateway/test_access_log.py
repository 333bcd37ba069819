"""The access log: the lines of a real gateway's log, as the process writes them."""

import json

import structlog
from grpc import aio

from earmark.gateway.logs import configure
from earmark.v1 import dataset_service_pb2
from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.collector import collecting
from tests.gateway.calls import NOWHERE, opened, refused
from tests.gateway.test_request_ids import trailing_id
from tests.gateway.two_tenants import OWN, USERS, bearer, installed

SECRET = "what a caller has written"


def lines(captured: str) -> list[dict]:
    """The lines of the calls, each of which has been one JSON object."""
    log = [json.loads(line) for line in captured.splitlines()]
    return [line for line in log if line["event"] == "call"]


async def test_each_call_has_a_line_that_names_its_caller_and_its_end(database_url, tmp_path, capfd) -> None:
    configure()
    try:
        async with installed(database_url, tmp_path, access_log=True) as here:
            made = await here.create_key(OWN, USERS)
            key = bearer(made.secret)
            datasets, stub = here.gateway.datasets, TrainingServiceStub(here.gateway.channel)
            create = dataset_service_pb2.CreateDatasetRequest(
                name=SECRET, artifact_types=[{"name": "glitch"}]
            )
            created = datasets.CreateDataset(create, metadata=key)
            await created
            get = datasets.GetDataset(dataset_service_pb2.GetDatasetRequest(dataset_id=NOWHERE), metadata=key)
            await refused(get, "NOT_FOUND", "NOT_FOUND")
            stranger = datasets.ListDatasets(
                dataset_service_pb2.ListDatasetsRequest(), metadata=bearer("em_")
            )
            await refused(stranger, "UNAUTHENTICATED", "API_KEY_INVALID")
            watch = stub.WatchTrainingJobs(pb.WatchTrainingJobsRequest(), metadata=key)
            await watch.initial_metadata()
            watch.cancel()
            ids = [await trailing_id(call) for call in (created, get, stranger)]
            ids.append(dict(await watch.initial_metadata())["x-request-id"])
    finally:
        structlog.reset_defaults()
    captured = capfd.readouterr().err
    found = {line["request"]: line for line in lines(captured)}
    of_calls = [found[request_id] for request_id in ids]
    assert [line["method"].rpartition("/")[2] for line in of_calls] == [
        *("CreateDataset", "GetDataset", "ListDatasets", "WatchTrainingJobs")
    ]
    assert [line["status"] for line in of_calls] == ["OK", "NOT_FOUND", "UNAUTHENTICATED", "CANCELLED"]
    assert [line.get("tenant") for line in of_calls] == [OWN, OWN, None, OWN]
    known = of_calls[0]
    assert (known["api_key_id"], known["caller"]) == (made.api_key.id, f"of {OWN}")
    assert (known["peer"], known["milliseconds"] >= 0) == ("ipv4:127.0.0.1", True)
    # One line for each call, also of a stream.
    assert len(lines(captured)) == len(found)
    assert not any(secret in captured for secret in (SECRET, made.secret, here.operator))


async def test_a_line_has_the_trace_and_there_is_none_unless_it_is_asked_for(database_url, tmp_path) -> None:
    async def called(**settings) -> list[dict]:
        with structlog.testing.capture_logs() as logs:
            async with opened(database_url, tmp_path, **settings) as gateway:
                call: aio.UnaryUnaryCall = gateway.datasets.ListDatasets(
                    dataset_service_pb2.ListDatasetsRequest()
                )
                await call
        return [line for line in logs if line["event"] == "call"]

    assert await called() == []
    with collecting() as collector:
        [line] = await called(access_log=True, traces_endpoint=collector.endpoint)
    assert [line["trace"]] == [span.trace for span in collector.spans]
