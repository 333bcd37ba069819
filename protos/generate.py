"""Writes protos/gen anew: `make protos`. A test fails while the stubs are older than the protos."""

import shutil
import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).parent
THIRD_PARTY = PROTOS / "third_party"
GEN = PROTOS / "gen"


def generate(target: Path) -> None:
    """Compiles every .proto to messages (_pb2.py), types (_pb2.pyi) and stubs (_pb2_grpc.py) in `target`."""
    own = sorted(PROTOS.glob("earmark/**/*.proto"))
    vendored = sorted(THIRD_PARTY.rglob("*.proto"))
    services = [path for path in own if path.stem.endswith("_service")]
    compile_to([f"--python_out={target}", f"--pyi_out={target}"], [*own, *vendored])
    compile_to([f"--grpc_python_out={target}"], services)


def compile_to(outputs: list[str], sources: list[Path]) -> None:
    include = [f"-I{folder}" for folder in (THIRD_PARTY, PROTOS, files("grpc_tools") / "_proto")]
    if protoc.main(["protoc", *include, *outputs, *map(str, sources)]):
        sys.exit("protoc failed: see the lines above")


if __name__ == "__main__":
    shutil.rmtree(GEN, ignore_errors=True)
    GEN.mkdir()
    generate(GEN)
