"""The clocks of a drill's services."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import pytest

from bench.faults.clock import Clock, ClockError, built

# For each line that it reads, it waits twice for 0.1 s, and prints its clocks and how long that took.
READER = """
import asyncio, json, sys, threading, time
from datetime import datetime

async def pause():
    await asyncio.sleep(0.1)

for _ in sys.stdin:
    began = time.monotonic()
    threading.Event().wait(0.1)
    asyncio.run(pause())
    waited = time.monotonic() - began
    clocks = time.time(), datetime.now().timestamp()
    print(json.dumps({"wall": clocks, "monotonic": time.monotonic(), "waited": waited}), flush=True)
"""
HOUR = 3600.0


@contextmanager
def reader(clock: Clock) -> Iterator[tuple[IO[str], IO[str]]]:
    command = (sys.executable, "-c", READER)
    environment = {**os.environ, **clock.settings}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        yield process.stdin, process.stdout
        process.stdin.close()


@pytest.mark.skipif(shutil.which("cc") is None, reason="the clocks of a drill need a C compiler")
@pytest.mark.parametrize("seconds", [2 * HOUR, -2 * HOUR])
def test_the_wall_clock_of_a_process_jumps_and_its_waits_are_as_long_as_before(seconds, tmp_path) -> None:
    clock = Clock(built(tmp_path), tmp_path, "gateway-0")
    with reader(clock) as (requests, replies):

        def read() -> dict[str, object]:
            requests.write("\n")
            requests.flush()
            return json.loads(replies.readline())

        before = read()
        with clock.moved(seconds):
            during = read()
        after = read()
    now, real = time.monotonic(), time.time()
    for clocks, jump in ((before, 0), (during, seconds), (after, 0)):
        ago = now - clocks["monotonic"]
        assert clocks["wall"] == pytest.approx([real - ago + jump] * 2, abs=60)
        assert 0.2 <= clocks["waited"] < HOUR / 2


def test_without_a_compiler_the_drill_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClockError, match="install gcc"):
        built(tmp_path)
