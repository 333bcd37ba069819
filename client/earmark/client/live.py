"""Detection in live audio."""

import threading
import time
from collections.abc import Iterable, Iterator

import grpc

from earmark.client.backoff import Backoff, Retries, was_cut_off
from earmark.client.channel import Client
from earmark.client.live_audio import LiveTail
from earmark.client.parts import IncompleteReplyError
from earmark.v1.detection_pb2 import Detection, DetectionConfig, LiveAudio
from earmark.v1.detection_service_pb2 import DetectRequest


def detect_live(
    client: Client,
    model_id: str,
    audio: Iterable[bytes],
    pcm: LiveAudio.Pcm | None,
    config: DetectionConfig | None = None,
    *,
    backoff: Backoff | None = None,
) -> Iterator[Detection]:
    """Yield an active model's detections in audio that comes as it is made, each once, ordered by onset.

    `audio` yields the samples, as `pcm` says, in parts of any size; without `pcm`, the bytes of a file that
    can be decoded as they come, such as WebM or OGG. It is read in another thread. The iterator ends when
    `audio` has ended and all of it is judged. A stream that breaks goes on elsewhere: samples are sent again
    from 20 s before what is judged, a file from its beginning, unless it has more than 64 MiB. Raises what
    `audio` raises, and grpc.RpcError.
    """
    tail, source = LiveTail(model_id, pcm, config), _Source(audio)
    retries = Retries(backoff, was_cut_off)
    while not tail.complete:
        call = client.detection.Detect(_requests(tail, source))
        failure: Exception = IncompleteReplyError("the stream ended before its summary")
        try:
            for response in call:
                retries.answered()
                if (found := tail.take(response)) is not None:
                    yield found
        except grpc.RpcError as error:
            failure = error
        finally:
            call.cancel()
        if source.failure is not None:
            raise source.failure from None
        if not tail.complete:
            if not tail.can_go_on:
                raise failure
            time.sleep(retries.delay(failure))


class _Source:
    """The audio, from which one thread at a time reads."""

    def __init__(self, audio: Iterable[bytes]) -> None:
        self._parts = iter(audio)
        self._lock = threading.Lock()
        self.failure: Exception | None = None

    def read(self, tail: LiveTail, position: int) -> bytes:
        """Return the bytes from `position` on, as soon as there are any; none at the end."""
        with self._lock:
            while not (data := tail.part(position)) and not tail.has_all:
                try:
                    tail.append(next(self._parts))
                except StopIteration:
                    tail.has_all = True
                except Exception as error:
                    self.failure = error
                    raise
            return data


def _requests(tail: LiveTail, source: _Source) -> Iterator[DetectRequest]:
    start, position = tail.start()
    yield start
    try:
        while data := tail.part(position) or source.read(tail, position):
            position += len(data)
            yield DetectRequest(data=data)
    except EOFError as error:  # the file became too large to keep while it was sent again
        source.failure = error
        raise
