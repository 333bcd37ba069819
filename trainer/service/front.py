"""The trainer's gRPC front. It only hands on: child processes do the work, and the loop never waits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import wraps
from pathlib import Path
from typing import Any

import grpc
import structlog
from earmark.trainer.v1 import trainer_service_pb2 as pb
from earmark.trainer.v1 import trainer_service_pb2_grpc as pb_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from storage.objects import ObjectNotFoundError
from trainer.events import Completed
from trainer.service import messages
from trainer.service.errors import CallError, StoppingError
from trainer.service.processes import ProcessLostError
from trainer.service.runtime import Runtime
from trainer.service.slot import HAND_BACK_SECONDS, Run
from trainer.service.waiting import read, unless
from trainer.settings import TrainerSettings
from trainer.workers.wire import Decoded, DecodeRequest, Failed

MAX_UPLOAD_BYTES = 524_288_000
SERVICE = pb.DESCRIPTOR.services_by_name["TrainerService"].full_name
STOP_SECONDS = 1.0

SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a second trainer on this port is a mistake
    ("grpc.max_receive_message_length", 64 << 20),  # a file with all its annotations is one message
    ("grpc.max_send_message_length", 64 << 20),
    # A gateway may ping as often as this, to notice that the trainer is gone; the trainer pings for the same.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)

log = structlog.get_logger()
Context = grpc.aio.ServicerContext
Handler = Callable[["TrainerService", Any, Context], Awaitable[Any]]


def rpc(handler: Handler) -> Handler:
    """Ends a call with the status that its error stands for."""

    @wraps(handler)
    async def run(self: "TrainerService", request: Any, context: Context) -> Any:
        task = asyncio.current_task()
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        try:
            return await handler(self, request, context)
        except CallError as error:
            failure = error
        except ProcessLostError as error:
            failure = CallError("TRAINER_LOST", f"a process of the trainer {error}")
        except grpc.aio.AbortError:
            raise
        except Exception:
            log.exception("a call crashed", rpc=handler.__name__)
            failure = CallError(
                "INTERNAL", "the trainer failed for a reason of its own; its log has the trace"
            )
        return await context.abort_with_status(rpc_status.to_status(messages.to_status(failure)))

    return run


class TrainerService(pb_grpc.TrainerServiceServicer):
    """See trainer_service.proto. Handlers write to the context, so that what they hold ends when they do."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._heartbeat = runtime.settings.heartbeat_seconds
        self._stopping = asyncio.Event()
        self._overdue = asyncio.Event()
        self.running: set[asyncio.Task[Any]] = set()

    async def drain(self) -> None:
        """Takes no more work, hands back the job, and lets the rest finish within the grace."""
        self._stopping.set()
        closing = asyncio.create_task(self._runtime.training.close())
        await self._idle(self._runtime.settings.stop_grace_seconds)
        self._overdue.set()
        await self._idle(HAND_BACK_SECONDS + STOP_SECONDS)
        closing.cancel()

    async def _idle(self, seconds: float) -> None:
        """Waits for running calls to end, so long at most."""
        if self.running:
            await asyncio.wait(self.running, timeout=seconds)

    def _take_work(self) -> None:
        if self._stopping.is_set():
            raise StoppingError

    @rpc
    async def Train(self, requests: AsyncIterator[pb.TrainRequest], context: Context) -> None:
        """One job, from its manifest to its last event."""
        self._take_work()
        first = await read(self._stopping, requests)
        if first is None or first.WhichOneof("content") != "job":
            raise CallError("INVALID_FIELD", "the first message must be the job", "job")
        with self._runtime.training.claim(first.job.training_job_id, first.job.attempt) as run:
            accepted = pb.TrainResponse.Accepted(device=self._runtime.device)
            await context.write(pb.TrainResponse(accepted=accepted))
            files = []
            while (request := await read(run.wanted_back, requests)) is not None:
                files.append(messages.from_file(_file(request)))
            await run.start(messages.from_job(first.job, files))
            await self._follow(run, context)

    async def _follow(self, run: Run, context: Context) -> None:
        """Writes what the job says, and heartbeats in between."""
        event = None
        while not isinstance(event, Completed):
            event = await run.next(self._heartbeat)
            if event is None:
                await context.write(pb.TrainResponse(heartbeat=pb.TrainResponse.Heartbeat()))
            else:
                await context.write(messages.to_response(event))

    @rpc
    async def HandBack(self, request: pb.HandBackRequest, _context: Context) -> pb.HandBackResponse:
        """Ends a job with its work kept."""
        await self._runtime.training.hand_back(request.training_job_id, request.attempt)
        return pb.HandBackResponse()

    @rpc
    async def ProcessAudio(self, request: pb.ProcessAudioRequest, context: Context) -> None:
        """One uploaded file, from bytes to stored features."""
        self._take_work()
        objects, overdue = self._runtime.objects, self._overdue
        await context.write(pb.ProcessAudioResponse(normalizing=pb.ProcessAudioResponse.Normalizing()))
        with self._runtime.scratch.folder() as folder:
            decode = DecodeRequest(folder / "source", folder)
            try:
                await unless(overdue, write_file(decode.source, objects.stream(request.source)))
            except ObjectNotFoundError:
                await context.write(_failed("the uploaded bytes are gone: upload the file again"))
                return
            async with AsyncExitStack() as stack:
                starting = stack.enter_async_context(self._runtime.audio.decoding(decode))
                decoding = await unless(overdue, starting)
                outcome = await unless(overdue, decoding.decoded())
                if isinstance(outcome, Decoded):
                    await unless(overdue, objects.put_async(request.audio, decode.audio))
                    await context.write(_embedding(outcome))
                    outcome = await unless(overdue, decoding.featured())
            if isinstance(outcome, Failed):
                log.info("a file cannot be used", audio_file_id=request.audio_file_id, error=outcome.message)
                await context.write(_failed(outcome.message))
                return
            await unless(overdue, objects.put_async(request.features, decode.features))
        await context.write(pb.ProcessAudioResponse(ready=pb.ProcessAudioResponse.Ready()))

    @rpc
    async def Detect(self, requests: AsyncIterator[pb.DetectRequest], context: Context) -> None:
        """One recording, from bytes to detections."""
        self._take_work()
        first = await read(self._overdue, requests)
        if first is None or first.WhichOneof("content") != "start":
            raise CallError("INVALID_FIELD", "the first message must be the start", "start")
        with self._runtime.scratch.folder() as folder:
            decode = DecodeRequest(folder / "source", folder)
            await write_file(decode.source, self._recording(requests))
            decoded = await unless(self._overdue, self._runtime.audio.decode(decode))
            if isinstance(decoded, Failed):
                raise CallError(decoded.reason, decoded.message, "data")
            scoring = self._runtime.scoring.score(
                first.start.weights,
                first.start.model_config,
                decode.features,
                decoded.duration_ms,
                messages.from_detection_config(first.start.config),
            )
            found = await unless(self._overdue, scoring)
        for detection in found:
            await context.write(pb.DetectResponse(detection=messages.to_detection(detection)))
        summary = pb.DetectResponse.Summary(duration_ms=decoded.duration_ms)
        await context.write(pb.DetectResponse(summary=summary))

    async def _recording(self, requests: AsyncIterator[pb.DetectRequest]) -> AsyncIterator[bytes]:
        size = 0
        while (request := await read(self._overdue, requests)) is not None:
            size += len(request.data)
            if request.WhichOneof("content") != "data":
                raise CallError("INVALID_FIELD", "every message but the first must be data", "data")
            if size > MAX_UPLOAD_BYTES:
                raise CallError(
                    "INVALID_UPLOAD",
                    f"the recording is larger than {MAX_UPLOAD_BYTES:,} bytes: split it",
                    "data",
                )
            yield request.data

    @rpc
    async def GetCapacity(self, _request: pb.GetCapacityRequest, _context: Context) -> pb.GetCapacityResponse:
        """What the trainer has now."""
        return pb.GetCapacityResponse(capacity=self._capacity())

    @rpc
    async def WatchCapacity(self, _request: pb.WatchCapacityRequest, context: Context) -> None:
        """What the trainer has, at every change and every heartbeat."""
        self._take_work()
        while True:
            changed = self._runtime.changes.next
            await context.write(pb.WatchCapacityResponse(capacity=self._capacity()))
            try:
                async with asyncio.timeout(self._heartbeat):
                    await unless(self._stopping, changed.wait())
            except TimeoutError:
                continue

    def _capacity(self) -> pb.Capacity:
        return pb.Capacity(
            device=self._runtime.device,
            training_slots=1,
            free_training_slots=int(self._runtime.training.free),
            audio_slots=self._runtime.audio.size,
            free_audio_slots=self._runtime.audio.free,
        )


class CannotListenError(Exception):
    """The address cannot be had."""


async def serve(settings: TrainerSettings, stop: asyncio.Event, announce: Callable[[str], None]) -> None:
    """Serves until `stop`, then drains. `announce` gets the address, host:port. Raises CannotListenError."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    try:
        port = server.add_insecure_port(f"{settings.host}:{settings.trainer_port}")
    except RuntimeError as error:
        raise CannotListenError(
            f"cannot listen on {settings.host}:{settings.trainer_port}: is another trainer running there?"
        ) from error
    async with Runtime.open(settings) as runtime:
        service, healthy = TrainerService(runtime), health.aio.HealthServicer()
        pb_grpc.add_TrainerServiceServicer_to_server(service, server)
        health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
        names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        for name in (SERVICE, ""):
            await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
        await server.start()
        announce(f"{settings.host}:{port}")
        try:
            await stop.wait()
        finally:
            await healthy.enter_graceful_shutdown()
            await service.drain()
            await server.stop(STOP_SECONDS)


async def write_file(path: Path, parts: AsyncIterator[bytes]) -> None:
    """Off the loop. Whatever `parts` raises."""
    with path.open("wb") as file:
        async for part in parts:
            await asyncio.to_thread(file.write, part)


def _file(request: pb.TrainRequest) -> pb.TrainRequest.File:
    if request.WhichOneof("content") != "file":
        raise CallError("INVALID_FIELD", "every message but the first must be a file", "file")
    return request.file


def _embedding(decoded: Decoded) -> pb.ProcessAudioResponse:
    embedding = pb.ProcessAudioResponse.Embedding(
        duration_ms=decoded.duration_ms, sample_rate_hz=decoded.sample_rate, channels=decoded.channels
    )
    return pb.ProcessAudioResponse(embedding=embedding)


def _failed(message: str) -> pb.ProcessAudioResponse:
    return pb.ProcessAudioResponse(failed=pb.ProcessAudioResponse.Failed(error_message=message))
