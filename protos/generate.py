"""Writes protos/gen anew: `make protos`. A test fails while the stubs are older than the protos."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from protos.environment import locked

PROTOS = Path(__file__).parent
THIRD_PARTY = PROTOS / "third_party"
GEN = PROTOS / "gen"
LOCK = PROTOS / "requirements.lock"
TOOLS = PROTOS.parent / "build" / "protos-tools"
RULES = "buf/validate/validate.proto"


def generate(target: Path) -> None:
    """Compiles Earmark's protos to messages (_pb2.py), stubs (_pb2_grpc.py) and their types in `target`.

    The validation rules stay in the stubs' descriptors as bytes that only a validator reads, so that the
    stubs need no package `buf`. earmark/descriptors.binpb has everything, comments too, for reflection.
    """
    own = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.glob("earmark/**/*.proto"))
    services = [name for name in own if name.endswith("_service.proto")]
    described = target / "earmark" / "descriptors.binpb"
    described.parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        everything, bare = Path(scratch, "everything"), Path(scratch, "bare")
        include = [f"-I{PROTOS}", f"-I{THIRD_PARTY}", "--include_imports", "--include_source_info"]
        protoc(*include, f"--descriptor_set_out={everything}", *own)
        contract = FileDescriptorSet.FromString(everything.read_bytes())
        described.write_bytes(with_own_comments(contract).SerializeToString(deterministic=True))
        bare.write_bytes(without_rules(contract).SerializeToString())
        protoc(f"--descriptor_set_in={bare}", f"--python_out={target}", f"--pyi_out={target}", *own)
        types = f"--mypy_grpc_out=quiet,generate_concrete_servicer_stubs:{target}"
        protoc(f"--descriptor_set_in={bare}", f"--grpc_python_out={target}", types, *services)
    for folder in {(target / name).parent for name in own}:
        (folder / "py.typed").touch()


def with_own_comments(contract: FileDescriptorSet) -> FileDescriptorSet:
    """Returns a copy of the contract in which the files of others have no comments."""
    copy = FileDescriptorSet.FromString(contract.SerializeToString())
    for file in copy.file:
        if not file.package.startswith("earmark."):
            file.ClearField("source_code_info")
    return copy


def without_rules(contract: FileDescriptorSet) -> FileDescriptorSet:
    """Returns a copy of the contract in which no file imports the validation rules."""
    copy = FileDescriptorSet(file=[file for file in contract.file if file.name != RULES])
    for file in copy.file:
        if RULES in file.dependency:
            file.dependency.remove(RULES)
    return copy


def protoc(*arguments: str) -> None:
    """Runs the locked compiler with its plugins."""
    # mypy-protobuf and the compiler name different versions of protobuf; the compiler itself uses none.
    python = locked(TOOLS, LOCK)
    plugin = f"--plugin=protoc-gen-mypy_grpc={python.with_name('protoc-gen-mypy_grpc')}"
    if subprocess.run([python, "-m", "grpc_tools.protoc", plugin, *arguments], check=False).returncode:
        sys.exit("protoc failed: see the lines above")


if __name__ == "__main__":
    shutil.rmtree(GEN, ignore_errors=True)
    generate(GEN)
