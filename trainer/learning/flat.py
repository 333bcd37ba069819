"""Weights end to end in two arrays: what is done to each number of all weights is one operation then.

The optimizer and the moving average are such work. On trees of 36 arrays they would be most of the operations
of a step, and on a GPU an operation this small costs its launch. This module does no input or output.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float32

from earmark.trainer.network import Weights


class Flat(NamedTuple):
    """The matrices end to end, and the vectors: biases and scales."""

    matrices: Float32[Array, " numbers_of_matrices"]
    vectors: Float32[Array, " numbers_of_vectors"]


def flatten(weights: Weights) -> Flat:
    """Put the arrays of the weights end to end, in the order of the tree."""
    leaves = jax.tree.leaves(weights)
    return Flat(*(jnp.concatenate([leaf.ravel() for leaf in part]) for part in _parts(leaves)))


def unflatten(flat: Flat, like: Weights) -> Weights:
    """Return the inverse of flatten, a tree like `like`."""
    leaves, structure = jax.tree.flatten(like)
    parts = [
        iter(jnp.split(array, np.cumsum([leaf.size for leaf in part])[:-1]))
        for array, part in zip(flat, _parts(leaves), strict=True)
    ]
    arrays = [next(parts[0 if _is_matrix(leaf) else 1]).reshape(leaf.shape) for leaf in leaves]
    weights: Weights = jax.tree.unflatten(structure, arrays)
    return weights


def with_flat_weights(tree: Any) -> Any:
    """Return the tree with all weights in it flattened, and what is like them, such as their moments."""
    return _replaced(tree, nnx.State, flatten)


def with_weights(tree: Any, like: Weights) -> Any:
    """Return the inverse of with_flat_weights."""
    return _replaced(tree, Flat, lambda flat: unflatten(flat, like))


def _is_matrix(array: Any) -> bool:
    return len(array.shape) > 1


def _parts(leaves: list[Any]) -> tuple[list[Any], list[Any]]:
    return [leaf for leaf in leaves if _is_matrix(leaf)], [leaf for leaf in leaves if not _is_matrix(leaf)]


def _replaced(tree: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """The tree with what is of that kind changed."""

    def changed(part: Any) -> Any:
        return change(part) if isinstance(part, kind) else part

    return jax.tree.map(changed, tree, is_leaf=lambda part: isinstance(part, kind))
