"""Reads the named queries of storage/queries/*.sql.

Each query is a block: a line such as `-- name: get_dataset`, one or more comment lines that state its
purpose, and the statement.
"""

import re
from functools import cache
from importlib.resources import files

_BLOCK = re.compile(r"^-- name: (\w+)\n((?:-- [^\n]*\n)+)(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)


@cache
def load(file: str, **replaced: str) -> dict[str, str]:
    """The statements of storage/queries/{file}.sql by name. Each <key> of `replaced` becomes its value.

    Raises ValueError if two have the same name.
    """
    text = (files("earmark.storage") / "queries" / f"{file}.sql").read_text()
    for key, value in replaced.items():
        text = text.replace(f"<{key}>", value)
    queries: dict[str, str] = {}
    for name, _purpose, statement in _BLOCK.findall(text):
        if name in queries:
            raise ValueError(f"{file}.sql has two queries named {name}")
        queries[name] = statement.strip()
    return queries
