"""A Ray cluster on this machine's loopback, to which nodes are added, and whose nodes are killed.

    python -m bench.tools.raylets

Prints the address of the cluster, whose head does no work. Then it reads `add CPUS` and `kill NODE`, and
answers each with the id of the node. It ends with its input.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

# Ray takes the machine's own address for "localhost" wherever clusters are enabled.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
OBJECT_STORE_BYTES = 80 << 20  # Ray takes no fewer


@dataclass(frozen=True, slots=True)
class Raylets:
    """A running cluster. `environment`: the variables that whoever joins it needs."""

    address: str
    environment: dict[str, str]
    process: subprocess.Popen[str]

    def add(self, cpus: int) -> str:
        """Adds a node with so many CPUs. Returns its id."""
        return self._ask(f"add {cpus}")

    def kill(self, node_id: str) -> None:
        """Kills the raylet of this node, and with it what runs there. Returns when it has ended."""
        self._ask(f"kill {node_id}")

    def _ask(self, command: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@contextmanager
def raylets() -> Iterator[Raylets]:
    """Yields a cluster of a head without CPUs."""
    # Short: the paths of sockets have at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        environment = {**LOOPBACK, "RAY_TMPDIR": folder}
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.tools.raylets"],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with process:  # its input ends with the block, and it with its input
            assert process.stdout is not None
            yield Raylets(process.stdout.readline().strip(), environment, process)


def main() -> None:
    """See the module."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415 an extra

    output, sys.stdout = sys.stdout, sys.stderr  # Ray writes to stdout
    cluster: Any = Cluster()
    nodes: dict[str, Any] = {}

    def add(cpus: int) -> str:
        node = cluster.add_node(
            num_cpus=cpus,
            node_ip_address="127.0.0.1",
            include_dashboard=False,
            include_log_monitor=False,
            object_store_memory=OBJECT_STORE_BYTES,
        )
        nodes[node.node_id] = node
        return str(node.node_id)

    add(0)
    print(cluster.address, file=output, flush=True)
    with suppress(KeyboardInterrupt):
        for line in sys.stdin:
            command, argument = line.split()
            if command == "add":
                argument = add(int(argument))
            else:
                cluster.remove_node(nodes.pop(argument), allow_graceful=False)
            print(argument, file=output, flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
