"""The Prometheus metrics of the calls of a gRPC server, under the names that are usual for them."""

from prometheus_client import CollectorRegistry, Counter, Histogram

_LABELS = ("grpc_type", "grpc_service", "grpc_method")
_TYPES = {
    (False, False): "unary",
    (True, False): "client_stream",
    (False, True): "server_stream",
    (True, True): "bidi_stream",
}


class CallCounts:
    """Counts the calls of each rpc. Its labels are names of the contract, never what callers send."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._started = Counter(
            "grpc_server_started_total", "Calls that have begun.", _LABELS, registry=registry
        )
        self._handled = Counter(
            "grpc_server_handled_total",
            "Calls that have ended, by their status.",
            (*_LABELS, "grpc_code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "grpc_server_handling_seconds",
            "Time from the start of a call to its end.",
            _LABELS,
            registry=registry,
        )

    def rpc(self, method: str, *, request_streaming: bool, response_streaming: bool) -> "RpcCounts":
        """`method`: as gRPC has it, /SERVICE/METHOD."""
        service, _, name = method.removeprefix("/").partition("/")
        labels = (_TYPES[request_streaming, response_streaming], service, name)
        return RpcCounts(labels, self._started, self._handled, self._seconds)


class RpcCounts:
    """Counts the calls of one rpc."""

    def __init__(
        self, labels: tuple[str, str, str], started: Counter, handled: Counter, seconds: Histogram
    ) -> None:
        self._labels = labels
        self._started = started.labels(*labels)
        self._handled = handled
        self._seconds = seconds.labels(*labels)
        # By status. A look-up by labels costs more than the rest of the count.
        self._by_code: dict[str, Counter] = {}

    def started(self) -> None:
        self._started.inc()

    def ended(self, code: str, seconds: float) -> None:
        """`code`: the name of a status, such as NOT_FOUND."""
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._handled.labels(*self._labels, code)
        counter.inc()
        self._seconds.observe(seconds)
