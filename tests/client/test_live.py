"""Detection in live audio: each detection once, whatever breaks."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest

from earmark.client import Backoff, live_audio
from earmark.v1.detection_pb2 import Detection, DetectionHeartbeat, LiveAudio
from earmark.v1.detection_service_pb2 import DetectResponse
from earmark.v1.detection_service_pb2_grpc import DetectionServiceServicer
from tests.client.both import Reach

PCM = LiveAudio.Pcm(sample_rate_hz=8_000, channels=2, encoding=1)
SECOND = 8_000 * 2 * 2
SOON = Backoff(initial=0.01)


class Judge(DetectionServiceServicer):
    """Finds an artifact in each second whose bytes are not 0, and judges the audio two seconds later.

    It breaks each stream that reaches one of the seconds `breaks`, once.
    """

    def __init__(self, *breaks: int, longest: int = 0) -> None:
        self._breaks = list(breaks)
        self._longest = longest
        self.starts: list[tuple[int, list[int]]] = []

    def Detect(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[DetectResponse]:
        live, audio = next(requests).start.live, b""
        self.starts.append((live.start_ms, list(live.silent_channels)))
        first = judged = live.start_ms // 1000
        for request in requests:
            audio += request.data
            while judged < first + len(audio) // SECOND - 2:
                if judged in self._breaks:
                    self._breaks.remove(judged)
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the trainer was lost")
                yield from self._judged(judged, audio[(judged - first) * SECOND :][:SECOND])
                judged += 1
        for second in range(judged, first + len(audio) // SECOND):
            yield from self._judged(second, audio[(second - first) * SECOND :][:SECOND])
        yield DetectResponse(summary={"duration_ms": len(audio) // SECOND * 1000})

    def _judged(self, second: int, audio: bytes) -> Iterator[DetectResponse]:
        if any(audio):
            yield DetectResponse(detection=Detection(start_ms=second * 1000, end_ms=second * 1000 + audio[0]))
        # What is judged lags behind what was found: a break between both brings the detection again.
        if second % 5 == 4:
            yield DetectResponse(
                heartbeat=DetectionHeartbeat(judged_until_ms=second * 1000 - 1000, silent_channels=[1])
            )


def spoken(seconds: int) -> bytes:
    """Each third second has an artifact, which lasts as many ms as the number of the second."""
    return b"".join(bytes([second if second % 3 == 0 else 0]) * SECOND for second in range(seconds))


def live(api: Any, client: Any, data: bytes, pcm: LiveAudio.Pcm | None = PCM) -> Any:
    size = SECOND * 7 // 10
    pieces = [data[at : at + size] for at in range(0, len(data), size)]

    async def later() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    audio = later() if api.__name__.endswith("aio") else iter(pieces)
    return api.detect_live(client, "model", audio, pcm, backoff=SOON)


@pytest.mark.parametrize("breaks", [(), (36,), (5,), (30, 31, 60), (100,)])
def test_each_detection_comes_once_and_in_order_whatever_breaks(
    reach: Reach, breaks: tuple[int, ...]
) -> None:
    judge = Judge(*breaks)
    found = reach(judge).items(lambda api, client: live(api, client, spoken(120)))
    expected = [(1000 * second, 1000 * second + second) for second in range(3, 120, 3)]
    assert [(one.start_ms, one.end_ms) for one in found] == expected
    assert len(judge.starts) == 1 + len(breaks)


def test_a_stream_goes_on_from_before_what_is_judged(reach: Reach) -> None:
    judge = Judge(62)
    reach(judge).items(lambda api, client: live(api, client, spoken(80)))
    # The last heartbeat said 58 s.
    assert judge.starts == [(0, []), (38_000, [1])]


def test_a_file_is_sent_again_from_its_beginning(reach: Reach) -> None:
    judge = Judge(40, 62)
    found = reach(judge).items(lambda api, client: live(api, client, spoken(80), None))
    assert [one.start_ms for one in found] == [1000 * second for second in range(3, 80, 3)]
    assert judge.starts == [(0, [])] * 3


def test_a_file_that_is_too_large_to_keep_is_not_sent_again(reach: Reach, monkeypatch) -> None:
    monkeypatch.setattr(live_audio, "MOST_KEPT_BYTES", 50 * SECOND)
    judge = Judge(70)

    def until_it_breaks(api: Any, client: Any) -> Any:
        return live(api, client, spoken(80), None)

    with pytest.raises(grpc.RpcError) as caught:
        reach(judge).items(until_it_breaks)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert len(judge.starts) == 1
    found = reach(Judge()).items(until_it_breaks)
    assert [one.start_ms for one in found] == [1000 * second for second in range(3, 80, 3)]


def test_a_file_that_becomes_too_large_to_keep_while_it_is_sent_again_is_given_up_in_words(
    reach: Reach, monkeypatch
) -> None:
    real = live_audio.LiveTail.start

    def start(tail: live_audio.LiveTail) -> Any:
        request, position = real(tail)
        if position == 0 and tail.part(0):  # sent again: more audio comes before it is
            monkeypatch.setattr(live_audio, "MOST_KEPT_BYTES", SECOND)
            tail.append(bytes(SECOND))
        return request, position

    monkeypatch.setattr(live_audio.LiveTail, "start", start)
    with pytest.raises(EOFError, match="they were not kept"):
        reach(Judge(40)).items(lambda api, client: live(api, client, spoken(80), None))


def test_an_error_of_the_caller_is_not_tried_again(reach: Reach) -> None:
    class Refusing(DetectionServiceServicer):
        def Detect(self, _requests: Any, context: grpc.ServicerContext) -> Any:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")

    with pytest.raises(grpc.RpcError) as caught:
        reach(Refusing()).items(lambda api, client: live(api, client, spoken(1)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_what_the_audio_raises_is_raised(reach: Reach) -> None:
    def broken(api: Any, client: Any) -> Any:
        async def later() -> AsyncIterator[bytes]:
            yield bytes(SECOND)
            raise LookupError("the microphone")

        def now() -> Iterator[bytes]:
            yield bytes(SECOND)
            raise LookupError("the microphone")

        audio = later() if api.__name__.endswith("aio") else now()
        return api.detect_live(client, "model", audio, PCM, backoff=SOON)

    with pytest.raises(LookupError, match="the microphone"):
        reach(Judge()).items(broken)
