"""`earmark up`: everything on one machine, started twice, killed, and started again."""

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from earmark.client import connect
from earmark.v1 import dataset_service_pb2

from tests.system.services import EARMARK


class Up:
    """`earmark up` on a data directory. `address` once it is up."""

    def __init__(self, data_dir: Path) -> None:
        environment = os.environ | {"EARMARK_DATA_DIR": str(data_dir), "COLUMNS": "200"}
        environment |= {"EARMARK_PORT": "0", "EARMARK_TRAINER_PORT": "0"}
        self.process = subprocess.Popen(
            [EARMARK, "up"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def welcome(self) -> str:
        """What it prints once everything serves: the address, then three lines to type."""
        lines = [self.process.stdout.readline() for _ in range(4)]
        self.address = lines[0].split("Earmark is up at ")[1].split(";")[0]
        return "".join(lines)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> tuple[str, str]:
        """What it still said on stdout and stderr."""
        self.process.send_signal(how)
        return self.process.communicate()


def create_dataset(address: str, name: str) -> None:
    with connect(address) as client:
        client.datasets.CreateDataset(dataset_service_pb2.CreateDatasetRequest(name=name))


def names(address: str) -> list[str]:
    with connect(address) as client:
        listed = client.datasets.ListDatasets(dataset_service_pb2.ListDatasetsRequest())
        return [dataset.name for dataset in listed.datasets]


def test_up_says_where_it_is_and_leaves_nothing_behind(tmp_path: Path) -> None:
    up = Up(tmp_path)
    welcome = up.welcome()
    calls = [line for line in welcome.splitlines() if "grpcurl -plaintext" in line]
    assert len(calls) == 3
    assert all(up.address in call for call in calls)
    family = up.family()
    assert len(family) >= 4
    up.stop()
    assert up.process.returncode == 0
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_stored_is_there_after_a_stop_and_after_a_kill(tmp_path: Path, how) -> None:
    first = Up(tmp_path)
    first.welcome()
    create_dataset(first.address, "calls")
    family = first.family()
    first.stop(how)
    psutil.wait_procs(family, timeout=20)
    second = Up(tmp_path)
    second.welcome()
    assert names(second.address) == ["calls"]
    second.stop()


def test_a_second_one_on_the_same_data_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    first = Up(tmp_path)
    first.welcome()
    second = Up(tmp_path)
    _, said = second.process.communicate(timeout=120)
    assert second.process.returncode == 1
    assert "EARMARK_DATA_DIR" in said
    create_dataset(first.address, "calls")
    assert names(first.address) == ["calls"]
    first.stop()
