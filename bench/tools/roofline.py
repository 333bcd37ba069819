"""The floating-point operations of a training step, and the rate at which the machine computes them."""

import time
from math import prod

import jax
import jax.numpy as jnp
import numpy as np

from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.learning.step import Shape
from earmark.trainer.network import STEP

Product = tuple[int, int, int]  # (m, k) @ (k, n)

SQUARE = 2048
SQUARE_ON_ACCELERATOR = 8192
TIMES = 3  # the fastest counts: other work on the machine can only slow it down


def products(shape: Shape) -> list[Product]:
    """The matrix products of the network's forward pass over one step's windows; the stem's is the first."""
    architecture, rows = shape.architecture, shape.windows * (shape.grid.length // STEP)
    width = architecture.width
    blocks = [(rows, 3 * width, width), (rows, width, width)] * len(architecture.dilations)
    return [
        (rows, 2 * (FEATURES + 1), width),
        *blocks,
        (rows, width, STEP * architecture.outputs),
    ]


def flops(product: Product) -> int:
    """Operations of one product: a multiplication and an addition per element of each inner product."""
    return 2 * prod(product)


def step_flops(shape: Shape) -> int:
    """Operations of one step's matrix products, forward and backward.

    The backward pass has one product for the gradient of the weights and one for that of the input. The
    stem's input is the data, which needs no gradient.
    """
    stem, *others = products(shape)
    return 2 * flops(stem) + 3 * sum(map(flops, others))


def square(device: jax.Device) -> Product:
    """A square product large enough to keep the whole device busy."""
    side = SQUARE if device.platform == "cpu" else SQUARE_ON_ACCELERATOR
    return side, side, side


class MatmulRate:
    """FLOPs per second of one product in one dtype; compiled once, measured any number of times."""

    def __init__(self, product: Product, dtype: str, device: jax.Device) -> None:
        rows, inner, columns = product
        rng = np.random.default_rng(0)

        def random_matrix(*shape: int) -> jax.Array:
            values = rng.standard_normal(shape, np.float32) / np.sqrt(shape[0])
            matrix: jax.Array = jax.device_put(jnp.asarray(values, dtype), device)
            return matrix

        self._arguments = (
            random_matrix(rows, inner),
            random_matrix(inner, columns),
            random_matrix(columns, inner),
        )
        self._flops = 2 * flops(product)
        self._count = 1
        self._seconds()

    def measure(self, seconds: float) -> float:
        """The fastest of TIMES measurements that take about `seconds` together."""
        while (once := self._seconds()) < seconds / TIMES / 2:
            self._count *= 2
        fastest = min([once, *(self._seconds() for _ in range(TIMES - 1))])
        return self._count * self._flops / fastest

    def _seconds(self) -> float:
        started = time.perf_counter()
        _multiply_repeatedly(*self._arguments, self._count).block_until_ready()
        return time.perf_counter() - started


@jax.jit
def _multiply_repeatedly(x: jax.Array, first: jax.Array, second: jax.Array, count: int) -> jax.Array:
    """Two products, `count` times. Each needs the result before it, so XLA cannot drop any."""
    result: jax.Array = jax.lax.fori_loop(0, count, lambda _, x: (x @ first) @ second, x)
    return result
