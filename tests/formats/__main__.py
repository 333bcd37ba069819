"""`python -m tests.formats` measures every format again and writes the table of docs/formats.md."""

import asyncio
import tempfile
from pathlib import Path

from tests.formats.table import PAGE, measure, table, table_of_page

with tempfile.TemporaryDirectory() as folder:
    new = table(asyncio.run(measure(Path(folder))))
PAGE.write_text(PAGE.read_text().replace(table_of_page(), new))
