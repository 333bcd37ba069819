"""The validator of live streams: none ends before its audio, and none loses or doubles a detection."""

from collections.abc import Iterator

from bench.faults.observations import LiveStream, Observations
from bench.faults.tables import Tables


def live_streams_find_the_same(observed: Observations, tables: Tables) -> Iterator[str]:  # noqa: ARG001 - as all validators
    """A live stream finds what is found in its audio at once, each once, whatever happened meanwhile."""
    for stream in observed.live_streams:
        yield from (
            f"the stream of audio {stream.audio} from gateway-{stream.gateway}: {problem}"
            for problem in _problems(stream, observed)
        )


def _problems(stream: LiveStream, observed: Observations) -> Iterator[str]:
    if stream.failure:
        yield f"it failed: {stream.failure}"
    elif stream.ended is None:
        yield "it did not end"
    elif (expected := observed.recordings.get(stream.audio)) is None:
        yield "nothing is known of its audio"
    elif stream.found != expected:
        lacking, more = set(expected) - set(stream.found), set(stream.found) - set(expected)
        yield (
            f"it found {len(stream.found)} artifacts, and the recording has {len(expected)};"
            f" it lacks {sorted(lacking)} and has {sorted(more)} besides"
        )
