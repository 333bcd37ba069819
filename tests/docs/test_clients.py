"""What docs/clients.md shows of node and Python is part of the programs that the tests run."""

from pathlib import Path

import pytest

from earmark.gateway.settings import GatewaySettings
from tests.docs.guide import blocks

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "clients.md"
PROGRAMS = {"js": "node/*.mjs", "ts": "node/*.ts", "python": "plain/*.py"}


@pytest.mark.parametrize("language", PROGRAMS)
def test_every_part_that_is_shown_is_run(language) -> None:
    programs = [path.read_text() for path in (ROOT / "tests" / "client").glob(PROGRAMS[language])]
    shown = [block.text for block in blocks(PAGE) if block.language == language]
    parts = [part.strip() for text in shown for part in text.split("\n\n")]

    assert parts
    assert [part for part in parts if not any(part in program for program in programs)] == []


def test_the_heartbeat_is_the_gateways() -> None:
    assert f"heartbeat every {GatewaySettings().heartbeat_seconds:g} seconds" in PAGE.read_text()
