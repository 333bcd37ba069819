"""Encrypted connections of clients: certificates of both sides, and their replacement while watches run."""

import asyncio
import json
import re
import shlex
import ssl
import subprocess
import sys
from functools import partial
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

import earmark.client.aio
from earmark import tls
from earmark.client import connect
from earmark.gateway.server import running
from earmark.gateway.settings import GatewaySettings
from earmark.v1 import admin_service_pb2 as admin
from earmark.v1 import dataset_service_pb2 as datasets
from earmark.v1 import training_service_pb2 as training
from tests.certificates import Authority

SECONDS = 20


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.05)


@pytest.fixture
def ours(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def shown(ours):
    return ours.files("gateway")


def settings(database_url, folder, files, **others) -> GatewaySettings:
    return GatewaySettings(
        port=0,
        database_url=database_url,
        data_dir=folder / "data",
        trainers="",
        heartbeat_seconds=0.1,
        tls_certificate=str(files.certificate),
        tls_key=str(files.key),
        **others,
    )


def serial_number(port: int, ca: Path) -> int:
    """Of the certificate that a new connection sees."""
    pem = ssl.get_server_certificate(("127.0.0.1", port), ca_certs=str(ca))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


async def until_serial(port: int, ca: Path, certificate) -> None:
    wanted = x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes()).serial_number
    while await asyncio.to_thread(serial_number, port, ca) != wanted:  # noqa: ASYNC110 nothing says when
        await asyncio.sleep(0.05)


async def until_problem(client, wanted: str) -> None:
    while True:
        problem = (await client.admin.GetCapacity(admin.GetCapacityRequest())).certificate_problem
        if (wanted in problem) if wanted else not problem:
            return
        await asyncio.sleep(0.05)


async def until_health(client, wanted) -> None:
    watch = health_pb2_grpc.HealthStub(client.channel).Watch(
        health_pb2.HealthCheckRequest(service="earmark.tls")
    )
    async for reply in watch:
        if reply.status == wanted:
            return


async def test_a_watch_goes_on_while_the_certificate_is_replaced(database_url, tmp_path, ours, shown) -> None:
    serving = health_pb2.HealthCheckResponse
    async with asyncio.timeout(SECONDS), running(settings(database_url, tmp_path, shown)) as port:
        client = earmark.client.aio.connect(f"127.0.0.1:{port}", ca=str(ours.path))
        async with client:
            watch = aiter(client.training.WatchTrainingJobs(training.WatchTrainingJobsRequest()))
            await anext(watch)
            new = ours.issue()
            shown.write(new)
            await until_serial(port, ours.path, new)
            shown.key.write_text("no key")
            await until_problem(client, "has no private key in PEM form")
            await until_health(client, serving.NOT_SERVING)
            assert (
                await asyncio.to_thread(serial_number, port, ours.path)
                == x509.load_pem_x509_certificate(new.cert_chain_pems[0].bytes()).serial_number
            ), "the one before stays"
            newest = ours.issue()
            shown.write(newest)
            await until_serial(port, ours.path, newest)
            await until_problem(client, "")
            await until_health(client, serving.SERVING)
            for _ in range(3):
                await anext(watch)


async def test_with_an_authority_of_clients_only_they_are_answered(
    database_url, tmp_path, ours, shown
) -> None:
    theirs = Authority(tmp_path, "clients")
    known, stranger = theirs.files("known", "alice"), ours.files("stranger", "mallory")
    chosen = settings(database_url, tmp_path, shown, tls_client_ca=str(theirs.path))
    async with asyncio.timeout(SECONDS), running(chosen) as port:

        def created(client) -> str:
            request = datasets.CreateDatasetRequest(name="x", artifact_types=[{"name": "dropout"}])
            return client.datasets.CreateDataset(request, timeout=3).dataset.id

        def answer(**files) -> str | None:
            with connect(f"127.0.0.1:{port}", ca=str(ours.path), **files) as client:
                try:
                    return created(client)
                except grpc.RpcError:
                    return None

        for files, is_answered in ((known, True), (stranger, False), (None, False)):
            pair = (
                {}
                if files is None
                else {"client_certificate": str(files.certificate), "client_key": str(files.key)}
            )
            assert bool(await asyncio.to_thread(answer, **pair)) is is_answered


async def test_a_pem_in_the_environment_is_as_good_as_a_file(database_url, tmp_path, ours, shown) -> None:
    chosen = settings(database_url, tmp_path, shown).model_copy(
        update={"tls_certificate": shown.certificate.read_text(), "tls_key": shown.key.read_text()}
    )
    async with running(chosen) as port:
        async with earmark.client.aio.connect(f"127.0.0.1:{port}", ca=ours.path.read_text()) as client:
            await client.admin.GetCapacity(admin.GetCapacityRequest())
        # Without TLS nothing is answered.
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            with pytest.raises(aio.AioRpcError):
                await stub.Check(health_pb2.HealthCheckRequest(), timeout=2)


BUF = Path(sys.executable).with_name("buf")
PAGE = Path(__file__).parents[2] / "docs" / "security.md"


def command_of_page(name: str, **files: str) -> list[str]:
    """The words of the command of this name in the page, with other files and another port."""
    (block,) = re.findall(rf"^    {name}.*?(?=\n\n)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [files.get(word, word) for word in shlex.split(block.replace("\\\n", " "))]


@pytest.mark.skipif(not BUF.exists(), reason="buf is not installed")
async def test_buf_curl_reaches_it_as_the_page_about_security_says(
    database_url, tmp_path, ours, shown
) -> None:
    theirs = Authority(tmp_path, "clients")
    known = theirs.files("client", "alice")
    chosen = settings(database_url, tmp_path, shown, tls_client_ca=str(theirs.path))
    async with running(chosen) as port:
        files = {"buf": BUF, "ca.pem": ours.path, "client.pem": known.certificate, "client.key": known.key}
        words = command_of_page("buf curl", **{word: str(path) for word, path in files.items()})
        command = [word.replace("localhost:50051", f"localhost:{port}") for word in words]
        run = partial(subprocess.run, capture_output=True, text=True, check=False, timeout=SECONDS)
        done = await asyncio.to_thread(run, command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["dataset"]["name"] == "Calls"
