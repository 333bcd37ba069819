"""Detection in live audio, for asyncio."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

import grpc

from earmark.client.aio.channel import Client
from earmark.client.aio.streams import lost_its_status, responses_of
from earmark.client.backoff import Backoff, Retries, was_cut_off
from earmark.client.live_audio import LiveTail
from earmark.client.parts import IncompleteReplyError
from earmark.v1.detection_pb2 import Detection, DetectionConfig, LiveAudio
from earmark.v1.detection_service_pb2 import DetectRequest


async def detect_live(
    client: Client,
    model_id: str,
    audio: AsyncIterable[bytes],
    pcm: LiveAudio.Pcm | None,
    config: DetectionConfig | None = None,
    *,
    backoff: Backoff | None = None,
) -> AsyncIterator[Detection]:
    """Yield an active model's detections in audio that comes as it is made; see `earmark.client.detect_live`.

    `audio` is an asynchronous iterable.
    """
    tail, source = LiveTail(model_id, pcm, config), _Source(audio)
    retries = Retries(backoff, lambda error: was_cut_off(error) or lost_its_status(error))
    try:
        while not tail.complete:
            failure: Exception = IncompleteReplyError("the stream ended before its summary")
            try:
                async with responses_of(client.detection.Detect(_requests(tail, source))) as responses:
                    async for response in responses:
                        retries.answered()
                        if (found := tail.take(response)) is not None:
                            yield found
            except grpc.RpcError as error:
                failure = error
            except asyncio.CancelledError:  # so a call ends whose requests fail
                if source.failure is None:
                    raise
            if source.failure is not None:
                raise source.failure from None
            if not tail.complete:
                if not tail.can_go_on:
                    raise failure
                await asyncio.sleep(retries.delay(failure))
    finally:
        source.close()


class _Source:
    """The audio, which is read once, by a task that outlives the calls that wait for it."""

    def __init__(self, audio: AsyncIterable[bytes]) -> None:
        self._parts = aiter(audio)
        self._reading: asyncio.Task[None] | None = None
        self.failure: Exception | None = None

    async def read(self, tail: LiveTail) -> None:
        """Returns when there is more audio, or no more at all."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(tail))
        await asyncio.wait({self._reading})
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Stops reading."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self, tail: LiveTail) -> None:
        try:
            tail.append(await anext(self._parts))
        except StopAsyncIteration:
            tail.has_all = True
        except Exception as error:  # noqa: BLE001 whoever waits raises it
            self.failure = error


async def _requests(tail: LiveTail, source: _Source) -> AsyncIterator[DetectRequest]:
    start, position = tail.start()
    yield start
    try:
        while True:
            while not (data := tail.part(position)) and not tail.has_all:
                await source.read(tail)
            if not data:
                return
            position += len(data)
            yield DetectRequest(data=data)
    except EOFError as error:  # the file became too large to keep while it was sent again
        source.failure = error
        raise
