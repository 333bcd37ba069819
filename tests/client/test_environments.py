"""The wheel alone, in the environments of other people's backends: from the oldest libraries to the newest.

The environments are in build/, made anew when their lock files change; `make lock` writes these.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from earmark.gateway.server import running
from earmark.gateway.settings import GatewaySettings
from protos import generate
from protos.environment import QUIETLY, locked

ROOT = Path(__file__).parents[2]
LOCKS = {lock.stem: lock for lock in (ROOT / "tests" / "client" / "environments").glob("*.lock")}
CALLER = Path(__file__).with_name("caller.py")

THEIR_PROTO = """
syntax = "proto3";
package theirs.v1;
import "buf/validate/validate.proto";
message Thing { string name = 1 [(buf.validate.field).string.min_len = 3]; }
"""
THEIR_STUBS = "import thing_pb2"
OUR_STUBS = "import earmark.client.cli, earmark.v1.dataset_service_pb2"
BOTH_WORK = """
from buf.validate import validate_pb2
assert thing_pb2.Thing.DESCRIPTOR.fields[0].GetOptions().Extensions[validate_pb2.field].string.min_len == 3
assert earmark.v1.dataset_service_pb2.CreateDatasetRequest(name="Calls").SerializeToString()
"""
INSTALLED_FILES = """
import json
from importlib.metadata import distribution
print(json.dumps([str(file) for file in distribution("earmark").files]))
"""


@dataclass(frozen=True)
class Environment:
    """An environment with the packages of a lock file and Earmark's wheel, without its extras."""

    lock: Path
    python: Path

    def run(self, *arguments: object, path: Path | None = None) -> str:
        """Run its interpreter and return what it prints. `path` is its PYTHONPATH.

        Stubs that its protobuf is too old for, or will soon be too new for, are an error: a UserWarning.
        """
        done = subprocess.run(
            [self.python, "-P", "-W", "error::UserWarning", *arguments],
            env=clean() | ({"PYTHONPATH": str(path)} if path else {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def clean() -> dict[str, str]:
    """The variables of this process without those that choose what Python imports."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def version_in(lock: Path, name: str) -> str:
    (version,) = re.findall(rf"^{name}==([\d.]+)", lock.read_text(), re.MULTILINE)
    return version


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    subprocess.run(build, cwd=ROOT, env=clean(), capture_output=True, check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module", params=["oldest", "middle", "newest"])
def environment(request, wheel) -> Environment:
    lock = LOCKS[request.param]
    python = locked(ROOT / "build" / "client-environments" / lock.stem, lock)
    pip = [sys.executable, "-m", "pip", "--python", python, "install", *QUIETLY]
    subprocess.run([*pip, "--no-deps", "--force-reinstall", wheel], check=True)
    return Environment(lock, python)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> Path:
    """A folder with another package, which has its own copy of buf.validate."""
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "thing.proto").write_text(THEIR_PROTO)
    include = [f"-I{folder}", f"-I{generate.THIRD_PARTY}"]
    generate.protoc(*include, f"--python_out={folder}", "thing.proto", generate.RULES)
    return folder


def test_the_lock_files_name_no_registry() -> None:
    assert len(LOCKS) == 3
    for lock in LOCKS.values():
        assert re.findall(r"\S*://\S+|--index-url", lock.read_text()) == []


def test_the_oldest_environment_has_the_oldest_versions_that_the_package_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for dependency in project["dependencies"]:
        name, minimum = re.match(r"([\w-]+)>=([\d.]+)", dependency).groups()
        assert f"{version_in(LOCKS['oldest'], name)}.".startswith(f"{minimum}."), name


def test_the_wheel_installs_one_name_and_one_command(environment) -> None:
    files = [Path(file) for file in json.loads(environment.run("-c", INSTALLED_FILES))]
    (information,) = {file.parts[0] for file in files if file.name == "METADATA"}

    assert re.fullmatch(r"earmark-[\d.]+\.dist-info", information)
    assert {file.parts[0] for file in files} - {information} == {"earmark", ".."}
    assert [file.name for file in files if file.parts[0] == ".."] == ["earmark"]


@pytest.mark.parametrize(
    "order", [[OUR_STUBS, THEIR_STUBS], [THEIR_STUBS, OUR_STUBS]], ids=["second", "first"]
)
def test_another_package_may_have_its_own_rules(environment, theirs, order) -> None:
    environment.run("-c", "\n".join([*order, BOTH_WORK]), path=theirs)


def test_the_command_starts(environment) -> None:
    folder = environment.run("-m", "earmark.client.cli", "protos").strip()

    assert (Path(folder) / "earmark" / "v1" / "audio_service.proto").is_file()


async def test_a_caller_works(environment, database_url, tmp_path) -> None:
    recording = tmp_path / "call.wav"
    recording.write_bytes(bytes(range(256)) * 10_000)
    settings = GatewaySettings(port=0, database_url=database_url, data_dir=tmp_path, trainers="")

    async with running(settings) as port:
        printed = await asyncio.to_thread(environment.run, CALLER, f"127.0.0.1:{port}", recording)

    report = json.loads(printed)
    assert report["versions"] == {name: version_in(environment.lock, name) for name in ("grpcio", "protobuf")}
    assert report["dataset"] == "Calls"
    assert report["downloaded"] is True
    assert report["explained"].startswith("INVALID_ARGUMENT (INVALID_FIELD):\n  - name: ")
    assert report["refused_in_asyncio"] == "NOT_FOUND"
