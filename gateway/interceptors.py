"""Intercepts every call: checks its key and the protos' field rules, and maps errors to statuses."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, nullcontext
from functools import cache
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from grpc import aio
from grpc_status import rpc_status
from uuid_utils import uuid7

from earmark.gateway import wire
from earmark.gateway.audit import Audit, AuditedCall
from earmark.gateway.caller import Caller, address_of, begin_call
from earmark.gateway.errors import FieldViolation, InvalidArgumentError, StreamIdleError
from earmark.gateway.field_rules import check
from earmark.gateway.guard import StandardServices, check_scope, is_read, scopes_of
from earmark.gateway.keys import Keys
from earmark.gateway.loop_watch import LoopWatch
from earmark.gateway.observed import ObservedRpc, Observer
from earmark.gateway.pieces import pause
from earmark.gateway.quotas import Quotas
from earmark.gateway.shares import MESSAGE_BYTES as MESSAGE_BYTES_IN_WORK
from earmark.gateway.shares import Shares, kind_of_stream
from earmark.gateway.translated_errors import translated
from earmark.gateway.turns import OPENING_SECONDS, Turn, Turns
from earmark.tracing import enter

Context: TypeAlias = "aio.ServicerContext[Any, Any]"
# Reflection, health and channelz check their own requests.
OURS = "/earmark."
MESSAGE_BYTES = 8 << 20
REQUEST_ID = "x-request-id"
_NOTHING = nullcontext()


class CallInterceptor(aio.ServerInterceptor):
    """Wraps every handler of Earmark's services: each call ends in a reply, a cancel or a rich status."""

    def __init__(
        self,
        watch: LoopWatch,
        keys: Keys,
        shares: Shares,
        quotas: Quotas,
        standard: StandardServices,
        audit: Audit,
        observer: Observer,
        *,
        idle_seconds: float,
    ) -> None:
        self._observer = observer
        self._watch = watch
        self._keys = keys
        self._shares = shares
        self._quotas = quotas
        self._standard = standard
        self._audit = audit
        self._idle_seconds = idle_seconds
        self._turns = Turns()
        self._running: set[asyncio.Task[Any]] = set()
        # By rpc, which is asked for again with every call.
        self._wrapped: dict[str, Any] = {}

    async def ended(self, seconds: float) -> None:
        """Waits at most `seconds` until cancelled calls have cleaned up, which gRPC does not wait for."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        method: str = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            if method.startswith(OURS):
                observed = self._observer.rpc(
                    method,
                    request_streaming=handler.request_streaming,
                    response_streaming=handler.response_streaming,
                )
                guard = self._guard(method, scopes_of(method), observed, is_read=is_read(method))
                wrapped = _Method(
                    method, handler, self._watch, guard, self._shares, self._turns, self._idle_seconds
                ).handler()
            else:
                scopes = self._standard.scopes_of(method)
                # They change nothing.
                guard = self._guard(
                    method, scopes or frozenset(), self._observer.standard(method), is_read=True
                )
                wrapped = handler if scopes is None else _guarded(handler, guard)
            self._wrapped[method] = wrapped
        self._remember(asyncio.current_task())
        return wrapped

    def _guard(
        self, method: str, scopes: frozenset[str], observed: ObservedRpc, *, is_read: bool
    ) -> "_Guard":
        return _Guard(method, self._keys, self._quotas, scopes, self._audit, observed, is_read=is_read)

    def _remember(self, task: asyncio.Task[Any] | None) -> None:
        """Tracks the task of a call. gRPC asks for the handler in the same task that then runs the call."""
        if task is not None:
            self._running.add(task)
            task.add_done_callback(self._running.discard)


class _Guard:
    """Lets those call an rpc who have one of its scopes, as often as their tenant may."""

    def __init__(
        self,
        method: str,
        keys: Keys,
        quotas: Quotas,
        scopes: frozenset[str],
        audit: Audit,
        observed: ObservedRpc,
        *,
        is_read: bool,
    ) -> None:
        self.stream = keys.stream
        self._method = method
        self._keys = keys
        self._quotas = quotas
        self._scopes = scopes
        self._audit = audit
        self._observed = observed
        self._is_read = is_read

    def call(self, context: Context, request_id: str) -> AuditedCall:
        """A call that begins now."""
        span = self._observed.began(request_id, context.invocation_metadata() or ())
        address, ended = address_of(context.peer()), self._observed.ended
        return self._audit.call(self._method, request_id, address, ended, span, is_read=self._is_read)

    async def begin(self, context: Context, call: AuditedCall) -> Caller:
        """Begins the call of who makes it. Raises if that is not allowed."""
        caller = await self._keys.caller(context.invocation_metadata() or (), call.address)
        call.caller = caller
        # Also what is refused costs something.
        self._quotas.admit(caller.tenant)
        check_scope(caller, self._scopes)
        begin_call(caller)
        enter(call.span)
        call.let_in()
        return caller


def _guarded(handler: Any, guard: _Guard) -> Any:
    """The handler of a standard rpc, which is a unary or a bidirectional one, for those who may call it."""

    async def unary(request: Any, context: Context) -> Any:
        with guard.call(context, str(uuid7())) as call:
            try:
                await guard.begin(context, call)
            except Exception as error:  # noqa: BLE001 every error becomes a status of its call
                await _abort(context, error, call)
            reply = await handler.unary_unary(request, context)
            call.ends("OK")
            return reply

    async def stream(requests: Any, context: Context) -> AsyncIterator[Any]:
        with guard.call(context, str(uuid7())) as call:
            try:
                with guard.stream(await guard.begin(context, call)):
                    async for response in handler.stream_stream(requests, context):
                        yield response
                call.ends("OK")
            except Exception as error:  # noqa: BLE001 every error becomes a status of its call
                await _abort(context, error, call)

    coders = (handler.request_deserializer, handler.response_serializer)
    if handler.unary_unary:
        return grpc.unary_unary_rpc_method_handler(unary, *coders)
    return grpc.stream_stream_rpc_method_handler(stream, *coders)


class _Method:
    """An rpc and its handler. gRPC hands over and receives bytes, so that decoding is part of the call."""

    def __init__(
        self,
        name: str,
        inner: Any,
        watch: LoopWatch,
        guard: _Guard,
        shares: Shares,
        turns: Turns,
        idle_seconds: float,
    ) -> None:
        self._name = name
        self._inner = inner
        self._watch = watch
        self._guard = guard
        self._shares = shares
        self._turns = turns
        self._idle_seconds = idle_seconds

    def handler(self) -> Any:
        """What gRPC calls."""
        inner = self._inner
        if inner.unary_unary:
            return grpc.unary_unary_rpc_method_handler(self._unary)
        if inner.stream_unary:
            return grpc.stream_unary_rpc_method_handler(self._unary)
        if inner.unary_stream:
            return grpc.unary_stream_rpc_method_handler(self._stream)
        return grpc.stream_stream_rpc_method_handler(self._stream)

    async def _unary(self, request: Any, context: Context) -> Any:
        request_id = _bind(self._name)
        context.set_trailing_metadata(_metadata(request_id))
        with self._guard.call(context, request_id) as call:
            try:
                caller = await self._guard.begin(context, call)
                if self._inner.request_streaming:
                    async with self._opened(caller, request):
                        reply = await self._watch.measured(self._reply(request, context, call), self._name)
                else:
                    async with self._turns.turn(caller.turn):
                        with self._share(request):
                            reply = await self._watch.measured(
                                self._reply(request, context, call), self._name
                            )
            except Exception as error:  # noqa: BLE001 every error becomes a status of its call
                await _abort(context, error, call)
            else:
                call.ends("OK")
                return reply

    async def _stream(self, request: Any, context: Context) -> AsyncIterator[Any]:
        request_id = _bind(self._name)
        context.set_trailing_metadata(_metadata(request_id))
        with self._guard.call(context, request_id) as call:
            try:
                caller = await self._guard.begin(context, call)
                async with self._opened(caller, request) as turn:
                    # A watch may run for days, so its id is sent at its beginning, too.
                    await context.send_initial_metadata(_metadata(request_id))
                    async with aclosing(self._replies(request, context, call)) as replies:
                        while True:
                            try:
                                reply = await self._watch.measured(anext(replies), self._name)
                            except StopAsyncIteration:
                                call.ends("OK")
                                return
                            turn.leave()
                            yield reply
            except Exception as error:  # noqa: BLE001 every error becomes a status of its call
                await _abort(context, error, call)

    @asynccontextmanager
    async def _opened(self, caller: Caller, request: Any) -> AsyncIterator[Turn]:
        """The body of a stream or an upload, which ends with its key. It has the turn of its opening."""
        with self._guard.stream(caller):
            async with self._turns.turn(caller.turn, OPENING_SECONDS, "opening") as turn:
                with self._share(request):
                    yield turn

    def _share(self, request: Any) -> AbstractContextManager[None]:
        """Counts the call for its caller: a stream as one, any other by the bytes of a large message."""
        if self._inner.request_streaming or self._inner.response_streaming:
            return self._shares.taken(kind_of_stream(self._name))
        if len(request) <= wire.SMALL_BYTES:
            return _NOTHING
        return self._shares.taken(MESSAGE_BYTES_IN_WORK, len(request))

    async def _reply(self, request: Any, context: Context, call: AuditedCall) -> bytes:
        inner = self._inner.stream_unary or self._inner.unary_unary
        reply = await inner(await self._decoded(request, call), context)
        call.answers(reply)
        serialized: bytes = self._inner.response_serializer(reply)
        return serialized

    async def _replies(
        self, request: Any, context: Context, call: AuditedCall
    ) -> AsyncGenerator[bytes, None]:
        inner = self._inner.stream_stream or self._inner.unary_stream
        async with aclosing(inner(await self._decoded(request, call), context)) as responses:
            async for response in responses:
                yield self._inner.response_serializer(response)

    async def _decoded(self, request: Any, call: AuditedCall) -> Any:
        """The checked message, or for a stream an iterator over its messages as they arrive."""
        if self._inner.request_streaming:
            return self._each(request, call)
        return await self._message(request, call)

    async def _each(self, requests: AsyncIterator[bytes], call: AuditedCall) -> AsyncIterator[Message]:
        messages = aiter(requests)
        while True:
            # A read is not cancelled, because gRPC leaks then: it ends with the call.
            reading = asyncio.ensure_future(anext(messages, None))
            reading.add_done_callback(_retrieve)
            await asyncio.wait([reading], timeout=self._idle_seconds)
            if not reading.done():
                raise StreamIdleError(self._idle_seconds)
            if (message := reading.result()) is None:
                return
            yield await self._message(message, call)

    async def _message(self, message: bytes, call: AuditedCall) -> Message:
        """Raises InvalidArgumentError for bytes that are no message, or that break its rules."""
        if len(message) > MESSAGE_BYTES:
            found = f"{len(message)} bytes, but at most {MESSAGE_BYTES} are accepted: send smaller parts"
            raise _invalid_message(f"the message has {found}")
        try:
            if len(message) > wire.SMALL_BYTES:
                return await self._large_message(message, call)
            decoded: Message = self._inner.request_deserializer(message)
        except DecodeError:
            raise _invalid_message(
                "the bytes are no message of this rpc: use stubs of this contract"
            ) from None
        call.asks(decoded)
        await check(decoded)
        return decoded

    async def _large_message(self, message: bytes, call: AuditedCall) -> Message:
        """Others run before and after it is decoded, which takes up to 15 ms."""
        await wire.check(message, _input_of(self._name))
        await pause()
        decoded: Message = self._inner.request_deserializer(message)
        await pause()
        call.asks(decoded)
        await check(decoded)
        return decoded


def _retrieve(reading: asyncio.Future[bytes | None]) -> None:
    """Marks the error of a read as seen: its call may have ended before."""
    if not reading.cancelled():
        reading.exception()


@cache
def _input_of(method: str) -> Descriptor:
    rpc = method.removeprefix("/").replace("/", ".")
    found: Descriptor = descriptor_pool.Default().FindMethodByName(rpc).input_type
    return found


def _bind(method: str) -> str:
    request_id = str(uuid7())
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request=request_id, method=method)
    return request_id


def _metadata(request_id: str) -> tuple[tuple[str, str], ...]:
    """The metadata by which a caller can name this call to those who have the log."""
    return ((REQUEST_ID, request_id),)


async def _abort(context: Context, error: Exception, call: AuditedCall) -> None:
    # gRPC raises AbortError, an Exception, to end an aborted call. That call already has its status.
    if isinstance(error, aio.AbortError):
        raise error
    refused = translated(error, call.request_id)
    call.ends(refused.code.name, refused.reason)
    status = rpc_status.to_status(refused.status())
    trailing = (*status.trailing_metadata, *_metadata(call.request_id))
    await context.abort(status.code, status.details, trailing)


def _invalid_message(problem: str) -> InvalidArgumentError:
    return InvalidArgumentError([FieldViolation("", problem)], reason="INVALID_MESSAGE")
