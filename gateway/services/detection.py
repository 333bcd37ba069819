"""earmark.v1.DetectionService."""

from collections.abc import AsyncIterator, Iterable
from typing import Any
from uuid import UUID

import structlog
from grpc import aio

from earmark.gateway import lookup
from earmark.gateway.app import App
from earmark.gateway.convert.detections import detect_start_request, detect_summary_response
from earmark.gateway.errors import EarmarkError, FieldViolation, InvalidArgumentError
from earmark.gateway.fleet.failures import error_of_model, failure_of
from earmark.gateway.fleet.trainers import Trainer, TrainerLostError, send, unavailable
from earmark.gateway.rules.models import check_usable
from earmark.internal.v1 import trainer_service_pb2
from earmark.storage.records import Model
from earmark.v1 import detection_service_pb2 as pb
from earmark.v1 import detection_service_pb2_grpc
from earmark.v1.detection_pb2 import DetectionConfig

log = structlog.get_logger("gateway")

MAX_BYTES = 524_288_000


class DetectionService(detection_service_pb2_grpc.DetectionServiceServicer):
    """Finds artifacts in recordings that callers send."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def Detect(
        self, requests: AsyncIterator[pb.DetectRequest], _: Any
    ) -> AsyncIterator[pb.DetectResponse]:
        start = await _start(requests)
        async with self._app.database.connection() as connection:
            model = await lookup.model(connection, UUID(start.model_id))
        check_usable(model)
        _check_types(start.config, model)
        trainer = self._app.trainers.pick_for_detection()
        async for response in _detect(trainer, model, start, requests):
            yield response


async def _start(requests: AsyncIterator[pb.DetectRequest]) -> pb.DetectRequest.Start:
    first = await anext(requests, None)
    if first is None:
        raise _invalid("start", "the stream has no message: the first must be start, then the data")
    if not first.HasField("start"):
        raise _invalid("start", f"the first message must be start, not {first.WhichOneof('content')}")
    return first.start


async def _data(requests: AsyncIterator[pb.DetectRequest]) -> AsyncIterator[bytes]:
    size = 0
    async for request in requests:
        if not request.HasField("data"):
            raise _invalid("start", "start was sent again: every message after the first must be data")
        size += len(request.data)
        if size > MAX_BYTES:
            raise _invalid("data", f"is larger than {MAX_BYTES:,} bytes: split the recording")
        yield request.data
    if size == 0:
        raise _invalid("data", "the stream ended without any: send the recording's bytes after start")


def _check_types(config: DetectionConfig, model: Model) -> None:
    by_type: dict[str, Iterable[str]] = {
        "thresholds": config.thresholds,
        "merge_windows_ms": config.merge_windows_ms,
        "min_durations_ms": config.min_durations_ms,
    }
    detected = ", ".join(model.artifact_types)
    unknown = [
        FieldViolation(
            f"start.config.{field}[{name!r}]",
            f"model {model.id} does not detect this type; it has {detected}",
        )
        for field, names in by_type.items()
        for name in names
        if name not in model.artifact_types
    ]
    if unknown:
        raise InvalidArgumentError(unknown)


async def _detect(
    trainer: Trainer, model: Model, start: pb.DetectRequest.Start, requests: AsyncIterator[pb.DetectRequest]
) -> AsyncIterator[pb.DetectResponse]:
    call = trainer.stub.Detect()
    detection_count = 0
    try:
        await _send_all(call, model, start, requests)
        async for response in call:
            if response.HasField("summary"):
                yield detect_summary_response(response.summary, detection_count)
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
        call.cancel()


async def _send_all(
    call: Any, model: Model, start: pb.DetectRequest.Start, requests: AsyncIterator[pb.DetectRequest]
) -> None:
    await send(call, detect_start_request(model, start))
    async for data in _data(requests):
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
    return unavailable("the trainer was lost during detection: send the recording again")


def _invalid(field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError([FieldViolation(field, description)])
