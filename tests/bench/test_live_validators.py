"""The drill's validator of live streams finds what it is for, and nothing in streams that went well."""

from dataclasses import replace

import pytest

from bench.faults.live_validators import live_streams_find_the_same
from bench.faults.observations import LiveStream, Observations
from bench.faults.tables import Tables

FOUND = [("burst", 500, 800), ("burst", 2_500, 2_800)]
GOOD = LiveStream(0, 0, 1.0, 2.0, FOUND)


def problems(stream: LiveStream) -> list[str]:
    observed = Observations(live_streams=[stream], recordings={0: FOUND})
    return list(live_streams_find_the_same(observed, Tables()))


def test_nothing_is_wrong_with_a_good_stream():
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"found": FOUND[:1]}, "lacks [('burst', 2500, 2800)]"),
        ({"found": [*FOUND, FOUND[1]]}, "found 3 artifacts, and the recording has 2"),
        ({"found": FOUND[::-1]}, "found 2 artifacts"),
        ({"failure": "UNAVAILABLE"}, "failed: UNAVAILABLE"),
        ({"ended": None}, "did not end"),
        ({"audio": 1}, "nothing is known"),
    ],
)
def test_it_says_what_is_wrong(changes, problem):
    (said,) = problems(replace(GOOD, **changes))
    assert problem in said
