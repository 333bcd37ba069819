"""What a service says at its start about its object store, and how it waits for one that is away."""

import asyncio
import os

import pytest
import structlog

from earmark.storage import store_check
from earmark.storage.objects import ObjectStore, ObjectStoreError, local_folder
from earmark.storage.store_check import check_store
from tests import s3

pytestmark = pytest.mark.usefixtures("server")
NAMES = ("a#b", "a?b", "a%20b", "100%", "a b", "naïve ☃", "a:b")


@pytest.fixture
def server(monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with s3.serving() as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        yield server


async def problem(url: str) -> str:
    with pytest.raises(ObjectStoreError) as caught:
        await check_store(url, deletes=True, patience_seconds=0)
    assert "\n" not in str(caught.value)
    assert "Debug source" not in str(caught.value)
    return str(caught.value)


async def test_a_store_that_works_is_left_as_it_was(server, tmp_path) -> None:
    await check_store("s3://audio", deletes=True)
    assert server.objects == {}
    await check_store(str(tmp_path / "objects"), deletes=True)
    assert list((tmp_path / "objects").iterdir()) == []


async def test_a_bucket_that_does_not_exist() -> None:
    assert "the object store s3://nowhere does not exist: create the bucket" in await problem("s3://nowhere")


async def test_a_check_that_does_not_delete_writes_one_object(server) -> None:
    for _ in range(2):
        await check_store("s3://audio", deletes=False)
    assert list(server.objects) == ["/audio/probes/kept"]


async def test_wrong_credentials(monkeypatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong")
    assert "refuses these credentials" in (found := await problem("s3://audio"))
    assert "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in found


async def test_plain_http(monkeypatch) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    assert "set AWS_ALLOW_HTTP=true" in await problem("s3://audio")


async def test_a_store_that_is_away(monkeypatch, unused_tcp_port) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_tcp_port}")
    assert "does not answer: check that it runs, and AWS_ACCESS_KEY_ID" in await problem("s3://audio")


async def test_a_store_that_comes_back_is_waited_for(monkeypatch, unused_tcp_port) -> None:
    waits = asyncio.Event()
    logger = structlog.wrap_logger(structlog.PrintLogger(), processors=[lambda *_: waits.set() or "waits"])
    monkeypatch.setattr(store_check, "log", logger)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_tcp_port}")
    checking = asyncio.create_task(check_store("s3://audio", deletes=True, patience_seconds=60))
    await waits.wait()
    with s3.serving(unused_tcp_port):
        await checking


async def test_missing_settings_of_other_clouds(monkeypatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    assert "set AZURE_STORAGE_ACCOUNT_NAME" in await problem("az://audio")
    assert "neither a folder nor s3://" in await problem("s4://audio")


async def test_a_folder_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").touch()
    found = await problem(str(tmp_path / "file" / "objects"))
    assert f"folder {tmp_path}/file/objects cannot be used: [Errno 20] Not a directory" in found


@pytest.mark.parametrize("name", NAMES)
async def test_a_folder_is_the_same_for_its_path_and_its_url(name, tmp_path) -> None:
    folder = tmp_path / name
    ObjectStore.open(str(folder)).put("one/key", b"1")
    assert (folder / "one" / "key").read_bytes() == b"1"
    urls = [folder.as_uri(), folder.as_uri().replace("file://", "file://localhost")]
    if "%20" not in name:
        urls.append(f"file://{folder}")  # as people write it, without escapes
    for url in urls:
        assert local_folder(url) == folder
        assert list(ObjectStore.open(url).keys("")) == ["one/key"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


async def test_a_file_url_with_a_host_is_refused() -> None:
    assert "file:///data/objects" in await problem("file://data/objects")
    with pytest.raises(ObjectStoreError, match="absolute path"):
        ObjectStore.open("file://data/objects")
