"""Clients without Earmark's package, which docs/clients.md shows parts of, on a real gateway.

Their packages are in build/, made anew when the lock files change.
"""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import pytest_asyncio
from grpc import aio

from earmark.gateway.server import running
from earmark.gateway.settings import GatewaySettings
from protos import archive, generate
from protos.environment import locked, made
from tests.client.whole_trainer import DURATION_MS, WholeTrainer
from tests.gateway.jobs import build_one, create
from tests.gateway.scripted_trainer import serving, whole

FOLDER = Path(__file__).parent
BUILD = FOLDER.parents[1] / "build"
NODE = FOLDER / "node"
RECORDING = bytes(range(256)) * 12_000  # about 3 MB, so that it takes several parts

needs_node = pytest.mark.skipif(shutil.which("npm") is None, reason="node is not installed")


async def run(*command: object, **environment: str) -> str:
    """Run a program and return what it prints."""
    words = [str(word) for word in command]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *words, env=os.environ | environment, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    printed, errors = await process.communicate()
    assert process.returncode == 0, errors.decode() + printed.decode()
    return printed.decode()


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


@pytest.fixture
def trainer() -> WholeTrainer:
    return WholeTrainer(whole)


@pytest_asyncio.fixture
async def address(database_url, tmp_path, trainer):
    """The address of a gateway with one trainer, which runs one job."""
    async with serving(trainer) as trainers:
        settings = GatewaySettings(port=0, database_url=database_url, data_dir=tmp_path, trainers=trainers)
        async with running(settings) as port:
            yield f"127.0.0.1:{port}"


@pytest_asyncio.fixture
async def job_id(address, database_url) -> str:
    async with aio.insecure_channel(address) as channel:
        return (await create(channel, await build_one(database_url))).id


def test_the_lock_file_names_no_registry() -> None:
    """npm writes it so, because of .npmrc."""
    packages = json.loads((NODE / "package-lock.json").read_text())["packages"].values()

    assert all("integrity" in package for package in packages if "version" in package)
    assert [package["resolved"] for package in packages if "resolved" in package] == []


@needs_node
async def test_node_the_whole_way(node, protos, address, tmp_path, trainer) -> None:
    (tmp_path / "call.wav").write_bytes(RECORDING)

    report = json.loads(await run("node", node / "guide.mjs", address, protos, tmp_path / "call.wav"))

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
async def test_node_with_generated_types(node, address, job_id) -> None:
    await run(node / "node_modules" / ".bin" / "tsc", "--project", node)

    report = json.loads(await run("node", node / "typed.js", address, job_id))

    assert report["dataset"] == "Calls"
    assert report["refused"].startswith("InvalidArgument (INVALID_FIELD)\nname: ")
    assert report["revisions"] == list(range(1, len(report["revisions"]) + 1))


async def test_plain_stubs(plain, address, job_id) -> None:
    python, stubs = plain

    report = json.loads(
        await run(python, "-P", FOLDER / "plain" / "client.py", address, job_id, PYTHONPATH=str(stubs))
    )

    assert report["dataset"] == "Calls"
    assert report["reason"] == "INVALID_FIELD"
    assert list(report["fields"]) == ["name"]
    assert report["revisions"] == list(range(1, len(report["revisions"]) + 1))
