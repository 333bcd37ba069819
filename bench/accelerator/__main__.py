"""Checks an accelerator and measures the whole system on it, in one run that writes one file of JSON.

    python -m bench.accelerator [--out FILE] [--wheels DIR] [--minutes 30,600] [--without PARTS]
        [--seconds 570]

Each part is a program of its own, so that a crash or a hang of one leaves the figures of the others: FILE is
written again after each part, with the error of a part that failed. DIR has wheels to install first, for a
machine without network (see wheels.py). Only the standard library is imported here: nothing else may be
installed yet. bench/README.md describes the parts and their figures.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ERROR_CHARACTERS = 20_000  # with what the services logged last
TEST_MINUTES = 12


@dataclass(frozen=True, slots=True)
class Part:
    """A program that prints lines of JSON. `seconds` is the longest that it may take."""

    name: str
    seconds: float
    command: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every part. The exit status is 1 if one of them failed."""
    options = _options(arguments)
    deadline = time.monotonic() + options.seconds
    # The services of a part that was ended may still be writing while they stop.
    with tempfile.TemporaryDirectory(prefix="earmark-bench-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        # The embedded PostgreSQL of a system that root starts runs as another user, who must reach it.
        folder.chmod(0o755)
        os.environ["TMPDIR"] = scratch  # of the parts, which cannot clean up when they are ended
        if options.wheels is not None:
            install(options.wheels, folder / "packages")
        results: dict[str, Any] = {}
        for part in parts(options, folder / "sets"):
            if part.name.startswith(options.without):
                continue
            results[part.name] = run(part, deadline)
            print(json.dumps({part.name: results[part.name]}), flush=True)
            options.out.write_text(json.dumps(results, indent=1) + "\n")
    return int(any("error" in result for result in results.values()))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.accelerator", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("accelerator.json"), help="file of the figures")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to install for this run")
    parser.add_argument("--minutes", default="30,600", help="audio to train on, of each job")
    parser.add_argument("--epochs", type=int, default=20, help="of each job")
    parser.add_argument("--seconds", type=float, default=570, help="the longest that the whole run may take")
    parser.add_argument("--cpu", action="store_true", help="measure the CPU where there is no accelerator")
    parser.add_argument(
        "--without",
        type=lambda names: tuple(filter(None, names.split(","))),
        default=(),
        help="parts to leave out, by the beginnings of their names, comma-separated",
    )
    return parser.parse_args(arguments)


def install(wheels: Path, target: Path) -> None:
    """Install the wheels into a folder of their own, which precedes this Python's packages."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    found = sorted(map(str, wheels.glob("*.whl")))
    subprocess.run([*command, "--target", str(target), *found], check=True)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(target), os.environ.get("PYTHONPATH")]))


def parts(options: argparse.Namespace, sets: Path) -> Iterator[Part]:
    """The parts in order: what matters most comes first, and what takes longest last."""
    minutes, seconds = [float(value) for value in options.minutes.split(",")], float(options.seconds)
    yield _part("machine", 60, "bench.accelerator.machine", *(["--cpu"] if options.cpu else []))
    yield _part("correctness", 180, "bench.accelerator.correctness")
    yield _part("hot_loop", 90, "bench.hot_loop", "--seconds", "10")
    yield _part("test_audio", 120, "bench.accelerator.audio", str(sets / "test"), str(TEST_MINUTES), "--test")
    for length in minutes:
        train, name = sets / f"{length:g}", f"{length:g}_minutes"
        yield _part(f"audio_of_{name}", 240, "bench.accelerator.audio", str(train), str(length))
        folders = ("--train", str(train), "--test", str(sets / "test"), "--epochs", str(options.epochs))
        # The second job of the smaller set finds the trainer warm.
        jobs = "2" if length == min(minutes) else "1"
        detections = str(sets / f"{name}.csv")
        yield _part(
            f"job_of_{name}", seconds, "bench.training", *folders, "--detections", detections, "--jobs", jobs
        )
        yield _part(f"peer_of_{name}", 120, "bench.accelerator.peer", *folders)
    yield _part("epochs", 120, "bench.accelerator.epochs", options.minutes)


def _part(name: str, seconds: float, module: str, *arguments: str) -> Part:
    return Part(name, seconds, (sys.executable, "-m", module, *arguments))


def run(part: Part, deadline: float) -> dict[str, Any]:
    """The seconds of the part, the JSON that it printed, and its error if it failed or took too long."""
    started = time.monotonic()
    seconds = min(part.seconds, deadline - started)
    if seconds <= 0:
        return {"seconds": 0.0, "figures": [], "error": "no time was left"}
    error, output = "", ""
    try:
        # Typer's own tracebacks are wider than what is kept of an error.
        environment = {**os.environ, "_TYPER_STANDARD_TRACEBACK": "1"}
        done = subprocess.run(
            part.command, capture_output=True, text=True, env=environment, timeout=seconds, check=False
        )
        output = done.stdout
        if done.returncode:
            error = f"exit status {done.returncode}: {done.stderr[-ERROR_CHARACTERS:]}"
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout.decode() if isinstance(expired.stdout, bytes) else ""
        error = f"not complete after {seconds:.0f} s"
    figures = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    took = {"seconds": round(time.monotonic() - started, 1), "figures": figures}
    return took | {"error": error} if error else took


if __name__ == "__main__":
    sys.exit(main())
