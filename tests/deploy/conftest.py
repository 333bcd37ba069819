"""Runs these tests by `make deploy-check` only: they fetch programs of 100 MB."""

import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what was not asked for."""
    if os.environ.get("EARMARK_TEST_DEPLOY") != "1":
        skipped = pytest.mark.skip(reason="make deploy-check runs it")
        for item in items:
            if FOLDER in item.path.parents:
                item.add_marker(skipped)
