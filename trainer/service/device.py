"""Chooses the device or the GPUs that a trainer computes on, before JAX starts in its processes.

JAX itself takes a part of the memory of every GPU that it sees.
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
import sys
import jax
try:
    found = len(jax.local_devices())
except (AssertionError, RuntimeError) as error:
    raise SystemExit(str(error).partition("\\n")[0] or "JAX has no plugin for it")
if found < int(sys.argv[1]):
    raise SystemExit(f"it finds {found} of {sys.argv[1]} devices")
"""


class DeviceAbsentError(Exception):
    """This machine does not have the devices that the settings ask for, or JAX cannot use them."""


def device_environment(device: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables with which JAX sees `device` alone.

    It is "cpu", "cuda", "cuda:1", several as "cuda:0,1", all as "cuda:all", or "" for the best there is.
    `environment` are this process's. If it restricts the GPUs already, their numbers count from its own.
    """
    if device == "cpu":
        return {"JAX_PLATFORMS": "cpu"}
    platform = {"JAX_PLATFORMS": "cuda"} if device else {}
    if device == "cuda:all":
        return platform
    gpus = _numbers(device)
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        numbering = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # as nvidia-smi numbers them
    else:
        numbering, listed = {}, [*filter(None, visible.split(","))]
        gpus = [listed[int(number)] for number in gpus if int(number) < len(listed)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(gpus), **numbering} | platform


def _numbers(device: str) -> list[str]:
    """The numbers of the GPUs that `device` names; the first one if it names none."""
    return (device.partition(":")[2] or "0").split(",")


def check_device(settings: TrainerSettings) -> None:
    """Raises DeviceAbsentError if JAX cannot start every device that the settings name. It takes a second.

    Logs a warning if the settings name none and a GPU will not be used.
    """
    if settings.executor != "local":
        return  # each node checks its own
    if not settings.device and has_unused_gpu():
        log.warning(
            "this machine has an NVIDIA GPU, but JAX is installed for the CPU: install earmark[cuda] to use "
            "it, or set EARMARK_DEVICE=cpu"
        )
    if settings.device in ("", "cpu"):
        return
    wanted = 1 if settings.device == "cuda:all" else len(_numbers(settings.device))
    reason = absence({**os.environ, **device_environment(settings.device)}, wanted)
    if reason:
        raise DeviceAbsentError(
            f"EARMARK_DEVICE asks for {settings.device}, which JAX cannot use here: {reason}. Install "
            "NVIDIA's driver and the extra earmark[cuda], choose another device, or leave EARMARK_DEVICE out"
        )


def absence(environment: Mapping[str, str], wanted: int) -> str:
    """Why JAX does not have so many devices in a process with these variables; empty if it has them."""
    probe = subprocess.run(  # noqa: S603
        [sys.executable, "-P", "-c", PROBE, str(wanted)],
        # It takes no memory of a GPU that others may be using.
        env={**environment, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PROBE_SECONDS,
        check=False,
    )
    return probe.stderr.strip().rpartition("\n")[2] if probe.returncode else ""


def has_unused_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether NVIDIA's driver offers a GPU in the folder `devices` while JAX has no plugin for CUDA."""
    return any(devices.glob("nvidia[0-9]*")) and not any(map(find_spec, CUDA_PLUGINS))
