"""earmark.v1.DetectionService."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import structlog
from grpc import aio

from earmark.gateway import lookup
from earmark.gateway.caller import current, tenant
from earmark.gateway.convert.detections import detect_start_request, detect_summary_response
from earmark.gateway.errors import EarmarkError, FieldViolation, InvalidArgumentError
from earmark.gateway.fleet.failures import error_of_model, failure_of
from earmark.gateway.fleet.trainers import Trainer, TrainerLostError, send, unavailable
from earmark.gateway.quotas import Quotas
from earmark.gateway.rules.detection import check_types
from earmark.gateway.rules.models import check_usable
from earmark.gateway.services.comparison import ComparisonService
from earmark.gateway.services.detection_jobs import DetectionJobService
from earmark.gateway.services.evaluation import EvaluationService
from earmark.internal.v1 import trainer_service_pb2
from earmark.storage.records import Model
from earmark.v1 import detection_service_pb2 as pb

log = structlog.get_logger("gateway")

MAX_BYTES = 524_288_000


class DetectionService(DetectionJobService, EvaluationService, ComparisonService):
    """Finds artifacts in recordings that callers send, at once or in jobs, and evaluates what jobs found."""

    async def Detect(
        self, requests: AsyncIterator[pb.DetectRequest], _: Any
    ) -> AsyncIterator[pb.DetectResponse]:
        start = await _start(requests)
        async with self._app.database.connection() as connection:
            model = await lookup.named_model(connection, start.model_id)
        check_usable(model)
        check_types(start.config, model.id, model.artifact_types, "start.config")
        self._app.quotas.check_search(tenant())
        trainer = self._app.trainers.pick_for_detection()
        searched = _Searched(self._app.quotas, tenant(), start)
        async for response in _detect(trainer, model, start, requests):
            searched.add(response)
            if response.HasField("summary"):
                self._app.detection_counts.add(model.id)
            yield response


class _Searched:
    """Counts for its tenant how far a detection has come, also if it is broken off."""

    def __init__(self, quotas: Quotas, by: str, start: pb.DetectRequest.Start) -> None:
        self._quotas = quotas
        self._tenant = by
        self._is_live = start.HasField("live")
        self._start_ms = self._until_ms = start.live.start_ms

    def add(self, response: pb.DetectResponse) -> None:
        """Raises QuotaError if live audio goes on for longer than its tenant may search."""
        match response.WhichOneof("content"):
            case "summary":
                until_ms = self._start_ms + response.summary.duration_ms
            case "heartbeat":
                until_ms = response.heartbeat.judged_until_ms
            case _:
                until_ms = response.detection.end_ms
        self._quotas.add_searched(self._tenant, until_ms - self._until_ms)
        self._until_ms = max(self._until_ms, until_ms)
        if self._is_live and not response.HasField("summary"):
            self._quotas.check_search(self._tenant)


async def _start(requests: AsyncIterator[pb.DetectRequest]) -> pb.DetectRequest.Start:
    first = await anext(requests, None)
    if first is None:
        raise _invalid("start", "the stream has no message: the first must be start, then the data")
    if not first.HasField("start"):
        raise _invalid("start", f"the first message must be start, not {first.WhichOneof('content')}")
    return first.start


async def _data(requests: AsyncIterator[pb.DetectRequest], *, is_live: bool) -> AsyncIterator[bytes]:
    size = 0
    async for request in requests:
        if not request.HasField("data"):
            raise _invalid("start", "start was sent again: every message after the first must be data")
        size += len(request.data)
        if size > MAX_BYTES and not is_live:
            raise _invalid("data", f"is larger than {MAX_BYTES:,} bytes: split the recording")
        yield request.data
    if size == 0:
        raise _invalid("data", "the stream ended without any: send the recording's bytes after start")


async def _detect(
    trainer: Trainer, model: Model, start: pb.DetectRequest.Start, requests: AsyncIterator[pb.DetectRequest]
) -> AsyncIterator[pb.DetectResponse]:
    grant = trainer.signer.metadata("Detect", reads=(model.weights, model.model_config))
    call = trainer.stub.Detect(metadata=grant)
    sending = asyncio.create_task(_send_all(call, model, start, requests))
    # What ends the call at the other end, too, says more.
    sending.add_done_callback(lambda done: done.cancelled() or done.exception())
    detection_count = 0
    try:
        if not start.HasField("live"):
            await sending
        async for response in _until_failure(call, sending):
            if response.HasField("summary"):
                yield detect_summary_response(model, response.summary, detection_count)
            elif response.HasField("heartbeat"):
                yield pb.DetectResponse(heartbeat=response.heartbeat)
            else:
                detection_count += 1
                yield pb.DetectResponse(detection=response.detection)
    except TrainerLostError:
        raise _lost(trainer, "it ended the call") from None
    except aio.AioRpcError as error:
        earmark_error = _to_earmark_error(error, trainer, model)
        if earmark_error is None:
            raise
        raise earmark_error from error
    finally:
        sending.cancel()
        call.cancel()


async def _until_failure(call: Any, sending: asyncio.Task[None]) -> AsyncIterator[Any]:
    """The responses of a trainer. Raises what sending raises, unless the trainer has ended the call."""
    responses = aiter(call)
    while True:
        reading = asyncio.ensure_future(anext(responses, None))
        try:
            await asyncio.wait({reading, sending}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and not isinstance(sending.exception(), TrainerLostError):
                sending.result()
            response = await reading
        finally:
            reading.cancel()
        if response is None:
            return
        yield response


async def _send_all(
    call: Any, model: Model, start: pb.DetectRequest.Start, requests: AsyncIterator[pb.DetectRequest]
) -> None:
    await send(call, detect_start_request(model, start, current().turn))
    async for data in _data(requests, is_live=start.HasField("live")):
        await send(call, trainer_service_pb2.DetectRequest(data=data))
    await call.done_writing()


def _to_earmark_error(error: aio.AioRpcError, trainer: Trainer, model: Model) -> EarmarkError | None:
    """The caller's error for a trainer's status; None for a status that no trainer should return."""
    details, failure = error.details() or "", failure_of(error)
    if (of_model := error_of_model(model, failure, details)) is not None:
        return of_model
    if failure.kind == trainer_service_pb2.FAILURE_KIND_DATA:
        return InvalidArgumentError([FieldViolation("data", details)], reason="INVALID_AUDIO")
    if failure.kind == trainer_service_pb2.FAILURE_KIND_ATTEMPT and failure.reason == "INTERNAL":
        return None
    return _lost(trainer, details)


def _lost(trainer: Trainer, cause: str) -> EarmarkError:
    log.warning("trainer lost during detection", trainer=trainer.address, cause=cause)
    return unavailable(
        "the trainer was lost during detection: send the recording again, or live audio from before the "
        "position that the last heartbeat had"
    )


def _invalid(field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError([FieldViolation(field, description)])
