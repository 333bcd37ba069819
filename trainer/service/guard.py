"""The one place that every call of the trainer passes: only what a gateway has granted goes on."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_health.v1 import health
from grpc_status import rpc_status

from earmark.call_counts import CallCounts, RpcCounts
from earmark.grants import GrantRefusedError, Verifier, check_request
from earmark.reflection import V1, V1ALPHA
from earmark.trainer.service import messages
from earmark.trainer.service.errors import CallError
from earmark.trainer.service.keys import Granted, set_granted

# They show whether the trainer is well, and what is public anyway.
OPEN_TO_ALL = (health.SERVICE_NAME, V1, V1ALPHA)
# How long a stream that is refused may take to send its first message.
FIRST_MESSAGE_SECONDS = 5.0
LOG_SECONDS = 10.0

log = structlog.get_logger(__name__)
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Guard(grpc.aio.ServerInterceptor):
    """Refuses each call whose grant does not count, before its request is read.

    To the others it gives their grant, and a CallError in place of bytes that are no message, for which gRPC
    has UNKNOWN.
    """

    def __init__(self, accepted: Sequence[bytes], counts: CallCounts) -> None:
        """`accepted`: see Verifier. `counts` gets every call but those that are open to all."""
        self._counts = counts
        self._counts_of: dict[str, RpcCounts] = {}
        self._verifier = Verifier(accepted)
        # Of refused calls that are not logged yet; strangers may make very many.
        self._refused = 0
        self._logged_at = -LOG_SECONDS

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        service, _, rpc = handler_call_details.method.removeprefix("/").partition("/")
        if handler is None or service in OPEN_TO_ALL:
            return handler
        return _counted(
            self._guarded(handler, rpc, handler_call_details), self._of(handler, handler_call_details)
        )

    def _of(self, handler: Any, details: grpc.HandlerCallDetails) -> RpcCounts:
        if details.method not in self._counts_of:
            self._counts_of[details.method] = self._counts.rpc(
                details.method,
                request_streaming=handler.request_streaming,
                response_streaming=handler.response_streaming,
            )
        return self._counts_of[details.method]

    def _guarded(self, handler: Any, rpc: str, details: grpc.HandlerCallDetails) -> Any:
        """The handler for calls with these metadata."""
        try:
            grant = self._verifier.verified(details.invocation_metadata or ())
        except GrantRefusedError as error:
            return self._refusing(handler, rpc, CallError("GRANT_REFUSED", str(error)))
        if grant.rpc != rpc:
            problem = f"the grant of the call is for {grant.rpc}, not for {rpc}"
            return self._refusing(handler, rpc, CallError("NOT_GRANTED", problem))
        granted = Granted(tuple(grant.reads), tuple(grant.writes))

        def decoded(data: bytes) -> Any:
            try:
                if not handler.request_streaming:
                    check_request(grant, data)
                return handler.request_deserializer(data)
            except GrantRefusedError as error:
                return CallError("NOT_GRANTED", str(error))
            except DecodeError:
                return CallError("INVALID_MESSAGE", "the bytes are no message of this rpc")

        behaviour = _behaviour(handler)

        async def call(request: Any, context: Context) -> Any:
            set_granted(granted)
            return await behaviour(request, context)

        return _with(handler, call, decoded)

    def _refusing(self, handler: Any, rpc: str, error: CallError) -> Any:
        self._refused += 1
        if time.monotonic() - self._logged_at >= LOG_SECONDS:
            log.warning(
                "calls are refused", calls=self._refused, rpc=rpc, reason=error.reason, message=str(error)
            )
            self._refused, self._logged_at = 0, time.monotonic()
        return _refusing(handler, error)


def _counted(handler: Any, counts: RpcCounts) -> Any:
    """The handler, whose calls are counted."""
    behaviour = _behaviour(handler)

    async def call(request: Any, context: Context) -> Any:
        counts.started()
        began, code = time.monotonic(), grpc.StatusCode.UNKNOWN
        try:
            reply = await behaviour(request, context)
            code = grpc.StatusCode.OK
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        except grpc.aio.AbortError:
            code = context.code()
            raise
        else:
            return reply
        finally:
            counts.ended(code.name, time.monotonic() - began)

    return _with(handler, call, handler.request_deserializer)


def _refusing(handler: Any, error: CallError) -> Any:
    """A handler in place of this one, which ends every call with the error."""

    async def call(request: Any, context: Context) -> None:
        if handler.request_streaming:
            await _read_first(request)
        await context.abort_with_status(rpc_status.to_status(messages.to_status(error)))

    return _with(handler, call, None)


async def _read_first(requests: AsyncIterator[bytes]) -> None:
    """Reads a message: a call that ends while its first is sent loses its status (grpc #36066)."""
    read = asyncio.ensure_future(anext(requests, None))
    read.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait({read}, timeout=FIRST_MESSAGE_SECONDS)


def _behaviour(handler: Any) -> Callable[[Any, Context], Awaitable[Any]]:
    found: Callable[[Any, Context], Awaitable[Any]] = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    return found


def _with(
    handler: Any,
    behaviour: Callable[[Any, Context], Awaitable[Any]],
    decode: Callable[[bytes], Any] | None,
) -> Any:
    """The handler with another behaviour, of the same kind, and another way to read its requests."""
    sides = (
        "stream" if streams else "unary"
        for streams in (handler.request_streaming, handler.response_streaming)
    )
    return handler._replace(**{"_".join(sides): behaviour, "request_deserializer": decode})
