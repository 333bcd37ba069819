"""`earmark up` with the real services: its start and stop, kills, restarts, and a second instance."""

import os
import signal
import subprocess
from pathlib import Path

import psutil

from earmark.client import connect
from earmark.v1 import dataset_service_pb2
from tests.certificates import Authority
from tests.system.services import EARMARK


class Up:
    """`earmark up` on a data directory; `wait_until_up` sets `address`."""

    def __init__(self, data_dir: Path, folder: Path | None = None, **settings: str) -> None:
        environment = os.environ | {"EARMARK_DATA_DIR": str(data_dir), "COLUMNS": "200"}
        environment |= {"EARMARK_PORT": "0", "EARMARK_TRAINER_PORT": "0"} | settings
        self.process = subprocess.Popen(
            [EARMARK, "up"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_up(self) -> None:
        """Wait until both services serve."""
        lines = [self.process.stdout.readline() for _ in range(4)]
        self.address = lines[0].split("Earmark is up at ")[1].split(";")[0]

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, signal_number: signal.Signals = signal.SIGTERM) -> tuple[str, str]:
        """Send a signal, wait for the end, and return the rest of stdout and stderr."""
        self.process.send_signal(signal_number)
        return self.process.communicate()


def create_dataset(address: str, name: str, ca: str) -> None:
    with connect(address, ca=ca) as client:
        client.datasets.CreateDataset(dataset_service_pb2.CreateDatasetRequest(name=name))


def names(address: str, ca: str) -> list[str]:
    with connect(address, ca=ca) as client:
        listed = client.datasets.ListDatasets(dataset_service_pb2.ListDatasetsRequest())
        return [dataset.name for dataset in listed.datasets]


def test_it_starts_anywhere_once_for_its_data_which_survive_a_kill_and_a_stop(tmp_path: Path) -> None:
    folder = tmp_path / "users"
    for name in ("earmark", "gateway", "trainer", "storage", "asyncpg", "ctypes", "jax"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise SystemExit('imported the user\\'s {name}')")
    authority = Authority(tmp_path)
    ca, shown = str(authority.path), authority.files("gateway")
    tls = {"EARMARK_TLS_CERTIFICATE": str(shown.certificate), "EARMARK_TLS_KEY": str(shown.key)}

    killed = Up(tmp_path, folder, **tls)
    killed.wait_until_up()
    create_dataset(killed.address, "before the kill", ca)
    assert (tmp_path / "trainer-secret").stat().st_mode & 0o777 == 0o600
    second = Up(tmp_path, folder, **tls)
    _, stderr = second.process.communicate(timeout=120)
    assert second.process.returncode == 1
    assert "EARMARK_DATA_DIR" in stderr
    create_dataset(killed.address, "after the second", ca)
    processes = killed.descendants()
    assert len(processes) >= 4
    killed.stop(signal.SIGKILL)
    assert psutil.wait_procs(processes, timeout=20)[1] == []

    stopped = Up(tmp_path, folder, **tls)
    stopped.wait_until_up()
    assert names(stopped.address, ca) == ["after the second", "before the kill"]
    processes = stopped.descendants()
    stopped.stop()
    assert stopped.process.returncode == 0
    assert psutil.wait_procs(processes, timeout=20)[1] == []

    last = Up(tmp_path, folder, **tls)
    last.wait_until_up()
    assert len(names(last.address, ca)) == 2
    last.stop()
