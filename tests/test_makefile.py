"""What `make` would do with and without a GPU; nothing is installed here."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CUDA = "--require-hashes -r requirements-cuda.lock"


def dry_run(*arguments, path=""):
    """The commands of `make`, as if nothing were there; `path` precedes the folders of programs."""
    environment = os.environ | {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}
    for variable in ("DEVICE", "MAKEFLAGS", "MAKELEVEL"):
        environment.pop(variable, None)
    command = ["make", "--dry-run", "--always-make", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("works", [True, False])
def test_a_gpu_that_the_driver_lists_is_used(tmp_path, works):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nexit {0 if works else 9}\n")
    tool.chmod(0o755)
    commands = dry_run("demo", path=tmp_path).stdout
    assert "-r requirements.lock" in commands
    assert (CUDA in commands) == works
    assert f"EARMARK_DEVICE={'cuda' if works else 'cpu'}" in commands


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_device_can_be_named(device):
    commands = dry_run("demo", f"DEVICE={device}").stdout
    assert (CUDA in commands) == (device == "cuda")
    assert f"EARMARK_DEVICE={device}" in commands


def test_another_device_is_refused():
    result = dry_run("demo", "DEVICE=gpu")
    assert result.returncode
    assert 'DEVICE is cpu or cuda, not "gpu"' in result.stderr


def test_the_tests_run_on_the_cpu():
    assert "JAX_PLATFORMS=cpu .venv/bin/python -m pytest" in dry_run("test", "DEVICE=cuda").stdout


def test_both_locks_have_the_same_versions():
    def versions(name):
        lines = (ROOT / name).read_text().splitlines()
        pinned = [line.removesuffix(" \\") for line in lines if "==" in line and not line.startswith("#")]
        return {(line.partition("==")[0], line.partition(";")[2]): line for line in pinned}

    base, cuda = versions("requirements.lock"), versions("requirements-cuda.lock")
    assert {line: cuda[line] for line in cuda if line in base} == {
        line: base[line] for line in cuda if line in base
    }
    assert any(name == "jax-cuda13-plugin" for name, _ in cuda)
