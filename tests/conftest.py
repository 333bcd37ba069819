"""One PostgreSQL server for the whole run, one migrated template on it, one database per test."""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

from earmark.storage.embedded import EmbeddedPostgres
from earmark.storage.migrations import migrate
from tests import typechecking

# In this process, the shapes, the dtypes and all other types of these modules are checked at every call.
TYPE_CHECKED = (
    "chunks",
    "data",
    "export",
    "features",
    "learning",
    "model",
    "network",
    "pytrees",
    "regions",
    "scoring",
)
install_import_hook([f"earmark.trainer.{name}" for name in TYPE_CHECKED], f"{typechecking.__name__}.check")

# A busy machine is no finding.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# Every trainer of the run, in this process and in others, compiles what no other has compiled before.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _COMPILED = tempfile.TemporaryDirectory(prefix="earmark-compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _COMPILED.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

# The files that take longest, which are begun first, so that no worker has one left when the others are done.
LONGEST = (
    "docs/test_guides.py",
    "system/test_promises.py",
    "fuzz/test_fuzz.py",
    "learning/test_channels.py",
    "learning/test_precompile.py",
    "system/test_kills.py",
    "service/test_ray.py",
    "system/test_up.py",
)

# Nothing here outlives the run, so nothing waits for the disk.
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """EARMARK_TEST_DATABASE_URL, or an embedded server."""
    if url := os.environ.get("EARMARK_TEST_DATABASE_URL"):
        yield url
        return
    async with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), settings=FAST) as server:
        yield server.dsn


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template(server_url: str) -> AsyncIterator[str]:
    """The name of a migrated database that nobody is connected to."""
    async with _database(server_url) as url:
        await migrate(url)
        yield _name(url)


@pytest_asyncio.fixture
async def database_url(server_url: str, template: str) -> AsyncIterator[str]:
    """A migrated database of this test's own."""
    async with _database(server_url, template) as url:
        yield url


@pytest_asyncio.fixture
async def empty_database_url(server_url: str) -> AsyncIterator[str]:
    """A database of this test's own with nothing in it."""
    async with _database(server_url) as url:
        yield url


@asynccontextmanager
async def _database(server_url: str, template: str = "template1") -> AsyncIterator[str]:
    name = f"earmark_test_{uuid4().hex}"
    await _execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        await _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
