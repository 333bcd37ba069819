"""Traces that go to a collector over OTLP. Needs the extra `otel`; imported where a collector is named."""

import logging
import socket
import threading
from typing import Literal
from uuid import uuid4

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from earmark.tracing import NO_ATTRIBUTES, TRACEPARENT, Attributes, Metadata, Span, Tracer, parent_in

# What the collector has not taken by then, when a service stops, is lost.
LAST_SECONDS = 3.0
_KINDS = {"server": trace.SpanKind.SERVER, "client": trace.SpanKind.CLIENT}
_CONTEXT = TraceContextTextMapPropagator()

log = structlog.get_logger("traces")


class OtlpTracer(Tracer):
    """Sends its spans to one collector, in batches, from a thread. What that one does not take is dropped.

    OpenTelemetry's own variables set the rest: OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS and so on.
    """

    def __init__(self, endpoint: str, service: str) -> None:
        """`endpoint`: see `tracing.checked_endpoint`. `service`: the traces' name of this process."""
        _take_over_log()
        resource = Resource.create(
            {
                "service.name": service,
                "service.instance.id": str(uuid4()),
                "host.name": socket.gethostname(),
            }
        )
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint))
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("earmark")

    def begin(
        self,
        name: str,
        kind: Literal["server", "client"],
        parent: str,
        attributes: Attributes = NO_ATTRIBUTES,
    ) -> Span:
        context = _CONTEXT.extract({TRACEPARENT: parent}, Context())
        begun = self._tracer.start_span(name, context, _KINDS[kind], dict(attributes))
        return _OtlpSpan(self._tracer, begun)

    def serve(self, method: str, metadata: Metadata, attributes: Attributes = NO_ATTRIBUTES) -> Span:
        name = method.removeprefix("/")
        of_call = {"rpc.system.name": "grpc", "rpc.method": name, **attributes}
        return self.begin(name, "server", parent_in(metadata), of_call)

    def close(self) -> None:
        # It would wait for 30 s for a collector that does not answer.
        ending = threading.Thread(target=self._processor.shutdown, daemon=True)
        ending.start()
        ending.join(LAST_SECONDS)


class _OtlpSpan(Span):
    __slots__ = ("_context", "_span", "_traceparent", "_tracer")

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer, self._span = tracer, span
        self._context = trace.set_span_in_context(span, Context())
        carrier: dict[str, str] = {}
        _CONTEXT.inject(carrier, self._context)
        # OTEL_SDK_DISABLED turns all of it off.
        self._traceparent = carrier.get(TRACEPARENT, "")

    @property
    def traceparent(self) -> str:
        return self._traceparent

    def part(self, name: str, began_ns: int, attributes: Attributes = NO_ATTRIBUTES) -> None:
        self._tracer.start_span(name, self._context, attributes=dict(attributes), start_time=began_ns).end()

    def end(self, error: str = "", attributes: Attributes = NO_ATTRIBUTES) -> None:
        self._span.set_attributes(dict(attributes))
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end()


class _ToLog(logging.Handler):
    """Writes what OpenTelemetry reports as lines like the service's own."""

    def emit(self, record: logging.LogRecord) -> None:
        log.error("traces are not sent", problem=record.getMessage())


def _take_over_log() -> None:
    """The warnings are about each further try of a batch; the error says that it is dropped."""
    source = logging.getLogger("opentelemetry")
    if not source.handlers:
        source.addHandler(_ToLog(logging.ERROR))
        source.propagate = False
