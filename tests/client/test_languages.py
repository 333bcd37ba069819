"""Clients without Earmark's package, which docs/clients.md shows parts of, on a real gateway.

Their packages are in build/, made anew when the lock files change.
"""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from grpc import aio

from earmark.gateway.server import running
from earmark.gateway.settings import GatewaySettings
from earmark.internal.v1 import trainer_service_pb2 as pb
from protos import archive, generate
from protos.environment import locked, made
from tests.client.whole_trainer import DURATION_MS, WholeTrainer
from tests.gateway.jobs import build_one, create
from tests.gateway.scripted_trainer import Call, accepted, epoch, serving, whole

FOLDER = Path(__file__).parent
BUILD = FOLDER.parents[1] / "build"
NODE = FOLDER / "node"
RECORDING = bytes(range(256)) * 12_000  # about 3 MB, so that it takes several parts

needs_node = pytest.mark.skipif(shutil.which("npm") is None, reason="node is not installed")


async def start(*command: object, **environment: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *map(str, command),
        env=os.environ | environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
    )


async def printed(process: asyncio.subprocess.Process) -> list[str]:
    """Wait for the program to succeed; return the lines that it prints from now on."""
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode() + out.decode()
    return out.decode().splitlines()


@pytest.fixture(scope="module")
def protos(tmp_path_factory) -> Path:
    """The folder that the archive of the .proto files has."""
    folder = tmp_path_factory.mktemp("protos")
    archive.write(folder / "earmark-protos.tar.gz")
    shutil.unpack_archive(folder / "earmark-protos.tar.gz", folder, filter="data")
    return folder / "earmark-protos"


@pytest.fixture(scope="module")
def node(protos) -> Path:
    """A folder with the node clients, their packages, and the code that protoc-gen-es generates."""
    folder = BUILD / "client-node"

    def install() -> None:
        folder.mkdir()
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copyfile(NODE / name, folder / name)
        npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
        subprocess.run(npm, cwd=folder, capture_output=True, check=True)

    made(folder, NODE / "package-lock.json", install)
    for program in (*NODE.glob("*.mjs"), *NODE.glob("*.ts"), NODE / "tsconfig.json"):
        shutil.copyfile(program, folder / program.name)
    shutil.rmtree(folder / "gen", ignore_errors=True)
    (folder / "gen").mkdir()
    plugin = f"--plugin=protoc-gen-es={folder / 'node_modules/.bin/protoc-gen-es'}"
    options = [f"--es_out={folder / 'gen'}", "--es_opt=target=ts,import_extension=js"]
    files = sorted(str(path.relative_to(protos)) for path in protos.rglob("*.proto"))
    generate.protoc(f"-I{protos}", plugin, *options, *files)
    return folder


@pytest.fixture(scope="module")
def plain(protos) -> tuple[Path, Path]:
    """An interpreter without Earmark's package, and a folder with stubs made from the archive."""
    python = locked(BUILD / "client-environments" / "plain", FOLDER / "environments" / "newest.lock")
    stubs = protos.with_name("stubs")
    stubs.mkdir()
    files = [str(path.relative_to(protos)) for path in protos.rglob("*.proto") if "google" not in path.parts]
    generate.protoc(f"-I{protos}", f"--python_out={stubs}", f"--grpc_python_out={stubs}", *files)
    return python, stubs


@dataclass
class Watched:
    """Programs that follow a job while the gateway is restarted."""

    settings: GatewaySettings
    trainer: WholeTrainer

    async def by(self, command: Callable[[str, str], list[object]], **environment: str) -> str:
        """Start the program, given the gateway's address and a job's id, and return what it prints first.

        Afterwards it must print the revision of each event, one per line.
        """
        async with serving(self.trainer) as trainers:
            settings = self.settings.model_copy(update={"trainers": trainers})
            async with running(settings) as port, aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                job = await create(channel, await build_one(settings.database_url))
                process = await start(*command(f"127.0.0.1:{port}", job.id), **environment)
                lines = [(await process.stdout.readline()).decode().strip()]
                while lines[-1] not in ("3", ""):
                    lines.append((await process.stdout.readline()).decode().strip())
            async with running(settings.model_copy(update={"port": port})):
                lines += await printed(process)
        first = [line for line in lines if not line.isdecimal()]
        revisions = [int(line) for line in lines if line.isdecimal()]
        assert len(self.trainer.calls) == 2
        assert revisions == list(range(1, len(revisions) + 1))
        return "".join(first)


async def interrupted(_call: Call) -> AsyncIterator[pb.TrainResponse]:
    """The script of an attempt that does not end by itself."""
    yield accepted()
    yield epoch(1)
    await asyncio.Event().wait()


@pytest.fixture
def settings(database_url, tmp_path) -> GatewaySettings:
    return GatewaySettings(port=0, database_url=database_url, data_dir=tmp_path)


@pytest.fixture
def watched(settings) -> Watched:
    return Watched(settings, WholeTrainer(interrupted, whole))


def test_the_lock_file_names_no_registry() -> None:
    """npm writes it so, because of .npmrc."""
    packages = json.loads((NODE / "package-lock.json").read_text())["packages"].values()

    assert all("integrity" in package for package in packages if "version" in package)
    assert [package["resolved"] for package in packages if "resolved" in package] == []


@needs_node
async def test_node_the_whole_way(node, protos, settings, tmp_path) -> None:
    recording = tmp_path / "call.wav"
    recording.write_bytes(RECORDING)
    trainer = WholeTrainer(whole)

    async with (
        serving(trainer) as trainers,
        running(settings.model_copy(update={"trainers": trainers})) as port,
    ):
        program = await start("node", node / "guide.mjs", f"127.0.0.1:{port}", protos, recording)
        (line,) = await printed(program)

    report = json.loads(line)
    assert report["processingStatus"] == "AUDIO_PROCESSING_STATUS_READY"
    assert report["refused"][:2] == [9, "PREREQUISITES_NOT_MET"]
    assert "ANNOTATION_SET_PUBLISHED" in report["refused"][2]
    assert report["invalid"] == ["INVALID_FIELD", ["name"]]
    assert report["revisions"] == list(range(1, len(report["revisions"]) + 1))
    assert report["thresholds"] == {"glitch": 0.4}
    assert report["detections"] == [["glitch", 1200, 1350]]
    assert report["durationMs"] == DURATION_MS
    assert trainer.detected_bytes == len(RECORDING)


@needs_node
async def test_a_watch_in_node(node, protos, watched) -> None:
    await watched.by(lambda address, job_id: ["node", node / "watch.mjs", address, protos, job_id])


@needs_node
async def test_node_with_generated_types(node, watched) -> None:
    await printed(await start(node / "node_modules" / ".bin" / "tsc", "--project", node))

    line = await watched.by(lambda address, job_id: ["node", node / "typed.js", address, job_id])

    report = json.loads(line)
    assert report["dataset"] == "Calls"
    assert report["refused"].startswith("InvalidArgument (INVALID_FIELD)\nname: ")


async def test_plain_stubs(plain, watched) -> None:
    python, stubs = plain
    program = FOLDER / "plain" / "client.py"

    line = await watched.by(lambda *arguments: [python, "-P", program, *arguments], PYTHONPATH=str(stubs))

    report = json.loads(line)
    assert report["dataset"] == "Calls"
    assert report["reason"] == "INVALID_FIELD"
    assert list(report["fields"]) == ["name"]
