"""A fake trainer on a real server that plays scripts, to test the dispatcher's side of the contract."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc import aio
from grpc_status import rpc_status

from earmark.internal.v1 import trainer_service_pb2 as pb
from earmark.internal.v1 import trainer_service_pb2_grpc

HEARTBEAT_SECONDS = 0.02
KINDS = {
    "STOPPING": "HANDED_BACK",
    "NO_FREE_SLOT": "HANDED_BACK",
    "OBJECT_STORE_UNAVAILABLE": "ENVIRONMENT",
}

Script = Callable[["Call"], AsyncIterator[pb.TrainResponse]]


class Call:
    """One Train call, as a script sees it."""

    def __init__(self, job: pb.TrainRequest.Job, context) -> None:
        self.job = job
        self.files: list[pb.TrainRequest.File] = []
        self.context = context


class ScriptedTrainer(trainer_service_pb2_grpc.TrainerServiceServicer):
    """Plays one script per Train call, in order, and records each call in `calls`."""

    def __init__(self, *scripts: Script, slots: int = 1) -> None:
        self._scripts = list(scripts)
        self._slots = slots
        self.calls: list[Call] = []
        self.cancelled = asyncio.Event()
        # True if the script ends its call after `handing_back`. Otherwise HandBack finds no such attempt.
        self.hands_back = False
        self.handing_back = asyncio.Event()
        self._running = 0
        self._ended = asyncio.Event()

    async def Train(self, requests, context):
        call = Call((await anext(requests)).job, context)
        self.calls.append(call)
        self._running += 1
        self._ended.clear()
        try:
            async for response in self._scripts[len(self.calls) - 1](call):
                yield response
                if response.HasField("accepted"):
                    call.files = [request.file async for request in requests]
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self._running -= 1
            self._ended.set()

    async def HandBack(self, _request, context):
        if not self.hands_back:
            await context.abort(grpc.StatusCode.NOT_FOUND, "that attempt does not run here")
        self.handing_back.set()
        await self._ended.wait()
        return pb.HandBackResponse()

    async def WatchCapacity(self, _request, _context):
        """Repeats the current capacity, as a trainer does."""
        while True:
            free = self._slots - self._running
            capacity = pb.Capacity(device="cpu", training_slots=self._slots, free_training_slots=free)
            yield pb.WatchCapacityResponse(capacity=capacity)
            await asyncio.sleep(HEARTBEAT_SECONDS)


@asynccontextmanager
async def serving(trainer: trainer_service_pb2_grpc.TrainerServiceServicer) -> AsyncIterator[str]:
    """Serves the trainer inside the block and yields its address."""
    server = aio.server()
    trainer_service_pb2_grpc.add_TrainerServiceServicer_to_server(trainer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def accepted() -> pb.TrainResponse:
    return pb.TrainResponse(accepted=pb.TrainResponse.Accepted(device="cpu"))


def epoch(number: int, best: int | None = None) -> pb.TrainResponse:
    """Reports a completed epoch. `best`: the best epoch so far; None for this one."""
    response = pb.TrainResponse()
    response.epoch_completed.epoch = number
    response.epoch_completed.best_epoch = best or number
    response.epoch_completed.train_loss = 1 / number
    response.epoch_completed.metrics.overall.support = 3
    return response


def checkpoint(number: int, key: str, step: int = 0) -> pb.TrainResponse:
    """Reports a checkpoint at the end of epoch `number`, before its completion, or `step` steps after it."""
    return pb.TrainResponse(checkpoint=pb.TrainResponse.Checkpoint(epoch=number, key=key, step=step))


def notice(code: str, message: str) -> pb.TrainResponse:
    return pb.TrainResponse(notice={"code": f"NOTICE_CODE_{code}", "message": message})


def completed(best: int = 2) -> pb.TrainResponse:
    return pb.TrainResponse(
        completed=pb.TrainResponse.Completed(
            weights="default/jobs/x/model.safetensors",
            model_config="default/jobs/x/model.json",
            size_bytes=10,
            sha256="ab",
            metrics={"overall": {"support": 5}},
            recommended_thresholds={"glitch": 0.4},
            merge_windows_ms={"glitch": 30},
            min_durations_ms={"glitch": 0},
            best_epoch=best,
            audio_file_count=3,
            audio_duration_ms=360_000,
            earmark_version="0.2.0",
            frontend_version="4",
        )
    )


async def whole(_call: Call) -> AsyncIterator[pb.TrainResponse]:
    """The script of a job that completes."""
    yield accepted()
    yield epoch(1)
    yield epoch(2)
    yield completed()


async def fail(call: Call, code: grpc.StatusCode, reason: str, message: str) -> None:
    """Ends the call with an error, as a trainer does."""
    kind = KINDS.get(reason, "DATA" if code == grpc.StatusCode.FAILED_PRECONDITION else "ATTEMPT")
    info, failure = any_pb2.Any(), any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="earmark"))
    failure.Pack(pb.Failure(kind=f"FAILURE_KIND_{kind}"))
    status = status_pb2.Status(code=code.value[0], message=message, details=[info, failure])
    await call.context.abort_with_status(rpc_status.to_status(status))
