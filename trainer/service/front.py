"""The trainer's rpcs. Child processes do the work, so that the event loop is never blocked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import wraps
from typing import Any, TypeAlias

import grpc
from grpc_status import rpc_status

from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.internal.v1 import trainer_service_pb2_grpc as pb_grpc
from earmark.storage.objects import PART_BYTES
from earmark.tracing import Tracer
from earmark.trainer.events import Completed
from earmark.trainer.features.version import FRONTEND_VERSION
from earmark.trainer.service import messages
from earmark.trainer.service.attempt_spans import AttemptSpans
from earmark.trainer.service.call_failures import failure_of
from earmark.trainer.service.decoding import AudioFiles
from earmark.trainer.service.detection_job import JobFile
from earmark.trainer.service.detection_process import LiveDetection
from earmark.trainer.service.errors import CallError, StoppingError
from earmark.trainer.service.executor import Executor, TrainingClaim
from earmark.trainer.service.file_detection import MAX_RECORDING_BYTES
from earmark.trainer.service.interruptible import interruptible, read_request, to_its_end
from earmark.trainer.service.keys import check_read
from earmark.trainer.service.live import LiveAudio, live_audio
from earmark.trainer.service.runtime import Runtime
from earmark.trainer.service.scratch import write_file
from earmark.trainer.service.slot import HAND_BACK_SECONDS
from earmark.trainer.workers.wire import Failed

SERVICE = pb.DESCRIPTOR.services_by_name["TrainerService"].full_name
ABORT_SECONDS = 3.0  # an aborted call has this long to send its status

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler = Callable[["TrainerService", Any, Context], Awaitable[Any]]


def rpc(handler: Handler) -> Callable[["TrainerService", Any, Context], Any]:
    """Tracks the running call, and turns an error of the handler into the call's status."""

    @wraps(handler)
    async def call(self: "TrainerService", request: Any, context: Context) -> Any:
        task = asyncio.current_task()
        assert task is not None  # gRPC runs every handler in a task
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        try:
            if isinstance(request, CallError):
                raise request  # noqa: TRY301 it becomes a status like the handler's own
            return await handler(self, request, context)
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 it becomes the status, and a line in the log if it is unknown
            failure = failure_of(error, handler.__name__, self.runtime.environment)
        return await context.abort_with_status(rpc_status.to_status(messages.to_status(failure)))

    return call


class TrainerService(pb_grpc.TrainerServiceServicer):
    """See trainer_service.proto.

    Handlers write to the context instead of yielding responses: a generator could outlive its call, and with
    it the slot and the files that it uses.
    """

    def __init__(self, runtime: Runtime, executor: Executor, tracer: Tracer) -> None:
        self.runtime = runtime
        self._executor = executor
        self._tracer = tracer
        self._heartbeat = runtime.settings.heartbeat_seconds
        self._longest_wait = runtime.settings.stream_idle_seconds
        self._stopping = asyncio.Event()
        self._grace_over = asyncio.Event()
        self.running: set[asyncio.Task[Any]] = set()

    async def drain(self) -> None:
        """Refuses new work, hands the job back, and lets other calls finish within the grace period."""
        self._stopping.set()
        closing = asyncio.create_task(self._executor.close())
        await self._wait_for_calls(self.runtime.settings.stop_grace_seconds)
        self._grace_over.set()
        await self._wait_for_calls(HAND_BACK_SECONDS + ABORT_SECONDS)
        closing.cancel()

    async def _wait_for_calls(self, seconds: float) -> None:
        """Returns when every running call has ended, or after `seconds`."""
        if self.running:
            await asyncio.wait(self.running, timeout=seconds)

    def _refuse_if_stopping(self) -> None:
        if self._stopping.is_set():
            raise StoppingError

    @rpc
    async def Train(self, requests: AsyncIterator[pb.TrainRequest], context: Context) -> None:
        """Runs one job, from its manifest to its last event."""
        self._refuse_if_stopping()
        first = await read_request(self._stopping, requests, self._longest_wait)
        if first is None or first.WhichOneof("content") != "job":
            raise CallError("INVALID_FIELD", "the first message must be the job", "job")
        messages.check_keys_of_job(first.job)
        job_id, attempt = first.job.training_job_id, first.job.attempt
        with (
            self._executor.claim_training(job_id, attempt) as claim,
            AttemptSpans.of(self._tracer, context.invocation_metadata() or (), job_id, attempt) as spans,
        ):
            accepted = pb.TrainResponse.Accepted(device=claim.device)
            await context.write(pb.TrainResponse(accepted=accepted))
            files: list[messages.SentFile] = []
            while (
                request := await read_request(claim.hand_back_requested, requests, self._longest_wait)
            ) is not None:
                messages.add_to(files, request)
            await claim.start(await asyncio.to_thread(messages.from_job, first.job, files))
            await self._stream_events(claim, context, spans)

    async def _stream_events(self, claim: TrainingClaim, context: Context, spans: AttemptSpans) -> None:
        """Writes the job's events, and a heartbeat whenever there is none for the heartbeat interval."""
        event = None
        while not isinstance(event, Completed):
            event = await claim.next_event(self._heartbeat)
            if event is None:
                await context.write(pb.TrainResponse(heartbeat=pb.TrainResponse.Heartbeat()))
            else:
                spans.see(event)
                await context.write(messages.to_response(event))

    @rpc
    async def HandBack(self, request: pb.HandBackRequest, _context: Context) -> pb.HandBackResponse:
        """Ends an attempt and keeps its work."""
        await self._executor.hand_back(request.training_job_id, request.attempt)
        return pb.HandBackResponse()

    @rpc
    async def ProcessAudio(self, request: pb.ProcessAudioRequest, context: Context) -> None:
        """Decodes one uploaded or stored file, and stores its features, and its audio if it has a key."""
        self._refuse_if_stopping()
        file = messages.from_audio(request)
        await context.write(pb.ProcessAudioResponse(normalizing=pb.ProcessAudioResponse.Normalizing()))
        async with aclosing(self._executor.process_audio(file)) as events:
            while event := await interruptible(self._grace_over, anext(events, None)):
                await context.write(messages.to_audio_response(event))

    @rpc
    async def Detect(self, requests: AsyncIterator[pb.DetectRequest], context: Context) -> None:
        """Decodes one recording and detects artifacts in it."""
        self._refuse_if_stopping()
        first = await read_request(self._grace_over, requests, self._longest_wait)
        if first is None or first.WhichOneof("content") != "start":
            raise CallError("INVALID_FIELD", "the first message must be the start", "start")
        check_read(weights=first.start.weights, model_config=first.start.model_config)
        if first.start.HasField("live"):
            await self._detect_live(first.start, requests, context)
            return
        with self.runtime.scratch.folder() as folder:
            files = AudioFiles(folder)
            await write_file(files.source, self._recording(requests))
            decoded = await interruptible(
                self._grace_over, self.runtime.audio_pool.decode(files, first.start.caller)
            )
            if isinstance(decoded, Failed):
                raise CallError(decoded.reason, decoded.message, "data")
            detecting = self.runtime.detection_process.detect(
                first.start.weights,
                first.start.model_config,
                first.start.sha256,
                files.features,
                decoded.duration_ms,
                messages.from_detection_config(first.start.config),
            )
            detected = await interruptible(self._grace_over, detecting)
        for artifact in detected:
            await context.write(pb.DetectResponse(detection=messages.to_detection(artifact)))
        summary = pb.DetectResponse.Summary(duration_ms=decoded.duration_ms)
        await context.write(pb.DetectResponse(summary=summary))

    async def _detect_live(
        self, start: pb.DetectRequest.Start, requests: AsyncIterator[pb.DetectRequest], context: Context
    ) -> None:
        """Detects artifacts in audio as it comes. It may never end, so a trainer that stops hands it back."""
        async with live_audio(self.runtime.audio_pool, messages.from_live(start.live)) as audio:
            feeding = asyncio.create_task(self._feed(audio, requests))
            judging = asyncio.create_task(self._judge(audio, start, context))
            try:
                await asyncio.wait({feeding, judging}, return_when=asyncio.FIRST_EXCEPTION)
                for task in (feeding, judging):
                    if task.done():
                        task.result()
            finally:
                for task in (feeding, judging):
                    task.cancel()
                await asyncio.wait({feeding, judging})

    async def _feed(self, audio: LiveAudio, requests: AsyncIterator[pb.DetectRequest]) -> None:
        while (request := await read_request(self._stopping, requests, self._longest_wait)) is not None:
            if request.WhichOneof("content") != "data":
                raise CallError("INVALID_FIELD", "every message but the first must be data", "data")
            await audio.write(request.data)
        audio.end()

    async def _judge(self, audio: LiveAudio, start: pb.DetectRequest.Start, context: Context) -> None:
        """Writes the detections and heartbeats of live audio, and its summary."""
        opened = await audio.opened()
        if isinstance(opened, Failed):
            raise CallError(opened.reason, opened.message, "data")
        silent = set(start.live.silent_channels) if start.live.start_ms else set(range(opened.channels))
        async with self.runtime.detection_process.live(
            start.weights,
            start.model_config,
            start.sha256,
            messages.from_detection_config(start.config),
            tuple(number not in silent for number in range(opened.channels)),
        ) as stream:
            await self._write_progress(audio, stream, start.live.start_ms, context)
            decoded = await audio.decoded()
            if isinstance(decoded, Failed):
                raise CallError(decoded.reason, decoded.message, "data")
            progress = await stream.judge(b"", decoded.duration_ms)
        for response in messages.to_progress(progress, start.live.start_ms)[:-1]:
            await to_its_end(context.write(response))
        summary = pb.DetectResponse.Summary(duration_ms=decoded.duration_ms)
        await to_its_end(context.write(pb.DetectResponse(summary=summary)))

    async def _write_progress(
        self, audio: LiveAudio, stream: LiveDetection, start_ms: int, context: Context
    ) -> None:
        """Writes detections, and a heartbeat after each part of the audio and each interval without any.

        A caller that reads slowly is waited for, and with it the features and the audio.
        """
        progress, features = stream.start, asyncio.ensure_future(audio.read())
        try:
            while True:
                done, _ = await asyncio.wait({features}, timeout=self._heartbeat)
                if done and not (data := features.result()):
                    return
                progress = await stream.judge(data) if done else replace(progress, detections=())
                for response in messages.to_progress(progress, start_ms):
                    await to_its_end(context.write(response))
                if done:
                    features = asyncio.ensure_future(audio.read())
        finally:
            features.cancel()

    @rpc
    async def ExportModel(self, request: pb.ExportModelRequest, context: Context) -> None:
        """Writes what the exported file is, then its bytes, each part once the one before is on its way."""
        self._refuse_if_stopping()
        check_read(weights=request.weights, model_config=request.model_config)
        with self.runtime.scratch.folder() as folder:
            path = folder / "exported"
            exporting = self.runtime.detection_process.export(
                request.weights, request.model_config, request.sha256, path, messages.onnx_rate(request)
            )
            exported = await interruptible(self._grace_over, exporting)
            file = pb.ExportModelResponse.File(size_bytes=exported.size_bytes, sha256=exported.sha256)
            await context.write(pb.ExportModelResponse(file=file))
            with path.open("rb") as opened:
                while part := await asyncio.to_thread(opened.read, PART_BYTES):
                    await context.write(pb.ExportModelResponse(data=part))

    async def _recording(self, requests: AsyncIterator[pb.DetectRequest]) -> AsyncIterator[bytes]:
        """Yields the bytes of the recording. Raises CallError if there are too many."""
        size = 0
        while (request := await read_request(self._grace_over, requests, self._longest_wait)) is not None:
            size += len(request.data)
            if request.WhichOneof("content") != "data":
                raise CallError("INVALID_FIELD", "every message but the first must be data", "data")
            if size > MAX_RECORDING_BYTES:
                raise CallError(
                    "INVALID_UPLOAD",
                    f"the recording is larger than {MAX_RECORDING_BYTES:,} bytes: split it",
                    "data",
                )
            yield request.data

    @rpc
    async def DetectFiles(self, requests: AsyncIterator[pb.DetectFilesRequest], context: Context) -> None:
        """Detects artifacts in the files of one job, and answers each when it is done."""
        self._refuse_if_stopping()
        first = await read_request(self._stopping, requests, self._longest_wait)
        if first is None or first.WhichOneof("content") != "job":
            raise CallError("INVALID_FIELD", "the first message must be the job", "job")
        job = messages.from_detection_job(first.job)

        async def next_file() -> JobFile | None:
            request = await read_request(self._stopping, requests, self._longest_wait, lambda: detection.busy)
            return None if request is None else messages.from_detection_file(request)

        with self._executor.claim_detection(first.job.detection_job_id) as claim:
            accepted = pb.DetectFilesResponse.Accepted(device=claim.device)
            await context.write(pb.DetectFilesResponse(accepted=accepted))
            async with claim.search(job, next_file) as detection:
                while event := await interruptible(self._stopping, detection.next_event(self._heartbeat)):
                    await context.write(messages.to_files_response(event))

    @rpc
    async def GetCapacity(self, _request: pb.GetCapacityRequest, _context: Context) -> pb.GetCapacityResponse:
        """Returns the current capacity."""
        return pb.GetCapacityResponse(capacity=self._capacity())

    @rpc
    async def WatchCapacity(self, _request: pb.WatchCapacityRequest, context: Context) -> None:
        """Writes the capacity at once, at every change and at every heartbeat."""
        self._refuse_if_stopping()
        while True:
            changed = self._executor.changes.next
            await context.write(pb.WatchCapacityResponse(capacity=self._capacity()))
            try:
                async with asyncio.timeout(self._heartbeat):
                    await interruptible(self._stopping, changed.wait())
            except TimeoutError:
                continue

    def _capacity(self) -> pb.Capacity:
        executor = self._executor
        slots, free = executor.slots(), executor.free_slots()
        return pb.Capacity(
            device=executor.device,
            training_slots=slots["training"],
            free_training_slots=free["training"],
            audio_slots=slots["audio"],
            free_audio_slots=free["audio"],
            problem=executor.problem,
            store_id=self.runtime.environment.store_id,
            frontend=FRONTEND_VERSION,
            detection_slots=slots["detection"],
            free_detection_slots=free["detection"],
        )
