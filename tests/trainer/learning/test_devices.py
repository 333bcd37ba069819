"""One job on several devices gives what it gives on one, wherever it is interrupted."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy

from earmark.storage.objects import ObjectStore
from earmark.trainer.devices import ONE_DEVICE, all_devices, sharers, together
from tests.trainer.learning.on_eight_devices import WINDOWS
from tests.trainer.process import SECONDS

# The devices are forced; code is compiled in half the time, and nothing here is about its speed.
FLAGS = (
    "--xla_force_host_platform_device_count=8 "
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)
# What docs/training.md states.
LOSS_TOLERANCE, WEIGHT_TOLERANCE, SCORE_TOLERANCE = 1e-5, 1e-4, 1e-3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("eight")


@pytest.fixture(scope="module")
def figures(folder):
    command = [sys.executable, "-m", "tests.trainer.learning.on_eight_devices", str(folder)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": FLAGS}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=6 * SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def runs(figures):
    return figures["runs"]


@pytest.fixture(scope="module")
def weights(folder, runs):
    """The weights of the model of each run that ended."""
    objects = ObjectStore.open(str(folder))
    models = {name: run["model"] for name, run in runs.items() if run["model"]}
    return {name: safetensors.numpy.load(objects.get(key)) for name, (key, _, _) in models.items()}


def test_a_mesh_gives_the_losses_of_one_device(runs):
    np.testing.assert_allclose(runs["eight"]["losses"], runs["one"]["losses"], rtol=LOSS_TOLERANCE)
    first, *_, last = (train_loss for train_loss, _ in runs["one"]["losses"])
    assert last < 0.8 * first


def test_the_devices_share_the_work_of_a_step(figures):
    """Of WINDOWS windows, each of eight devices works on two."""
    one, eight = figures["flops"]["1"], figures["flops"]["8"]
    assert eight == pytest.approx(2 / WINDOWS * one, rel=0.1)


@pytest.mark.parametrize("run", ["eight", "back"])
def test_a_mesh_gives_the_weights_of_one_device(weights, run):
    """Also if the job went on with one device in its middle, and then with eight again."""
    for name, value in weights["one"].items():
        np.testing.assert_allclose(weights[run][name], value, atol=WEIGHT_TOLERANCE, err_msg=name)


def test_a_job_resumed_on_another_number_of_devices_goes_on_with_the_next_epoch(runs):
    losses = runs["one"]["losses"]
    np.testing.assert_allclose(runs["moved"]["losses"], losses[1:2], rtol=LOSS_TOLERANCE)
    np.testing.assert_allclose(runs["back"]["losses"], losses[2:], rtol=LOSS_TOLERANCE)


def test_the_same_mesh_gives_the_same_bytes_also_if_interrupted(runs):
    assert runs["resumed"]["model"][2] == runs["eight"]["model"][2]
    assert runs["resumed"]["losses"] == runs["eight"]["losses"][1:]


def test_a_mesh_gives_the_scores_of_one_device(figures):
    assert figures["score_difference"] <= SCORE_TOLERANCE


def test_a_process_says_how_many_devices_it_has(figures):
    assert figures["name"] == "8 x cpu"


def test_with_one_device_arrays_are_left_as_they_are():
    rows = np.zeros((3, 2, 4), np.int32)
    assert all_devices() is ONE_DEVICE is together(jax.devices()[:1])
    assert ONE_DEVICE.split(rows, axis=1) is rows
    assert ONE_DEVICE.sharing(5) is ONE_DEVICE


@pytest.mark.parametrize(
    ("devices", "rows", "used"),
    [(8, 2, 2), (8, 8, 8), (8, 15, 8), (8, 9, 5), (4, 5, 3), (3, 100, 3), (2, 1, 1)],
)
def test_no_more_devices_than_needed_share_the_rows(devices, rows, used):
    assert sharers(devices, rows) == used
