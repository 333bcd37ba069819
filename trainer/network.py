"""The network: frames of features to logits per artifact type, every 20 ms.

Shaped as matrix products: the gradient of a convolution inside a loop is 8 to 55 times slower on XLA's CPU
backend than the same convolution written as shifted slices and one product. No input or output.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx

from trainer.features.frontend import FEATURES, FRAME_MS
from trainer.job import NetworkSize

FOLD = 2  # frames of the front end in one output
OUTPUT_MS = FOLD * FRAME_MS
STEP = 4  # frames of the front end in one of the network's: most work at a quarter of the rate
DROPOUT = 0.15

Weights: TypeAlias = nnx.State[Any, Any]


@dataclass(frozen=True, slots=True)
class Architecture:
    """Hashable: it selects the compiled code. `outputs` is the number of types, rounded up to a bucket."""

    outputs: int
    width: int = 128
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16)
    dtype: str = "float32"

    @property
    def reach(self) -> int:
        """Frames of the front end to either side that an output depends on."""
        return STEP * (sum(self.dilations) + 1)


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
    """A stem that takes STEP frames at once, residual blocks of growing dilation, and a head.

    The stem sees the mean and the maximum of the frames: where among them a click lies need not be learned.
    """

    def __init__(self, architecture: Architecture, rngs: nnx.Rngs) -> None:
        dtype = jnp.dtype(architecture.dtype)
        width = architecture.width
        self.dtype = dtype
        self.stem = nnx.Linear(2 * (FEATURES + 1), width, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List([Block(width, d, dtype, rngs) for d in architecture.dilations])
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.head = nnx.Linear(width, STEP // FOLD * architecture.outputs, rngs=rngs)

    def __call__(self, x: jax.Array, valid: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Normalised features (batch, frames, FEATURES) to float32 logits (batch, frames / FOLD, outputs).

        `valid` (batch, frames) is 0 outside the audio; the network is told where that is. With a key, as in
        training, channels are dropped.
        """
        batch, frames, _ = x.shape
        keys = _keys(key)
        mask = valid[..., None].astype(self.dtype)
        x = jnp.concatenate([x.astype(self.dtype) * mask, mask], axis=-1)
        x = x.reshape(batch, frames // STEP, STEP, -1)
        x = self.stem(jnp.concatenate([x.mean(axis=2), x.max(axis=2)], axis=-1))
        for block in self.blocks:
            x = block(x, next(keys))
        return self.head(nnx.relu(self.norm(x)).astype(jnp.float32)).reshape(batch, frames // FOLD, -1)


def _keys(key: jax.Array | None) -> Iterator[jax.Array | None]:
    for number in count():
        yield None if key is None else jax.random.fold_in(key, number)


@cache
def _structure(architecture: Architecture) -> nnx.GraphDef[Network]:
    return nnx.split(nnx.eval_shape(lambda: Network(architecture, nnx.Rngs(0))))[0]


def initial_parameters(architecture: Architecture, seed: int) -> Weights:
    """Drawn from `seed` alone."""
    return _draw(jax.random.key(seed), architecture)


@partial(jax.jit, static_argnums=1)
def _draw(key: jax.Array, architecture: Architecture) -> Weights:
    return nnx.split(Network(architecture, nnx.Rngs(key)))[1]


def logits(
    architecture: Architecture,
    parameters: Weights,
    x: jax.Array,
    valid: jax.Array,
    key: jax.Array | None = None,
) -> jax.Array:
    """`Network.__call__` as a pure function of its parameters."""
    return nnx.merge(_structure(architecture), parameters)(x, valid, key)


def default_dtype() -> str:
    """bfloat16 activations pay on an accelerator; on a CPU they gain nothing and cost determinism."""
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def new_architecture(types: int, network: NetworkSize) -> Architecture:
    """Of a network for so many types, to be trained from nothing on this machine."""
    outputs, dtype = output_bucket(types), default_dtype()
    if network == "tiny":
        return Architecture(outputs, width=16, dilations=(1, 2), dtype=dtype)
    return Architecture(outputs, dtype=dtype)


def output_bucket(types: int) -> int:
    """`types` rounded up, so that jobs with a similar number share compiled code."""
    return max(8, 1 << (types - 1).bit_length())
