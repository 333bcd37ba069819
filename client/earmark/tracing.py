"""What happens to a call and to its job, in all processes, as the spans of one trace.

Nothing of OpenTelemetry is imported before a collector is named. Until then, tracers and spans do nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from earmark.configuration import PREFIX, SettingsError

# The metadata that names a trace and the span that caused a call, as W3C Trace Context defines it.
TRACEPARENT = "traceparent"
# Of version 00; a later one may be longer, and is read no further.
_TRACEPARENT_CHARACTERS = 55
# The statuses that are faults of a server, by OpenTelemetry's conventions. The others tell callers of theirs.
_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})

Attributes: TypeAlias = Mapping[str, str | int]
Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]
NO_ATTRIBUTES: Attributes = MappingProxyType({})


class Span:
    """Something that has begun, and is told when it ends. This one is in no trace."""

    __slots__ = ()

    @property
    def traceparent(self) -> str:
        """What the spans that this one causes name as their parent; empty if it is in no trace."""
        return ""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; empty if it is in no trace."""
        return self.traceparent[3:35]

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a call carries that is made for this span."""
        return ((TRACEPARENT, self.traceparent),) if self.traceparent else ()

    def part(self, name: str, began_ns: int, attributes: Attributes = NO_ATTRIBUTES) -> None:
        """Adds a part of it, which ends now. `began_ns`: nanoseconds since 1970."""

    def end(self, error: str = "", attributes: Attributes = NO_ATTRIBUTES) -> None:
        """It ends now. `error`: the name of what went wrong, if it failed."""

    def end_call(self, code: str) -> None:
        """It was a call, which ends now. `code`: the name of its status."""
        self.end(code if code in _FAULTS else "", {"rpc.response.status_code": code})


UNTRACED = Span()
_current: ContextVar[Span] = ContextVar("span", default=UNTRACED)


def current() -> Span:
    """The span of the call that runs here."""
    return _current.get()


def enter(span: Span) -> None:
    """From now on, the context is that of this call."""
    _current.set(span)


class Tracer:
    """Begins spans. Those of this one are in no trace."""

    def begin(
        self,
        name: str,
        kind: Literal["server", "client"],
        parent: str,
        attributes: Attributes = NO_ATTRIBUTES,
    ) -> Span:
        """A span of this name, which begins now. Without a `parent` of use, it is the first of a trace."""
        del name, kind, parent, attributes
        return UNTRACED

    def serve(self, method: str, metadata: Metadata, attributes: Attributes = NO_ATTRIBUTES) -> Span:
        """The span of a call that a server gets. `method`: as gRPC has it, /SERVICE/METHOD."""
        del method, metadata, attributes
        return UNTRACED

    def close(self) -> None:
        """Sends what is left. Takes a few seconds at most, which block."""


@asynccontextmanager
async def tracing(endpoint: str | None, service: str) -> AsyncIterator[Tracer]:
    """Sends what is traced inside the block to the collector at the endpoint. Without one, nothing is traced.

    `service`: what the traces call this process. Raises SettingsError if OpenTelemetry is not installed.
    """
    if endpoint is None:
        yield Tracer()
        return
    tracer = await asyncio.to_thread(_open, endpoint, service)
    try:
        yield tracer
    finally:
        await asyncio.to_thread(tracer.close)


def checked_endpoint(url: str) -> str:
    """The URL. Raises ValueError unless a collector could be there."""
    parts = urlsplit(url)
    is_url = parts.scheme in ("http", "https") and parts.hostname and parts.path in ("", "/")
    if not is_url or parts.username is not None or parts.query or parts.fragment:
        raise ValueError("it has to be http://HOST:PORT or https://HOST:PORT, such as http://localhost:4317")
    return url


def parent_in(metadata: Metadata) -> str:
    """The span that caused a call with this metadata, as its caller says; empty if it does not."""
    for key, value in metadata:
        if key == TRACEPARENT and isinstance(value, str):
            return value[:_TRACEPARENT_CHARACTERS]
    return ""


def _open(endpoint: str, service: str) -> Tracer:
    try:
        from earmark.otel import OtlpTracer  # noqa: PLC0415 it is an extra, which few installations have
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise SettingsError(
            f"{PREFIX}TRACES_ENDPOINT is {endpoint!r}, and OpenTelemetry is not installed: pip install"
            " 'earmark[otel]'"
        ) from error
    return OtlpTracer(endpoint, service)
