"""The shares of a detection job's stages add up, and count what ended processes used."""

import subprocess
import sys

import pytest

from bench.detection.stages import shares, system_cpu_seconds

OF_FILE = {"decoding": 0.01, "features": 0.03, "network": 0.02}


def test_the_shares_are_of_all_cores_and_the_rest_is_storing_and_waiting():
    found = shares(100, 5.0, 7.0, OF_FILE, 2)
    assert found == {
        "decoding": 10.0, "features": 30.0, "network": 20.0, "storing, rpc": 10.0, "waiting": 30.0,
    }  # fmt: skip


def test_stages_that_take_longer_alone_than_in_the_system_leave_nothing_for_storing():
    found = shares(100, 5.0, 5.5, OF_FILE, 2)
    assert (found["storing, rpc"], found["waiting"]) == (0.0, 40.0)


def test_the_time_of_processes_that_have_ended_counts():
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    parent = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {burn!r}])\n"
        "print('ended', flush=True)\nsys.stdin.read()"
    )
    command = [sys.executable, "-c", parent]
    before = system_cpu_seconds()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ended\n"
        used = system_cpu_seconds() - before
        process.stdin.close()
    # The kernel counts user and system time in ticks of 10 ms, and drops what is less than one.
    assert 0.28 <= used == pytest.approx(0.35, abs=0.3)
