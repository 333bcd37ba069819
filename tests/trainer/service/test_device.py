"""The choice of the devices that a trainer computes on."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from pydantic import ValidationError

from earmark.trainer.service import runtime
from earmark.trainer.service.device import absence, device_environment, has_unused_gpu
from earmark.trainer.settings import TrainerSettings
from tests.trainer.process import SECONDS

NUMBERING = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


@pytest.mark.parametrize(
    ("device", "before", "wanted"),
    [
        ("cpu", None, {"JAX_PLATFORMS": "cpu"}),
        ("cuda", None, {"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": "0", **NUMBERING}),
        ("cuda:1", None, {"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": "1", **NUMBERING}),
        ("cuda:1", "4,6", {"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": "6"}),
        ("cuda:2", "4,6", {"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": ""}),
        ("cuda:0,2", None, {"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": "0,2", **NUMBERING}),
        ("cuda:2,0", "3,4,6", {"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": "6,3"}),
        ("cuda:1,2", "4,6", {"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": "6"}),
        ("cuda:all", None, {"JAX_PLATFORMS": "cuda"}),
        ("cuda:all", "4,6", {"JAX_PLATFORMS": "cuda"}),
        ("", None, {"CUDA_VISIBLE_DEVICES": "0", **NUMBERING}),
        ("", "3,1", {"CUDA_VISIBLE_DEVICES": "3"}),
        ("", "", {"CUDA_VISIBLE_DEVICES": ""}),
    ],
)
def test_a_process_sees_the_devices_that_it_is_to_use(device, before, wanted):
    environment = {} if before is None else {"CUDA_VISIBLE_DEVICES": before}
    assert device_environment(device, environment) == wanted


def test_training_and_detection_see_the_same_device(tmp_path):
    settings = TrainerSettings(data_dir=tmp_path, device="cuda:3")
    for environment in (runtime._training_environment(settings), runtime._detection_environment(settings)):
        assert environment["JAX_PLATFORMS"] == "cuda"
        assert environment["CUDA_VISIBLE_DEVICES"] == "3"


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:0", "cuda:0\n", "cuda:0,", "cuda:0,all"])
def test_other_devices_are_refused(device):
    with pytest.raises(ValidationError, match="device"):
        TrainerSettings(device=device)


def test_a_trainer_whose_device_is_absent_ends_at_its_start(tmp_path):
    command = [sys.executable, "-m", "earmark.trainer", "--trainer-port", "0", "--data-dir", str(tmp_path)]
    ended = subprocess.run(
        [*command, "--device", "cuda:7"], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ended.returncode == 1
    assert not ended.stdout
    assert "EARMARK_DEVICE asks for cuda:7, which JAX cannot use here" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_fewer_devices_than_asked_for_are_found_out():
    assert absence({**os.environ, "JAX_PLATFORMS": "cpu"}, 2) == "it finds 1 of 2 devices"


@pytest.mark.parametrize(("node", "unused"), [("nvidia0", True), ("nvidiactl", False)])
def test_a_gpu_that_jax_cannot_use_is_seen(tmp_path, node, unused):
    (tmp_path / node).touch()
    assert has_unused_gpu(tmp_path) is (unused and not find_spec("jax_cuda13_plugin"))


def test_training_gets_the_variables_of_its_libraries_and_of_the_object_store_only(tmp_path, monkeypatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "https_proxy", "EARMARK_DATABASE_URL", "OTHER_TOKEN"):
        monkeypatch.setenv(name, "secret")
    passed = runtime._training_environment(TrainerSettings(data_dir=tmp_path))
    assert {name for name, value in passed.items() if value == "secret"} == {
        "AWS_SECRET_ACCESS_KEY",
        "https_proxy",
    }
