"""Every file that a page of docs/ names or links to exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`([\w.]+/[\w./]+\.(?:py|proto|sql))`")
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINKED = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    named = [ROOT / path for path in NAMED.findall(text)]
    linked = [page.parent / path for path in LINKED.findall(CODE.sub("", text))]
    assert [path for path in named + linked if not path.exists()] == []
