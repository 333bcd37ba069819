"""The Grafana dashboard shows every documented metric, and asks for no other."""

import json
import re
from pathlib import Path

from tests.monitors import documented

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "earmark.json"
NAME = re.compile(r"\b(?:earmark|grpc_server)_\w+")


def test_the_dashboard_asks_for_the_metrics_that_exist() -> None:
    # The gateway's and the trainer's own tests compare these with what each has.
    exist = documented("gateway", "trainer", "both")
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = {
        name.removesuffix("_bucket")
        for panel in panels
        for target in panel["targets"]
        for name in NAME.findall(target["expr"])
    }
    # Each call that has begun ends.
    assert asked == exist - {"grpc_server_started_total"}
