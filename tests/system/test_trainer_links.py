"""A gateway and a trainer that share a secret, do not, or know each other by certificates."""

import asyncio

from rich.console import Console

from earmark.client.cli.tables import trainer_table
from earmark.v1 import admin_service_pb2 as admin
from earmark.v1.admin_service_pb2_grpc import AdminServiceStub
from tests.certificates import Authority
from tests.gateway.calls import opened
from tests.gateway.jobs import build_one, create
from tests.trainer.process import running

TINY = ("--network", "tiny", "--precompile", "false")
SECONDS = 60


async def trainer_of(gateway, wanted) -> admin.Trainer:
    """The gateway's only trainer, once it is as wanted."""
    stub = AdminServiceStub(gateway.channel)
    while True:
        (trainer,) = (await stub.ListTrainers(admin.ListTrainersRequest())).trainers
        if wanted(trainer):
            return trainer
        await asyncio.sleep(0.05)


async def test_a_gateway_whose_secret_is_refused_says_so_and_its_jobs_wait(database_url, tmp_path) -> None:
    built = await build_one(database_url)
    with running(tmp_path / "trainer", *TINY) as trainer:
        objects = str(tmp_path / "trainer" / "objects")
        refused = {"trainers": trainer.address, "object_store": objects}
        async with asyncio.timeout(SECONDS), opened(database_url, tmp_path / "gateway", **refused) as gateway:
            shown = await trainer_of(gateway, lambda each: "refuses" in each.problem)
            assert not shown.is_available
            console = Console(width=400, record=True)
            console.print(trainer_table([shown]))
            text = console.export_text()
            assert "is not signed with this trainer's secret" in text
            assert "EARMARK_TRAINER_SECRET" in text
            await create(gateway.channel, built)
            await trainer_of(gateway, lambda each: "refuses" in each.problem)
            assert await gateway.count("training_attempts") == 0
        secret = {"trainer_secret": trainer.secret.decode()}
        async with (
            asyncio.timeout(SECONDS),
            opened(database_url, tmp_path / "gateway", **refused, **secret) as gateway,
        ):
            await trainer_of(gateway, lambda each: each.is_available)


async def test_gateway_and_trainer_know_each_other_by_their_certificates(database_url, tmp_path) -> None:
    ours, strangers = Authority(tmp_path), Authority(tmp_path, "strangers")
    of_trainer, of_gateway = (
        ours.files("trainer", "earmark-trainer"),
        ours.files("gateway", "earmark-gateway"),
    )
    of_stranger = strangers.files("stranger", "gateway")
    flags = ("--trainer-tls-certificate", of_trainer.certificate, "--trainer-tls-key", of_trainer.key)
    with running(
        tmp_path / "trainer", *TINY, *map(str, flags), "--trainer-tls-ca", str(ours.path)
    ) as trainer:
        assert trainer.secret == b""
        chosen = {
            "trainers": trainer.address,
            "object_store": str(tmp_path / "trainer" / "objects"),
            "trainer_tls_ca": str(ours.path),
            "trainer_tls_name": "earmark-trainer",
        }
        for files, expected in ((of_gateway, True), (of_stranger, False)):
            pair = {"trainer_tls_certificate": str(files.certificate), "trainer_tls_key": str(files.key)}
            folder = tmp_path / files.key.stem
            async with asyncio.timeout(SECONDS), opened(database_url, folder, **chosen, **pair) as gateway:
                await trainer_of(
                    gateway,
                    lambda each, expected=expected: (
                        each.is_available if expected else "cannot be reached" in each.problem
                    ),
                )
            assert not list(folder.glob("trainer-secret"))
