"""What operators see of each call: the counts of such calls, its span, and its line in the access log."""

import structlog

from earmark.call_counts import CallCounts, RpcCounts
from earmark.gateway.audit import AuditedCall
from earmark.gateway.audited_ids import printable
from earmark.tracing import Metadata, Span, Tracer

log = structlog.get_logger("access")


class Observer:
    """Observes the calls of a gateway."""

    def __init__(self, counts: CallCounts, tracer: Tracer, *, access_log: bool) -> None:
        self._counts = counts
        self._tracer = tracer
        self._access_log = access_log

    def rpc(self, method: str, *, request_streaming: bool, response_streaming: bool) -> "ObservedRpc":
        """Observes the calls of one of Earmark's rpcs."""
        counts = self._counts.rpc(
            method, request_streaming=request_streaming, response_streaming=response_streaming
        )
        return ObservedRpc(method, counts, self._tracer, access_log=self._access_log)

    def standard(self, method: str) -> "ObservedRpc":
        """Observes the calls of an rpc that comes with gRPC, which are not counted."""
        return ObservedRpc(method, None, self._tracer, access_log=self._access_log)


class ObservedRpc:
    """Observes the calls of one rpc."""

    def __init__(self, method: str, counts: RpcCounts | None, tracer: Tracer, *, access_log: bool) -> None:
        self._method = method
        self._counts = counts
        self._tracer = tracer
        self._access_log = access_log

    def began(self, request_id: str, metadata: Metadata) -> Span:
        """A call begins. Returns its span."""
        if self._counts is not None:
            self._counts.started()
        return self._tracer.serve(self._method, metadata, {"earmark.request_id": request_id})

    def ended(self, call: AuditedCall, seconds: float) -> None:
        """The call has ended, in whichever way, and has taken so long."""
        if self._counts is not None:
            self._counts.ended(call.code, seconds)
        call.span.end_call(call.code)
        if self._access_log:
            _log(call, seconds)


def _log(call: AuditedCall, seconds: float) -> None:
    """Never what the call was about. Its caller is named as in the audit log."""
    known: dict[str, str] = {}
    if (caller := call.caller) is not None:
        known = {"tenant": caller.tenant, "caller": printable(caller.name)}
        if caller.key_id is not None:
            known["api_key_id"] = str(caller.key_id)
    if call.span.trace_id:
        known["trace"] = call.span.trace_id
    log.info(
        "call",
        method=call.rpc,
        status=call.code,
        milliseconds=round(seconds * 1000, 1),
        peer=printable(call.address),
        request=call.request_id,
        **known,
    )
