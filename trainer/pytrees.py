"""Trees of arrays as flat names to arrays and back: what safetensors can hold."""

from typing import TypeVar

import jax
import numpy as np

Tree = TypeVar("Tree")


def to_arrays(tree: Tree) -> dict[str, np.ndarray]:
    """Every leaf by its path, copied to the host."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(tree))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}


def from_arrays(template: Tree, arrays: dict[str, np.ndarray]) -> Tree:
    """`arrays` in the shape of `template`. Raises ValueError where a name, shape or type does not fit."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    if missing := sorted(set(names) ^ set(arrays)):
        raise ValueError(f"weights missing or unknown: {', '.join(missing[:5])}")
    for name, (_, leaf) in zip(names, leaves, strict=True):
        if (arrays[name].shape, arrays[name].dtype) != (leaf.shape, leaf.dtype):
            raise ValueError(f"weight {name} is {arrays[name].shape}, not {leaf.shape}")
    return jax.tree_util.tree_unflatten(structure, [arrays[name] for name in names])
