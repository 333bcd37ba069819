"""Checks that import-linter and ruff do not have: sizes of modules and functions, and indirect imports."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("bench", "client", "demo", "gateway", "protos", "storage", "tests", "trainer")
GENERATED = ROOT / "protos" / "gen"
MODULE_LINES = 400
FUNCTION_LINES = 60
HEAVY = {"jax", "flax", "optax", "librosa", "scipy", "soundfile"}


def modules() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from (path for path in (ROOT / folder).rglob("*.py") if GENERATED not in path.parents)


def imported(*names: str) -> set[str]:
    """The modules in a fresh interpreter after importing `names`, and the top-level package of each."""
    program = f"import json, sys, {', '.join(names)}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
    )
    loaded = json.loads(done.stdout.splitlines()[-1])
    return {*loaded, *(name.partition(".")[0] for name in loaded)}


def test_modules_are_short() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules()}
    assert lengths
    assert {path: lines for path, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_functions_are_short() -> None:
    long = {}
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > FUNCTION_LINES:
                    long[f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"] = lines
    assert long == {}


def test_the_gateway_starts_without_the_trainers_libraries() -> None:
    assert (
        imported("earmark.gateway.server", "earmark.gateway.__main__")
        & {*HEAVY, "earmark.trainer", "earmark.client"}
        == set()
    )


@pytest.mark.parametrize("name", ["earmark.client", "earmark.client.aio", "earmark.client.cli"])
def test_the_client_needs_only_the_base_install(name) -> None:
    services = {"earmark.gateway", "earmark.storage", "earmark.trainer", "earmark.internal"}
    libraries = {*HEAVY, "demo", "asyncpg", "obstore", "prometheus_client", "pydantic", "protovalidate"}
    assert imported(name) & (services | libraries) == set()


def test_the_processes_that_decode_start_without_jax() -> None:
    assert (
        imported("earmark.trainer.workers.audio") & {"jax", "flax", "optax", "grpc", "earmark.gateway"}
        == set()
    )


def test_the_trainers_front_starts_without_jax_and_ray() -> None:
    heavy = {"jax", "flax", "optax", "ray", "earmark.gateway"}
    assert imported("earmark.trainer.service.server") & heavy == set()
