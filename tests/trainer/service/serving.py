"""A trainer in the test's own process, whose workers are processes of their own."""

import asyncio
from contextlib import asynccontextmanager

import grpc

from earmark.internal.v1 import trainer_service_pb2_grpc as pb_grpc
from earmark.trainer.service.server import serve
from earmark.trainer.settings import TrainerSettings
from earmark.trainer_secret import find_secrets
from tests.trainer.grants import granted


@asynccontextmanager
async def serving(settings):
    """Yields a stub of a trainer with these settings."""
    stop, address = asyncio.Event(), asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(settings, stop, address.set_result))
    try:
        async with grpc.aio.insecure_channel(await address) as channel:
            (secret,) = find_secrets(settings.trainer_secret, settings.data_dir)
            yield pb_grpc.TrainerServiceStub(granted(channel, secret))
    finally:
        stop.set()
        await server


def settings(trainer, **changes):
    """Settings of a second trainer with the objects of the first."""
    values = {"data_dir": trainer.data_dir, "trainer_port": 0, "network": "tiny", "precompile": False}
    return TrainerSettings(**{**values, **changes})
