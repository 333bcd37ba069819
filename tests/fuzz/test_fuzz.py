"""Short runs of the fuzzers: whatever a call sends, it gets an answer in words and harms no other.

`python -m tests.fuzz` makes more calls.
"""

import pytest

from tests.fuzz.fuzzer import Fuzzer, methods

CALLS, SEED = 300, 1

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_no_call_breaks_a_service_or_changes_what_a_bystander_has(system) -> None:
    report = await Fuzzer(system, SEED, print).run(range(CALLS))
    assert report.findings == []
    assert report.counts.total() == CALLS
    assert len({name for name, _ in report.counts}) > 0.9 * len(methods())
    assert len(report.without_success()) < 0.4 * len(methods())
