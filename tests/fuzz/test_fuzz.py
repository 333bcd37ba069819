"""Short runs of the fuzzers: whatever a call sends, it gets an answer in words and harms no other.

`python -m tests.fuzz` makes more calls, and `python -m tests.fuzz.audio` more files.
"""

import pytest

from tests.fuzz.audio.fuzzer import AudioFuzzer
from tests.fuzz.fuzzer import Fuzzer, methods

CALLS, FILES, SEED = 1_500, 60, 1
CALL_SECONDS = 60.0  # other tests run meanwhile

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_no_call_breaks_a_service_or_changes_what_a_bystander_has(system) -> None:
    report = await Fuzzer(system, SEED, print, CALL_SECONDS).run(range(CALLS))
    assert report.findings == []
    assert report.counts.total() == CALLS
    assert len({name for name, _ in report.counts}) > 0.9 * len(methods())
    assert len(report.without_success()) < 0.4 * len(methods())


async def test_every_file_ends_ready_or_failed_with_a_reason(system) -> None:
    report = await AudioFuzzer(system, SEED, print).run(range(FILES))
    assert report.findings == []
    ends = [end for _, end in report.counts.elements()]
    assert len(ends) > FILES
    assert min(ends.count("ready"), ends.count("failed")) > FILES / 10
    assert len(report.reasons) > 5
