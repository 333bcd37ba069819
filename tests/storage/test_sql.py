"""The named queries."""

import sys
from pathlib import Path

from earmark.storage import sql


def test_the_queries_are_found_where_the_repository_is_not_on_the_path(monkeypatch):
    """As in an installed wheel, in which `earmark.storage` is the only name."""
    elsewhere = [path for path in sys.path if not Path(path, "storage", "sql.py").exists()]
    monkeypatch.setattr(sys, "path", elsewhere)
    monkeypatch.delitem(sys.modules, "storage", raising=False)
    assert "record" in sql.load.__wrapped__("events")
