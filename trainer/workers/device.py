"""Helpers of the two processes that run JAX, training and detection: its start, and its failures."""

import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from earmark.trainer.workers.wire import Failed

# The statuses of errors that the device or its driver causes. After one of them, every later call may fail.
DEVICE_STATUSES = ("INTERNAL", "UNKNOWN", "ABORTED", "UNAVAILABLE", "DATA_LOSS")
DEVICE_ERRORS = re.compile(r"CUDA_ERROR|CUDNN_STATUS|CUBLAS_STATUS|cudaError")
ALLOCATION = re.compile(r"allocat\w+ ([\d.]+) ?(bytes|[KMGT]i?B)")
# XLA's message has powers of 1,024, whichever way it writes them.
UNITS = {"bytes": 1} | {f"{prefix}{i}B": 1024**n for n, prefix in enumerate("KMGT", 1) for i in ("i", "")}


def warm_up() -> str:
    """Starts JAX's backend and compiler. Returns the name of its devices, "cpu" or "8 x NVIDIA H100"."""
    jax.jit(lambda x: x @ x)(jnp.ones((8, 8))).block_until_ready()
    devices = jax.local_devices()
    device_kind: str = devices[0].device_kind
    return device_kind if len(devices) == 1 else f"{len(devices)} x {device_kind}"


def device_failure(error: Exception) -> Failed | None:
    """The failure if the error is the device's and not the work's; None for any other error.

    Its process has to end: CUDA's errors stay until then, and memory that ran out may remain in pieces.
    """
    if not isinstance(error, jax.errors.JaxRuntimeError):
        return None
    text = str(error)
    if text.startswith("RESOURCE_EXHAUSTED"):
        return Failed("DEVICE_OUT_OF_MEMORY", _out_of_memory(text), ends_process=True)
    if text.startswith(DEVICE_STATUSES) or DEVICE_ERRORS.search(text):
        return Failed("DEVICE_FAILED", f"the device failed: {_first_line(text)}", ends_process=True)
    return None


def _out_of_memory(text: str) -> str:
    device = max(jax.local_devices(), key=_bytes_in_use)
    needed = needed_memory(text, device.memory_stats() or {})
    return (
        f"the memory of the device ({device.device_kind}) ran out: {needed}; train with a smaller "
        "batch_size, or on a device with more memory"
    )


def _bytes_in_use(device: jax.Device) -> int:
    statistics: Mapping[str, int] = device.memory_stats() or {}
    return statistics.get("bytes_in_use", 0)


def needed_memory(text: str, statistics: Mapping[str, int]) -> str:
    """What the work needed and what the device has, as far as XLA and the device say it."""
    allocation = ALLOCATION.search(text)
    if allocation is None:
        return _first_line(text)
    more = float(allocation[1]) * UNITS[allocation[2]]
    in_use, limit = statistics.get("bytes_in_use"), statistics.get("bytes_limit")
    if in_use is None or limit is None:
        return f"{_gib(more)} more were needed"
    return (
        f"{_gib(in_use + more)} were needed, {_gib(more)} more than the {_gib(in_use)} in use, and this "
        f"process may use {_gib(limit)}"
    )


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"


def error_summary(error: Exception) -> str:
    """Returns one line: the type of the error and the first line of its message."""
    first_line = _first_line(str(error))
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
