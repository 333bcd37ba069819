"""Clients that send live audio with the client's own helper, which goes on elsewhere when a stream breaks."""

import asyncio
import time
from collections.abc import AsyncIterator

import grpc
from grpc import aio

from bench.faults.api import DISCONNECTED, PAUSE, Api
from bench.faults.clients import BACKOFF
from bench.faults.dataset import RATE, bursts
from bench.faults.observations import Found, LiveStream
from bench.faults.search_clients import THRESHOLD
from earmark.client.aio import Client, connect, detect, detect_live
from earmark.v1.detection_pb2 import PCM_ENCODING_S16LE, Detection, DetectionConfig, LiveAudio

STREAMS = 2
SECONDS = 60
SPEED = 3  # times faster than spoken, so that a stream lasts for some faults
CALLS = 3  # different audio
PART_SECONDS = 0.2
WAV_HEADER_BYTES = 44
PCM = LiveAudio.Pcm(sample_rate_hz=RATE, channels=1, encoding=PCM_ENCODING_S16LE)
CONFIG = DetectionConfig(threshold=THRESHOLD)


async def live(api: Api, model_id: str, stop: asyncio.Event) -> None:
    """Sends STREAMS streams at a time until `stop`, and then the same audio as recordings, for comparison."""
    async with asyncio.TaskGroup() as senders:
        for _ in range(STREAMS):
            senders.create_task(_send(api, model_id, stop))
    for call in range(CALLS):
        api.observed.recordings[call] = await _recording(api, model_id, bursts(SECONDS, call)[0])


async def _send(api: Api, model_id: str, stop: asyncio.Event) -> None:
    while not stop.is_set():
        call, gateway = api.rng.randrange(CALLS), api.any_gateway()
        stream = LiveStream(call, gateway, time.time())
        api.observed.live_streams.append(stream)
        try:
            async with connect(api.addresses[gateway], api_key=api.key) as client:
                audio = _spoken(bursts(SECONDS, call)[0][WAV_HEADER_BYTES:])
                async for found in detect_live(client, model_id, audio, PCM, CONFIG, backoff=BACKOFF):
                    stream.found.append(_span(found))
        except grpc.RpcError as error:
            stream.failure = str(error)
        stream.ended = time.time()
        await api.pause(0, 1)


async def _spoken(samples: bytes) -> AsyncIterator[bytes]:
    """Yields each part when its last sample has been spoken."""
    began, size = time.monotonic(), int(PART_SECONDS * RATE) * 2
    for number, first in enumerate(range(0, len(samples), size), 1):
        await asyncio.sleep(began + number * PART_SECONDS / SPEED - time.monotonic())
        yield samples[first : first + size]


async def _recording(api: Api, model_id: str, wav: bytes) -> list[Found]:
    """What the model finds in the whole audio at once."""
    while True:
        try:
            async with connect(api.addresses[api.any_gateway()], api_key=api.key) as client:
                return await _detect(client, model_id, wav)
        except aio.AioRpcError as error:
            if error.code().name not in DISCONNECTED:
                raise
        await api.pause(*PAUSE)


async def _detect(client: Client, model_id: str, wav: bytes) -> list[Found]:
    detections = await detect(client, model_id, wav, CONFIG)
    return [_span(found) for found in detections]


def _span(found: Detection) -> Found:
    return found.artifact_type, found.start_ms, found.end_ms
