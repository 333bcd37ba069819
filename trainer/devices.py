"""The devices that a process computes on. A batch is split over them; each has everything else whole.

With one device, arrays stay where JAX puts them by itself, and compiled code is what it is without a mesh.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Shaped

Tree = TypeVar("Tree")

AXIS = "devices"


@dataclass(frozen=True, slots=True)
class Devices:
    """One device, or the several of a mesh with one axis."""

    mesh: Mesh | None = None

    @property
    def count(self) -> int:
        """The number of devices."""
        return 1 if self.mesh is None else self.mesh.size

    def sharing(self, rows: int) -> "Devices":
        """As many of these devices as `sharers` says."""
        if self.mesh is None:
            return self
        return together(self.mesh.devices.tolist()[: sharers(self.count, rows)])

    def whole(self, tree: Tree) -> Tree:
        """The arrays of the tree, all of them on every device."""
        copies: Tree = jax.device_put(tree, *self._placed())
        return copies

    def split(self, array: Shaped[np.ndarray, "..."], axis: int) -> Shaped[Array | np.ndarray, "..."]:
        """The array with an equal part along `axis` on each device; zeros fill up what does not divide."""
        if self.mesh is None:
            return array
        missing = -array.shape[axis] % self.count
        filled = np.pad(array, [(0, missing if number == axis else 0) for number in range(array.ndim)])
        split: Array = jax.device_put(filled, *self._placed(*[None] * axis, AXIS))
        return split

    def _placed(self, *axes: str | None) -> tuple[NamedSharding, ...]:
        """The second argument of jax.device_put; none for one device, which JAX chooses by itself."""
        if self.mesh is None:
            return ()
        spec = PartitionSpec(*axes)  # type: ignore[no-untyped-call]  # JAX has no type for it
        return (NamedSharding(self.mesh, spec),)


ONE_DEVICE = Devices()


def sharers(devices: int, rows: int) -> int:
    """How few devices share the rows without giving any device more of them than all devices would.

    Of four devices, three share five rows, two each at most.
    """
    each = -(-rows // devices)
    return -(-rows // each)


def together(devices: Sequence[jax.Device]) -> Devices:
    """A mesh of these devices; no mesh if there is only one."""
    if len(devices) == 1:
        return ONE_DEVICE
    return Devices(Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,)))


def all_devices() -> Devices:
    """All devices that JAX sees in this process."""
    return together(jax.local_devices())
