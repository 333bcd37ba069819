"""One system for all fuzzers of the run."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.fuzz.system import System, started


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """A gateway, a trainer and PostgreSQL."""
    async with started(tmp_path_factory.mktemp("fuzz")) as running:
        yield running
