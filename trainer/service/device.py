"""Chooses the one device that a trainer computes on, before JAX starts in its processes.

JAX itself takes a part of the memory of every GPU that it sees, and computes on the first.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import structlog

from earmark.trainer.settings import TrainerSettings

log = structlog.get_logger()

CUDA_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")
PROBE_SECONDS = 120.0
# JAX asserts that there is a device, without a message, where the plugin for it is not installed.
PROBE = """
import jax
try:
    jax.devices()
except (AssertionError, RuntimeError) as error:
    raise SystemExit(str(error).partition("\\n")[0] or "JAX has no plugin for it")
"""


class DeviceAbsentError(Exception):
    """This machine does not have the device that the settings ask for, or JAX cannot use it."""


def device_environment(device: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables with which JAX sees `device` alone: "cpu", "cuda", "cuda:1", or "" for the best there is.

    `environment` are this process's. If it restricts the GPUs already, their numbers count from its own.
    """
    if device == "cpu":
        return {"JAX_PLATFORMS": "cpu"}
    number = int(device.partition(":")[2] or 0)
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    numbering: dict[str, str] = {}
    if visible is None:
        gpu, numbering = str(number), {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # as nvidia-smi numbers them
    else:
        listed = [*filter(None, visible.split(","))]
        gpu = listed[number] if number < len(listed) else ""
    return {"CUDA_VISIBLE_DEVICES": gpu, **numbering} | ({"JAX_PLATFORMS": "cuda"} if device else {})


def check_device(settings: TrainerSettings) -> None:
    """Raises DeviceAbsentError if JAX cannot start the device that the settings name. It takes a second.

    Logs a warning if the settings name none and a GPU will not be used.
    """
    if not settings.device and has_unused_gpu():
        log.warning(
            "this machine has an NVIDIA GPU, but JAX is installed for the CPU: install earmark[cuda] to use "
            "it, or set EARMARK_DEVICE=cpu"
        )
    if settings.device in ("", "cpu"):
        return
    environment = {**os.environ, **device_environment(settings.device)}
    # It takes no memory of a GPU that others may be using.
    environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    probe = subprocess.run(  # noqa: S603
        [sys.executable, "-P", "-c", PROBE],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PROBE_SECONDS,
        check=False,
    )
    if probe.returncode:
        last = probe.stderr.strip().rpartition("\n")[2]
        raise DeviceAbsentError(
            f"EARMARK_DEVICE asks for {settings.device}, which JAX cannot use here: {last}. Install NVIDIA's "
            "driver and the extra earmark[cuda], choose another device, or leave EARMARK_DEVICE out"
        )


def has_unused_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether NVIDIA's driver offers a GPU in the folder `devices` while JAX has no plugin for CUDA."""
    return any(devices.glob("nvidia[0-9]*")) and not any(map(find_spec, CUDA_PLUGINS))
