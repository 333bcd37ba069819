"""The network: turns frames of features into a logit per artifact type, every 10 ms.

Convolutions are written as shifted slices and one matrix product, because the gradient of a convolution
inside a loop is 8 to 55 times slower on XLA's CPU backend. This module does no input or output.
"""

from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32, Key

from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.job import NetworkSize

STEP = 4  # frames of the front end per frame of the network: most work is at a quarter of the rate
DROPOUT = 0.15
LONGEST_FUTURE = 7  # of a block, in frames of the network: with the front end, 1.5 s together

Weights: TypeAlias = nnx.State[Any, Any]


@dataclass(frozen=True, slots=True)
class Architecture:
    """The dimensions of a network. It is hashable, because it selects the compiled code.

    `outputs` is the number of artifact types, rounded up by `output_bucket`.
    """

    outputs: int
    width: int = 128
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16)
    dtype: str = "float32"

    @property
    def futures(self) -> tuple[int, ...]:
        """How far each block looks forward: as far as back, but no further than a live stream should wait."""
        return tuple(min(dilation, LONGEST_FUTURE) for dilation in self.dilations)

    @property
    def past(self) -> int:
        """How many frames of the front end before its own an output depends on."""
        return STEP * (sum(self.dilations) + 1)

    @property
    def future(self) -> int:
        """How many frames of the front end after its own an output depends on."""
        return STEP * (sum(self.futures) + 1)


class Block(nnx.Module):
    """A residual block: x + W2 drop(relu(W1 [norm(x)(t - d), norm(x)(t), norm(x)(t + f)])).

    d is the dilation and f the future, which is shorter where a live stream should not wait.
    """

    def __init__(self, width: int, dilation: int, future: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.dilation = dilation
        self.future = future
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.spread = nnx.Linear(3 * width, width, dtype=dtype, rngs=rngs)
        self.gather = nnx.Linear(
            width,
            width,
            dtype=dtype,
            kernel_init=nnx.initializers.zeros_init(),
            rngs=rngs,
        )

    def __call__(
        self, x: Float[Array, "batch frames width"], scale: Float32[Array, "batch 1 width"] | None
    ) -> Float[Array, "batch frames width"]:
        """`scale` is 0 for the channels that are dropped; with None, none is."""
        padded = jnp.pad(self.norm(x), ((0, 0), (self.dilation, self.future), (0, 0)))
        frames, shifts = x.shape[1], (0, self.dilation, self.dilation + self.future)
        shifted = [padded[:, shift : shift + frames] for shift in shifts]
        hidden = nnx.relu(self.spread(jnp.concatenate(shifted, axis=-1)))
        return x + self.gather(hidden if scale is None else hidden * scale.astype(hidden.dtype))


def drop_channels(key: Key[Array, ""], blocks: int, batch: int, width: int) -> Float32[Array, "..."]:
    """Draw what each channel is multiplied with, (blocks, batch, 1, width): 0 if it is dropped.

    A share DROPOUT of the channels is, for all frames alike. Ordinary dropout would draw for every frame, and
    need a thousand times as many random numbers. All blocks draw at once, because each draw is many small
    operations.
    """
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(blocks))
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - DROPOUT, (batch, 1, width)))(keys)
    return kept.astype(jnp.float32) / (1 - DROPOUT)


class Network(nnx.Module):
    """A stem that takes STEP frames at once, residual blocks of growing dilation, and a head.

    The stem gets the mean and the maximum of these frames, so the network need not learn a click once for
    each of its possible positions among them.
    """

    def __init__(self, architecture: Architecture, rngs: nnx.Rngs) -> None:
        dtype = jnp.dtype(architecture.dtype)
        width = architecture.width
        self.dtype, self.width = dtype, width
        self.stem = nnx.Linear(2 * (FEATURES + 1), width, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List(
            Block(width, dilation, future, dtype, rngs)
            for dilation, future in zip(architecture.dilations, architecture.futures, strict=True)
        )
        self.norm = nnx.LayerNorm(width, dtype=dtype, rngs=rngs)
        self.head = nnx.Linear(width, STEP * architecture.outputs, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "batch frames features"],
        valid: Bool[Array, "batch frames"],
        key: Key[Array, ""] | None = None,
    ) -> Float32[Array, "batch frames outputs"]:
        """Turn normalised features into logits, one per frame and output.

        `valid` is false outside the audio, and is an input of the network too. If there is a key, as in
        training, channels are dropped.
        """
        batch, frames, _ = x.shape
        blocks = len(self.blocks)
        scales = [None] * blocks if key is None else drop_channels(key, blocks, batch, self.width)
        mask = valid[..., None].astype(self.dtype)
        x = jnp.concatenate([x.astype(self.dtype) * mask, mask], axis=-1)
        x = x.reshape(batch, frames // STEP, STEP, -1)
        x = self.stem(jnp.concatenate([x.mean(axis=2), x.max(axis=2)], axis=-1))
        for block, scale in zip(self.blocks, scales, strict=True):
            x = block(x, scale)
        return self.head(nnx.relu(self.norm(x)).astype(jnp.float32)).reshape(batch, frames, -1)


@cache
def _structure(architecture: Architecture) -> nnx.GraphDef[Network]:
    structure, _ = nnx.split(nnx.eval_shape(lambda: Network(architecture, nnx.Rngs(0))))
    return structure


def initial_parameters(architecture: Architecture, seed: int) -> Weights:
    """Draw the weights of a new network; they depend on `seed` and the architecture alone."""
    weights: Weights = _draw(jax.random.key(seed), architecture)
    return weights


@partial(jax.jit, static_argnums=1)
def _draw(key: Key[Array, ""], architecture: Architecture) -> Weights:
    weights: Weights = nnx.split(Network(architecture, nnx.Rngs(key)))[1]
    return weights


def logits(
    architecture: Architecture,
    parameters: Weights,
    x: Float[Array | np.ndarray, "batch frames features"],
    valid: Bool[Array | np.ndarray, "batch frames"],
    key: Key[Array, ""] | None = None,
) -> Float32[Array, "batch frames outputs"]:
    """Call the network as a pure function of its parameters; see `Network.__call__`."""
    network = nnx.merge(_structure(architecture), parameters)
    return network(jnp.asarray(x), jnp.asarray(valid), key)


def default_dtype() -> str:
    """Use bfloat16 on accelerators only: on a CPU it saves no time, and results are not deterministic."""
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def new_architecture(types: int, network: NetworkSize) -> Architecture:
    """Return the architecture of a new network for so many artifact types, for this machine's device."""
    outputs, dtype = output_bucket(types), default_dtype()
    if network == "tiny":
        return Architecture(outputs, width=16, dilations=(1, 2), dtype=dtype)
    return Architecture(outputs, dtype=dtype)


def output_bucket(types: int) -> int:
    """Round the number of artifact types up, so that jobs with similar numbers share compiled code."""
    return max(8, 1 << (types - 1).bit_length())
