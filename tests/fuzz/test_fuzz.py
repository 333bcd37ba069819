"""A short run of the fuzzer: whatever a call sends, it gets an answer in words and harms no other.

`python -m tests.fuzz` makes more calls.
"""

import asyncio

from tests.fuzz.fuzzer import Fuzzer, Report, methods
from tests.fuzz.system import started

CALLS, SEED = 200, 1


async def _fuzzed(folder) -> Report:
    async with started(folder) as system:
        return await Fuzzer(system, SEED, print).run(range(CALLS))


def test_no_call_breaks_a_service_or_changes_what_a_bystander_has(tmp_path) -> None:
    report = asyncio.run(_fuzzed(tmp_path))
    assert report.findings == []
    assert report.counts.total() == CALLS
    assert len({name for name, _ in report.counts}) > 0.9 * len(methods())
    assert sum(count for (_, status), count in report.counts.items() if status == "OK") > CALLS / 20
