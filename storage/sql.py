"""Reads the named queries of storage/queries/*.sql.

A block is a line `-- name: get_dataset`, a line or more that say what it is for, and the statement.
"""

import re
from functools import cache
from importlib.resources import files

_BLOCK = re.compile(r"^-- name: (\w+)\n((?:-- [^\n]*\n)+)(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)


@cache
def load(file: str) -> dict[str, str]:
    """The statements of storage/queries/{file}.sql by name. Raises ValueError for a name given twice."""
    text = (files("storage") / "queries" / f"{file}.sql").read_text()
    queries: dict[str, str] = {}
    for name, _purpose, statement in _BLOCK.findall(text):
        if name in queries:
            raise ValueError(f"{file}.sql has two queries named {name}")
        queries[name] = statement.strip()
    return queries
