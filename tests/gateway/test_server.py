"""The gateway as a server under load."""

import asyncio

from grpc import StatusCode

from earmark.v1 import training_service_pb2 as pb
from earmark.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.gateway.calls import NOWHERE


async def test_thousands_of_concurrent_calls_are_all_served(gateway) -> None:
    stub = TrainingServiceStub(gateway.channel)
    request = pb.GetTrainingJobRequest(training_job_id=NOWHERE)
    errors = await asyncio.gather(
        *(stub.GetTrainingJob(request) for _ in range(4_000)), return_exceptions=True
    )
    assert {error.code() for error in errors} == {StatusCode.NOT_FOUND}
