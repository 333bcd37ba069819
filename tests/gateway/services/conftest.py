"""The fixture of a gateway that searches."""

from contextlib import AsyncExitStack

import pytest

from earmark.storage.database import Database
from tests.gateway import model_rows, rows
from tests.gateway import scripted_trainer as script
from tests.gateway.detecting_trainer import DetectingTrainer
from tests.gateway.jobs import gateway
from tests.gateway.searching import Here


@pytest.fixture
async def stack(database_url):  # noqa: ARG001 the database outlives what uses it
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def here(stack, database_url, tmp_path):
    async def start(
        trainer: DetectingTrainer | None = None, *, files: int = 3, active: bool = True, **environment
    ):
        trainer = trainer or DetectingTrainer()
        async with Database(database_url) as database, database.transaction() as connection:
            model_id = str(await model_rows.model(connection, active=active))
            built = await rows.dataset(connection, files=files, frontends=("1",))
        address = await stack.enter_async_context(script.serving(trainer))
        channel = await stack.enter_async_context(gateway(database_url, tmp_path, address, **environment))
        return Here(channel, model_id, built, trainer)

    return start
