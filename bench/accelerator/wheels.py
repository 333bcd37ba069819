"""Collects the wheels that `python -m bench.accelerator --wheels DIR` installs on a machine without network.

    python -m bench.accelerator.wheels DIR

That machine has Python 3.12 on x86-64 Linux, with JAX for CUDA, Flax, optax, SciPy and perhaps PyTorch, and
with the other packages of AT_HAND, which many environments have. The rest is listed in packages.txt and comes
in the versions of requirements.lock, whose hashes pip checks. This repository is collected too. PyAV is
collected without its libraries, which are half of what can be carried: the audio of the run is FLAC, which
needs none of them.
"""

import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

PYTHON = "3.12"
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux1")
LIMIT_MIB = 56  # all that can be carried is 64 MiB, and the repository is carried too
AT_HAND = frozenset(
    [
        *("flax", "jax", "jaxtyping", "numpy", "onnx", "optax"),
        *("prometheus-client", "psutil", "rich", "safetensors", "scipy", "typer", "uvloop"),
    ]
)
LOCK = Path("requirements.lock")
PACKAGES = Path(__file__).with_name("packages.txt")


def main(folder: Annotated[Path, typer.Argument(help="Folder for the wheels; it must not exist.")]) -> None:
    """Collect the wheels. Ends with status 1 if they are too large to be carried."""
    folder.mkdir(parents=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.write(locked(LOCK.read_text(), PACKAGES.read_text().split()))
        requirements.flush()
        platforms = [word for name in PLATFORMS for word in ("--platform", f"{name}_x86_64")]
        _pip(
            *("download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"),
            *("--python-version", PYTHON, "--implementation", "cp", *platforms),
            *("--dest", str(folder), "--requirement", requirements.name),
        )
    _pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), ".")
    wheels = list(folder.glob("*.whl"))
    for wheel in wheels:
        compress(wheel, metadata_only=wheel.name.startswith("av-"))
    mebibytes = sum(path.stat().st_size for path in wheels) / 2**20
    print(f"{len(wheels)} wheels in {folder}, {mebibytes:.1f} MiB; at most {LIMIT_MIB} MiB can be carried")
    sys.exit(mebibytes > LIMIT_MIB)


def locked(lock: str, names: Collection[str]) -> str:
    """The blocks of a lock file, with their hashes, of these packages. Raises KeyError if it lacks one."""
    blocks = [
        (block[1], block[0]) for block in re.finditer(r"^([\w-]+)==(?:.*\\\n)*.*\n", lock, re.MULTILINE)
    ]
    if missing := sorted(set(names) - {name for name, _ in blocks}):
        raise KeyError(f"the lock lacks {', '.join(missing)}")
    return "".join(block for name, block in blocks if name in names)


def compress(wheel: Path, *, metadata_only: bool = False) -> None:
    """Write the wheel anew with LZMA, which pip reads too and which takes a third less."""
    with zipfile.ZipFile(wheel) as old:
        members = [
            (info.filename, info.external_attr, old.read(info))
            for info in old.infolist()
            if ".dist-info/" in info.filename or not metadata_only
        ]
    with zipfile.ZipFile(wheel, "w") as new:
        for name, attributes, content in members:
            info = zipfile.ZipInfo(name)
            info.compress_type, info.external_attr = zipfile.ZIP_LZMA, attributes
            new.writestr(info, content)


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", *arguments], check=True)


if __name__ == "__main__":
    typer.run(main)
