"""Helpers of the two processes that run JAX: training and detection."""

import jax
import jax.numpy as jnp


def warm_up() -> str:
    """Starts JAX's backend and compiler. Returns the device's name, such as "cpu" or "NVIDIA H100"."""
    jax.jit(lambda x: x @ x)(jnp.ones((8, 8))).block_until_ready()
    device_kind: str = jax.devices()[0].device_kind
    return device_kind


def error_summary(error: Exception) -> str:
    """Returns one line: the type of the error and the first line of its message."""
    first_line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
