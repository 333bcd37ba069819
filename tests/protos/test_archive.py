"""The archive of the .proto files and the folder in the wheel: the public API, which compiles by itself."""

import tarfile
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import code_pb2, error_details_pb2, status_pb2
from typer.testing import CliRunner

from earmark.client.cli import app
from protos import archive, generate

OTHERS = {
    "buf/validate/validate.proto",
    "google/rpc/code.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("client")
    archive.write(folder / "earmark-protos.tar.gz")
    with tarfile.open(folder / "earmark-protos.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    return folder / "earmark-protos"


def protos(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.proto")}


def test_the_archive_has_the_public_api_and_what_it_imports(unpacked) -> None:
    public = {f"earmark/v1/{path.name}" for path in (generate.PROTOS / "earmark" / "v1").glob("*.proto")}
    assert len(public) > 10
    assert protos(unpacked) == public | OTHERS
    assert "Apache License" in (unpacked / "LICENSE.third-party").read_text()


def test_the_archive_compiles_alone(unpacked, tmp_path) -> None:
    generate.protoc(f"-I{unpacked}", f"--descriptor_set_out={tmp_path / 'all'}", *sorted(protos(unpacked)))

    compiled = FileDescriptorSet.FromString((tmp_path / "all").read_bytes())
    assert {file.name for file in compiled.file} == protos(unpacked)


def test_the_same_files_give_the_same_archive(unpacked, tmp_path) -> None:
    archive.write(tmp_path / "earmark-protos.tar.gz")

    written = unpacked.with_name("earmark-protos.tar.gz")
    assert (tmp_path / "earmark-protos.tar.gz").read_bytes() == written.read_bytes()


def test_the_command_prints_the_folder_of_the_package() -> None:
    folder = Path(CliRunner().invoke(app, ["protos"]).stdout.strip())

    assert (folder / "earmark" / "v1" / "training_service.proto").is_file()


@pytest.mark.parametrize("module", [code_pb2, error_details_pb2, status_pb2], ids=lambda m: m.__name__)
def test_the_vendored_errors_are_those_of_the_package(module) -> None:
    installed = Path(module.__file__).with_name(module.__name__.split(".")[-1].replace("_pb2", ".proto"))
    vendored = generate.THIRD_PARTY / "google" / "rpc" / installed.name
    assert vendored.read_text() == installed.read_text(), f"copy {installed.name} of googleapis-common-protos"
