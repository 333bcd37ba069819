"""Prints what the figures were measured on: processor, device, driver and versions, as a line of JSON.

    python -m bench.accelerator.machine [--cpu]

Ends with status 1 if the only device is the CPU, unless that is what is to be measured.
"""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from typing import Any

import jax

PACKAGES = ("jax", "jaxlib", "jax-cuda13-plugin", "flax", "optax", "numpy", "torch", "grpcio", "earmark")


def machine() -> dict[str, Any]:
    """The figures, by name."""
    versions = {}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        "threads": len(os.sched_getaffinity(0)),
        "platform": device.platform,
        "device": device.device_kind,
        "nvidia": nvidia(),
        "versions": versions,
    }


def nvidia() -> str:
    """Name, driver and memory of each NVIDIA GPU; empty without the driver's tool."""
    if (tool := shutil.which("nvidia-smi")) is None:
        return ""
    query = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    figures = machine()
    print(json.dumps(figures))
    sys.exit(figures["platform"] == "cpu" and "--cpu" not in sys.argv)
