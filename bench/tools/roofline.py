"""What a training step costs in operations, and what the machine can do of them."""

import time
from math import prod

import jax
import jax.numpy as jnp
import numpy as np

from trainer.features.frontend import FEATURES
from trainer.learning.step import Shape
from trainer.network import FOLD, STEP

Product = tuple[int, int, int]  # (m, k) @ (k, n)

SQUARE = 2048
SQUARE_ON_ACCELERATOR = 8192
TIMES = 3  # of which the fastest counts: what else the machine did only ever slows it down


def products(shape: Shape) -> list[Product]:
    """The matrix products of the network's forward pass over one step's windows, the stem's first."""
    architecture, rows = shape.architecture, shape.windows * (shape.grid.length // STEP)
    width = architecture.width
    blocks = [(rows, 3 * width, width), (rows, width, width)] * len(architecture.dilations)
    return [
        (rows, 2 * (FEATURES + 1), width),
        *blocks,
        (rows, width, STEP // FOLD * architecture.outputs),
    ]


def flops(product: Product) -> int:
    """A multiplication and an addition per element of each inner product."""
    return 2 * prod(product)


def step_flops(shape: Shape) -> int:
    """Of one step's matrix products, forward and back.

    Back is a product for the gradient of the weights and one for that of the input; the stem's input is the
    data, which needs none.
    """
    stem, *others = products(shape)
    return 2 * flops(stem) + 3 * sum(map(flops, others))


def square(device: jax.Device) -> Product:
    """A product large enough to keep all of the device busy."""
    side = SQUARE if device.platform == "cpu" else SQUARE_ON_ACCELERATOR
    return side, side, side


class MatmulRate:
    """FLOPs per second of one product in one type of number, compiled once and measured at will."""

    def __init__(self, product: Product, dtype: str, device: jax.Device) -> None:
        rows, inner, columns = product
        rng = np.random.default_rng(0)

        def drawn(*shape: int) -> jax.Array:
            values = rng.standard_normal(shape, np.float32) / np.sqrt(shape[0])
            return jax.device_put(jnp.asarray(values, dtype), device)

        self._arguments = drawn(rows, inner), drawn(inner, columns), drawn(columns, inner)
        self._flops = 2 * flops(product)
        self._count = 1
        self._seconds()

    def measure(self, seconds: float) -> float:
        """The fastest of TIMES, in `seconds` together."""
        while (once := self._seconds()) < seconds / TIMES / 2:
            self._count *= 2
        fastest = min([once, *(self._seconds() for _ in range(TIMES - 1))])
        return self._count * self._flops / fastest

    def _seconds(self) -> float:
        started = time.perf_counter()
        _there_and_back(*self._arguments, self._count).block_until_ready()
        return time.perf_counter() - started


@jax.jit
def _there_and_back(x: jax.Array, there: jax.Array, back: jax.Array, count: int) -> jax.Array:
    """Two products, `count` times; each needs the one before, so none can be left out."""
    return jax.lax.fori_loop(0, count, lambda _, x: (x @ there) @ back, x)
