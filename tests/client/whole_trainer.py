"""A fake trainer for a client's whole way: it also makes every file ready, and finds one glitch."""

import asyncio

from earmark.internal.v1 import trainer_service_pb2 as pb
from tests.gateway.scripted_trainer import HEARTBEAT_SECONDS, ScriptedTrainer

DURATION_MS = 310_000  # one file is as much audio as a job needs


class WholeTrainer(ScriptedTrainer):
    """Reports one free slot for audio, too; how much audio it has received is in `detected_bytes`."""

    detected_bytes = 0

    async def ProcessAudio(self, _request, _context):
        yield pb.ProcessAudioResponse(normalizing={})
        yield pb.ProcessAudioResponse(
            embedding={"duration_ms": DURATION_MS, "sample_rate_hz": 8000, "channels": 1}
        )
        yield pb.ProcessAudioResponse(ready={})

    async def Detect(self, requests, _context):
        async for request in requests:
            self.detected_bytes += len(request.data)
        yield pb.DetectResponse(
            detection={"artifact_type": "glitch", "start_ms": 1200, "end_ms": 1350, "confidence": 0.9}
        )
        yield pb.DetectResponse(summary={"duration_ms": DURATION_MS})

    async def WatchCapacity(self, _request, _context):
        capacity = pb.Capacity(
            device="cpu", training_slots=1, free_training_slots=1, audio_slots=1, free_audio_slots=1
        )
        while True:
            yield pb.WatchCapacityResponse(capacity=capacity)
            await asyncio.sleep(HEARTBEAT_SECONDS)
