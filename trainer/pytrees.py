"""Converts trees of arrays to flat dictionaries, as safetensors stores them, and back."""

from typing import TypeVar

import jax
import numpy as np
from jaxtyping import Shaped

Tree = TypeVar("Tree")


def to_arrays(tree: Tree) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Copy every leaf to the host. The names are the leaves' paths in the tree."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(tree))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}


def from_arrays(template: Tree, arrays: dict[str, Shaped[np.ndarray, "..."]]) -> Tree:
    """Arrange the arrays as a tree like `template`. Raises ValueError if a name, shape or dtype differs."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    if missing := sorted(set(names) ^ set(arrays)):
        raise ValueError(f"weights missing or unknown: {', '.join(missing[:5])}")
    for name, (_, leaf) in zip(names, leaves, strict=True):
        if (arrays[name].shape, arrays[name].dtype) != (leaf.shape, leaf.dtype):
            raise ValueError(f"weight {name} is {arrays[name].shape}, not {leaf.shape}")
    tree: Tree = jax.tree_util.tree_unflatten(structure, [arrays[name] for name in names])
    return tree
