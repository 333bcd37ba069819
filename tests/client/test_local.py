"""`earmark up` with stand-ins for both services: the order of stops, restarts, and reports of exits."""

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.client import local
from earmark.client.local import LocalSystem, ServiceError

TRAINER = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
port = int(os.environ["EARMARK_TRAINER_PORT"]) or 4321
print(f"trainer listening on 127.0.0.1:{port}")
print(f"trainer pid {os.getpid()} host {os.environ['EARMARK_HOST']}", file=sys.stderr)
signal.sigwait([signal.SIGTERM])
print("trainer stopped", file=sys.stderr)
"""
GATEWAY = """
import os, signal, sys
from concurrent.futures import ThreadPoolExecutor
import grpc
from grpc_health.v1 import health, health_pb2_grpc
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
server = grpc.server(ThreadPoolExecutor(2))
health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(f"gateway listening on 127.0.0.1:{port}")
print(f"trainers {os.environ['EARMARK_TRAINERS']}", file=sys.stderr)
signal.sigwait([signal.SIGTERM])
server.stop(None).wait()
print("gateway stopped", file=sys.stderr)
"""
SETTINGS = {"EARMARK_PORT": "0", "EARMARK_TRAINER_PORT": "0", "EARMARK_HOST": "0.0.0.0"}


@pytest.fixture(autouse=True)
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "earmark"
    folder.mkdir()
    (folder / "trainer.py").write_text(TRAINER)
    (folder / "gateway.py").write_text(GATEWAY)
    # `earmark` is a namespace package: its first folder on the path wins.
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return folder


class Log(list[str]):
    """Collects log lines; `wait_for` waits until one contains a text."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition()

    def __call__(self, line: str) -> None:
        with self.changed:
            self.append(line)
            self.changed.notify_all()

    def wait_for(self, text: str, times: int = 1) -> str:
        with self.changed:
            assert self.changed.wait_for(lambda: sum(text in line for line in self) >= times, 10), self
            return [line for line in self if text in line][times - 1]


@pytest.fixture
def log() -> Iterator[Log]:
    return Log()


def test_both_start_and_the_gateway_stops_first(log: Log) -> None:
    with LocalSystem(SETTINGS, log) as system:
        assert system.address.startswith("127.0.0.1:")
        log.wait_for("trainers 127.0.0.1:4321")
        assert "host 127.0.0.1" in log.wait_for("trainer pid"), "the trainer stays private"
    assert log.index("gateway  gateway stopped") < log.index("trainer  trainer stopped")


def test_a_trainer_that_dies_is_restarted_on_its_port(log: Log) -> None:
    with LocalSystem(SETTINGS, log) as system:

        def kill_it() -> None:
            pid = int(log.wait_for("trainer pid").split()[3])
            os.kill(pid, signal.SIGKILL)
            log.wait_for("the trainer is back")
            system.ask_to_stop()

        killer = threading.Thread(target=kill_it)
        killer.start()
        system.serve()
        killer.join()
    assert any("the trainer was killed by SIGKILL" in line and "started again in 1 s" in line for line in log)


def test_a_gateway_that_cannot_start_is_an_error_with_its_reason(log: Log, stand_ins: Path) -> None:
    (stand_ins / "gateway.py").write_text("import sys; sys.exit('port 50051 is taken')")

    with pytest.raises(ServiceError, match="the gateway ended with exit code 1: port 50051 is taken"):
        LocalSystem(SETTINGS, log).__enter__()
    assert "trainer  trainer stopped" in log, "nothing is left behind"


def test_up_prints_grpcurl_lines_and_stops_at_a_signal() -> None:
    up = subprocess.Popen(
        [sys.executable, "-m", "earmark.client.cli", "up", "--port", "0", "--trainer-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert up.stdout
    lines = [up.stdout.readline() for _ in range(4)]
    assert lines[0].startswith("Earmark is up at 127.0.0.1:")
    address = lines[0].removeprefix("Earmark is up at ").partition(";")[0]
    assert all(line.startswith("  grpcurl -plaintext ") and address in line for line in lines[1:])

    up.send_signal(signal.SIGTERM)
    out, err = up.communicate(timeout=20)

    assert out == "stopping\nstopped\n"
    assert "gateway  gateway stopped\n" in err
    assert "trainer  trainer stopped\n" in err
    assert up.returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a child when its parent ends")
def test_children_do_not_outlive_a_killed_parent() -> None:
    up = subprocess.Popen(
        [sys.executable, "-m", "earmark.client.cli", "up", "--port", "0", "--trainer-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert up.stdout
    assert up.stdout.readline().startswith(b"Earmark is up")
    children = Path(f"/proc/{up.pid}/task/{up.pid}/children").read_text().split()
    handles = [os.pidfd_open(int(pid)) for pid in children]
    up.kill()
    up.communicate(timeout=10)

    assert len(handles) == 2
    for handle in handles:
        readable, _, _ = select.select([handle], [], [], 10)
        assert readable, "a child lives on"
        os.close(handle)


def test_wildcard_hosts_become_localhost() -> None:
    assert local.reachable("0.0.0.0:5") == "localhost:5"
    assert local.reachable("[::]:5") == "localhost:5"
    assert local.reachable("10.0.0.7:5") == "10.0.0.7:5"
