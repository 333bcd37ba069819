"""The network: frames of features to logits per artifact type, every 20 ms.

Shaped as matrix products: the gradient of a convolution inside a loop is 8 to 55 times slower on XLA's CPU
backend than the same convolution written as shifted slices and one product. No input or output.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import count

import jax
import jax.numpy as jnp
from flax import nnx

from trainer.frontend import FEATURES

FOLD = 2  # frames of the front end in one of the network's
OUTPUT_MS = 20
DROPOUT = 0.15


@dataclass(frozen=True, slots=True)
class Architecture:
    """Hashable: it selects the compiled code. `outputs` is the number of types, rounded up to a bucket.

    `outer` and `inner` are dilations of blocks at 20 ms, before and after those at 40 ms.
    """

    outputs: int
    width: int = 64
    inner_width: int = 128
    outer: tuple[int, ...] = (1,)
    inner: tuple[int, ...] = (1, 2, 4, 8, 16)
    dtype: str = "float32"

    @property
    def reach(self) -> int:
        """Output frames to either side that an output depends on, one more for the folding."""
        return 2 * sum(self.outer) + FOLD * (sum(self.inner) + 1)


class Block(nnx.Module):
    """x + W2 drop(relu(W1 [norm(x)(t - d), norm(x)(t), norm(x)(t + d)]))."""

    def __init__(self, width: int, dilation: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.dilation = dilation
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.spread = nnx.Linear(3 * width, width, dtype=dtype, rngs=rngs)
        self.gather = nnx.Linear(
            width,
            width,
            dtype=dtype,
            kernel_init=nnx.initializers.zeros_init(),
            rngs=rngs,
        )

    def __call__(self, x: jax.Array, key: jax.Array | None) -> jax.Array:
        """(batch, frames, width) to the same."""
        padded = jnp.pad(self.norm(x), ((0, 0), (self.dilation, self.dilation), (0, 0)))
        frames = x.shape[1]
        shifted = [padded[:, shift : shift + frames] for shift in (0, self.dilation, 2 * self.dilation)]
        hidden = nnx.relu(self.spread(jnp.concatenate(shifted, axis=-1)))
        return x + self.gather(drop_channels(hidden, DROPOUT, key))


def drop_channels(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Zeroes whole channels of x (batch, frames, channels), others for each item; nothing without a key.

    Dropping frame by frame would be a dropout, and costs a thousand times the random numbers.
    """
    if key is None:
        return x
    kept = jax.random.bernoulli(key, 1 - rate, (x.shape[0], 1, x.shape[2]))
    return x * (kept / (1 - rate)).astype(x.dtype)


class Network(nnx.Module):
    """Fine blocks at 20 ms around coarse ones at 40 ms, where most of the work is done at half the cost."""

    def __init__(self, architecture: Architecture, rngs: nnx.Rngs) -> None:
        dtype = jnp.dtype(architecture.dtype)
        width, inner = architecture.width, architecture.inner_width
        self.dtype = dtype
        self.stem = nnx.Linear(FOLD * (FEATURES + 1), width, dtype=dtype, rngs=rngs)
        self.before = nnx.List([Block(width, d, dtype, rngs) for d in architecture.outer])
        self.fold = nnx.Linear(FOLD * width, inner, dtype=dtype, rngs=rngs)
        self.inner = nnx.List([Block(inner, d, dtype, rngs) for d in architecture.inner])
        self.unfold = nnx.Linear(inner, FOLD * width, dtype=dtype, rngs=rngs)
        self.after = nnx.List([Block(width, d, dtype, rngs) for d in architecture.outer])
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.head = nnx.Linear(width, architecture.outputs, rngs=rngs)

    def __call__(self, x: jax.Array, valid: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Normalised features (batch, frames, FEATURES) to float32 logits (batch, frames / FOLD, outputs).

        `valid` (batch, frames) is 0 outside the audio; the network is told where that is. With a key, as in
        training, channels are dropped.
        """
        batch, frames, _ = x.shape
        keys = _keys(key)
        mask = valid[..., None].astype(self.dtype)
        x = jnp.concatenate([x.astype(self.dtype) * mask, mask], axis=-1)
        fine = self.stem(x.reshape(batch, frames // FOLD, -1))
        for block in self.before:
            fine = block(fine, next(keys))
        coarse = self.fold(fine.reshape(batch, frames // FOLD // FOLD, -1))
        for block in self.inner:
            coarse = block(coarse, next(keys))
        fine = fine + self.unfold(coarse).reshape(fine.shape)
        for block in self.after:
            fine = block(fine, next(keys))
        return self.head(nnx.relu(self.norm(fine)).astype(jnp.float32))


def _keys(key: jax.Array | None) -> Iterator[jax.Array | None]:
    for number in count():
        yield None if key is None else jax.random.fold_in(key, number)


@cache
def _structure(architecture: Architecture) -> nnx.GraphDef[Network]:
    return nnx.split(nnx.eval_shape(lambda: Network(architecture, nnx.Rngs(0))))[0]


def initial_parameters(architecture: Architecture, seed: int) -> nnx.State:
    """Drawn from `seed` alone."""
    return _draw(jax.random.key(seed), architecture)


@partial(jax.jit, static_argnums=1)
def _draw(key: jax.Array, architecture: Architecture) -> nnx.State:
    return nnx.split(Network(architecture, nnx.Rngs(key)))[1]


def logits(
    architecture: Architecture,
    parameters: nnx.State,
    x: jax.Array,
    valid: jax.Array,
    key: jax.Array | None = None,
) -> jax.Array:
    """`Network.__call__` as a pure function of its parameters."""
    return nnx.merge(_structure(architecture), parameters)(x, valid, key)


def default_dtype() -> str:
    """bfloat16 activations pay on an accelerator; on a CPU they gain nothing and cost determinism."""
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def output_bucket(types: int) -> int:
    """`types` rounded up, so that jobs with a similar number share compiled code."""
    return max(8, 1 << (types - 1).bit_length())
