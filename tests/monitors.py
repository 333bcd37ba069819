"""What a monitor sees of a service: its pages, its metrics, and what docs/operations.md says of them."""

import re
import urllib.error
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

OPERATIONS = Path(__file__).parents[1] / "docs" / "operations.md"
ROW = re.compile(r"^\| `((?:earmark|grpc)_\w+)` \| (\w+) \|", re.MULTILINE)


def page(address: str, path: str) -> tuple[int, str]:
    """The status and the text of a page."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=30) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class Metrics:
    """The metrics of a service."""

    def __init__(self, address: str) -> None:
        status, text = page(address, "/metrics")
        assert status == 200
        self._samples = {}
        self.names, self.labels = set(), set()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._samples[sample.name, frozenset(sample.labels.items())] = sample.value
                self.labels |= set(sample.labels)
                # Those of the process are prometheus-client's.
                if not sample.name.startswith("process_"):
                    self.names.add(family.name if family.type == "histogram" else sample.name)

    def value(self, name: str, **labels: str) -> float:
        """A sample; 0 if there is none."""
        return self._samples.get((name, frozenset(labels.items())), 0.0)


def documented(*services: str) -> set[str]:
    """The metrics that docs/operations.md has of these services."""
    return {name for name, service in ROW.findall(OPERATIONS.read_text()) if service in services}
