"""A trainer that accepts every job and then fails it: only the dispatch is measured."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf import any_pb2
from google.rpc import code_pb2, status_pb2
from grpc import aio
from grpc_status import rpc_status

from earmark.gateway.server import SERVER_OPTIONS
from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.internal.v1 import trainer_service_pb2_grpc

SLOTS = 8


class IdleTrainer(trainer_service_pb2_grpc.TrainerServiceServicer):
    """A trainer that always has free slots, until `full` is set."""

    def __init__(self) -> None:
        self.full = asyncio.Event()

    async def Train(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:  # noqa: N802
        await anext(requests)
        yield pb.TrainResponse(accepted=pb.TrainResponse.Accepted(device="none"))
        async for _file in requests:
            pass
        failure = any_pb2.Any()
        failure.Pack(pb.Failure(kind=pb.FAILURE_KIND_DATA))
        status = status_pb2.Status(
            code=code_pb2.FAILED_PRECONDITION, message="this trainer only accepts", details=[failure]
        )
        await context.abort_with_status(rpc_status.to_status(status))

    async def WatchCapacity(self, _request: Any, _context: Any) -> AsyncIterator[Any]:  # noqa: N802
        yield pb.WatchCapacityResponse(
            capacity=pb.Capacity(device="none", training_slots=SLOTS, free_training_slots=SLOTS)
        )
        await self.full.wait()
        yield pb.WatchCapacityResponse(capacity=pb.Capacity(device="none", training_slots=SLOTS))
        await asyncio.Event().wait()


@asynccontextmanager
async def serving(trainer: IdleTrainer) -> AsyncIterator[str]:
    """Serves the trainer and yields its address."""
    server = aio.server(options=SERVER_OPTIONS)
    trainer_service_pb2_grpc.add_TrainerServiceServicer_to_server(trainer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
