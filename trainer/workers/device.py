"""What the two processes that run JAX share."""

import jax
import jax.numpy as jnp


def warm_up() -> str:
    """Starts JAX's backend and compiler. Returns the device's name, such as "cpu" or "NVIDIA H100"."""
    jax.jit(lambda x: x @ x)(jnp.ones((8, 8))).block_until_ready()
    return jax.devices()[0].device_kind


def summary(error: Exception) -> str:
    """One line: the type, and the first line of what it says."""
    said = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
