"""Intercepts every call: assigns its log id, checks the protos' field rules and maps errors to statuses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from grpc import aio
from grpc_status import rpc_status
from uuid_utils import uuid7

from earmark.gateway.errors import (
    EarmarkError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    UnavailableError,
)
from earmark.gateway.field_rules import check
from earmark.storage.database import NUL_IN_TEXT, UNAVAILABLE

log = structlog.get_logger("gateway")

Context: TypeAlias = "aio.ServicerContext[Any, Any]"
Handler = Callable[[Any, Context], Any]
Check = Callable[[Any], Awaitable[Any]]
# Reflection, health and channelz check their own requests and are not wrapped.
OURS = "/earmark."
MESSAGE_BYTES = 8 << 20
REQUEST_ID = "x-request-id"


class CallInterceptor(aio.ServerInterceptor):
    """Wraps every handler of Earmark's services: each call ends in a reply, a cancel or a rich status."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    async def ended(self, seconds: float) -> None:
        """Waits at most `seconds` until cancelled calls have cleaned up, which gRPC does not wait for."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or not method.startswith(OURS):
            return handler
        self._remember(asyncio.current_task())
        return _wrapped(handler, method)

    def _remember(self, task: asyncio.Task[Any] | None) -> None:
        """Tracks the task of a call. gRPC asks for the handler in the same task that then runs the call."""
        if task is not None:
            self._running.add(task)
            task.add_done_callback(self._running.discard)


def _wrapped(handler: Any, method: str) -> Any:
    codecs = {
        "request_deserializer": _decoder(handler.request_deserializer),
        "response_serializer": handler.response_serializer,
    }
    checked = _checked_stream if handler.request_streaming else _checked
    if handler.unary_unary:
        return grpc.unary_unary_rpc_method_handler(_unary(handler.unary_unary, method, checked), **codecs)
    if handler.stream_unary:
        return grpc.stream_unary_rpc_method_handler(_unary(handler.stream_unary, method, checked), **codecs)
    if handler.unary_stream:
        return grpc.unary_stream_rpc_method_handler(_stream(handler.unary_stream, method, checked), **codecs)
    return grpc.stream_stream_rpc_method_handler(_stream(handler.stream_stream, method, checked), **codecs)


def _unary(inner: Handler, method: str, checked: Check) -> Handler:
    async def call(request: Any, context: Context) -> Any:
        request_id = _bind(method)
        context.set_trailing_metadata(_metadata(request_id))
        try:
            return await inner(await checked(request), context)
        except Exception as error:  # noqa: BLE001 every error becomes a status of its call
            await _abort(context, error, request_id)

    return call


def _stream(inner: Handler, method: str, checked: Check) -> Handler:
    async def call(request: Any, context: Context) -> AsyncIterator[Any]:
        request_id = _bind(method)
        context.set_trailing_metadata(_metadata(request_id))
        try:
            # A watch may run for days, so its id is sent at its beginning, too.
            await context.send_initial_metadata(_metadata(request_id))
            async for response in inner(await checked(request), context):
                yield response
        except Exception as error:  # noqa: BLE001 every error becomes a status of its call
            await _abort(context, error, request_id)

    return call


def _bind(method: str) -> str:
    request_id = str(uuid7())
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request=request_id, method=method)
    return request_id


def _metadata(request_id: str) -> tuple[tuple[str, str], ...]:
    """The metadata by which a caller can name this call to those who have the log."""
    return ((REQUEST_ID, request_id),)


async def _abort(context: Context, error: Exception, request_id: str) -> None:
    # gRPC raises AbortError, an Exception, to end an aborted call. That call already has its status.
    if isinstance(error, aio.AbortError):
        raise error
    status = rpc_status.to_status(_to_earmark_error(error, request_id).status())
    trailing = (*status.trailing_metadata, *_metadata(request_id))
    await context.abort(status.code, status.details, trailing)


def _to_earmark_error(error: Exception, request_id: str) -> EarmarkError:
    if isinstance(error, EarmarkError):
        log.info("refused", code=error.code.name, reason=error.reason, message=error.message)
        return error
    if isinstance(error, NUL_IN_TEXT):
        return InvalidArgumentError([FieldViolation("", "no text may contain the character NUL (U+0000)")])
    if isinstance(error, UNAVAILABLE):
        log.warning("database unavailable", error=repr(error))
        return UnavailableError("DATABASE_UNAVAILABLE", "the database does not answer; try again shortly")
    log.error("internal error", exc_info=error)
    return InternalError(request_id)


def _decoder(decode: Callable[[bytes], Message]) -> Callable[[bytes], Message | InvalidArgumentError]:
    """What gRPC calls to decode a message. An error that it raised would reach the caller without details."""

    def decoded(message: bytes) -> Message | InvalidArgumentError:
        if len(message) > MESSAGE_BYTES:
            found = f"{len(message)} bytes, but at most {MESSAGE_BYTES} are accepted: send smaller parts"
            return _invalid_message(f"the message has {found}")
        try:
            return decode(message)
        except DecodeError:
            return _invalid_message("the bytes are no message of this rpc: use stubs of this contract")

    return decoded


def _invalid_message(problem: str) -> InvalidArgumentError:
    return InvalidArgumentError([FieldViolation("", problem)], reason="INVALID_MESSAGE")


async def _checked(request: Message | InvalidArgumentError) -> Message:
    if isinstance(request, InvalidArgumentError):
        raise request
    await check(request)
    return request


async def _checked_stream(requests: AsyncIterator[Message | InvalidArgumentError]) -> AsyncIterator[Message]:
    async def each() -> AsyncIterator[Message]:
        async for request in requests:
            yield await _checked(request)

    return each()
