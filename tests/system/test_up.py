"""`earmark up` with the real services: its start and stop, kills, restarts, and a second instance."""

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

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


def create_dataset(address: str, name: str, ca: str | None = None) -> None:
    with connect(address, ca=ca) as client:
        client.datasets.CreateDataset(dataset_service_pb2.CreateDatasetRequest(name=name))


def names(address: str) -> list[str]:
    with connect(address) as client:
        listed = client.datasets.ListDatasets(dataset_service_pb2.ListDatasetsRequest())
        return [dataset.name for dataset in listed.datasets]


def test_nothing_is_imported_from_the_current_folder_and_a_stop_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "users"
    for name in ("earmark", "gateway", "trainer", "storage", "asyncpg", "ctypes", "jax"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise SystemExit('imported the user\\'s {name}')")
    authority = Authority(tmp_path)
    shown = authority.files("gateway")
    tls = {"EARMARK_TLS_CERTIFICATE": str(shown.certificate), "EARMARK_TLS_KEY": str(shown.key)}
    up = Up(tmp_path, folder, **tls)
    up.wait_until_up()
    create_dataset(up.address, "calls", ca=str(authority.path))
    assert (tmp_path / "trainer-secret").stat().st_mode & 0o777 == 0o600
    processes = up.descendants()
    assert len(processes) >= 4
    up.stop()
    assert up.process.returncode == 0
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert alive == []


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL])
def test_stored_data_survives_a_stop_and_a_kill(tmp_path: Path, signal_number) -> None:
    first = Up(tmp_path)
    first.wait_until_up()
    create_dataset(first.address, "calls")
    processes = first.descendants()
    first.stop(signal_number)
    psutil.wait_procs(processes, timeout=20)
    second = Up(tmp_path)
    second.wait_until_up()
    assert names(second.address) == ["calls"]
    second.stop()


def test_a_second_instance_on_the_same_data_is_refused(tmp_path: Path) -> None:
    first = Up(tmp_path)
    first.wait_until_up()
    second = Up(tmp_path)
    _, stderr = second.process.communicate(timeout=120)
    assert second.process.returncode == 1
    assert "EARMARK_DATA_DIR" in stderr
    create_dataset(first.address, "calls")
    assert names(first.address) == ["calls"]
    first.stop()
