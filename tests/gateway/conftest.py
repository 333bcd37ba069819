"""A real gateway in this process, on the test's own database and folder, and a channel to it."""

import pytest_asyncio

from tests.gateway.calls import opened


@pytest_asyncio.fixture
async def gateway(database_url, tmp_path):
    async with opened(database_url, tmp_path) as running:
        yield running
