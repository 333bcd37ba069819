"""The fixture of a real gateway in this process, with the test's own database and folder."""

import pytest_asyncio

from tests.gateway.calls import opened


@pytest_asyncio.fixture
async def gateway(database_url, tmp_path):
    async with opened(database_url, tmp_path) as running:
        yield running
