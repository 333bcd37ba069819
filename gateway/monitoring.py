"""The gateway's Prometheus metrics, from the same sources as AdminService's figures."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from earmark.gateway.app import App
from earmark.storage.database import DatabaseUnavailableError
from earmark.storage.queries import queues
from earmark.storage.queries.queues import Queue

# The queues are read at most this often, however many monitors ask.
QUEUE_SECONDS = 5.0
# A monitor should get the other figures even if the database hangs.
READ_SECONDS = 2.0
STREAMS = ("watches", "uploads", "downloads", "detections")


class GatewayFigures(Collector):
    """The figures of one gateway, and the queues that all gateways share."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._queues: Sequence[Queue] = ()
        self._due = 0.0

    async def read(self) -> None:
        """Reads the queues. While the database is away, they are left out: old figures would mislead."""
        now = asyncio.get_running_loop().time()
        if now < self._due:
            return
        self._due = now + QUEUE_SECONDS
        try:
            async with asyncio.timeout(READ_SECONDS), self._app.system.connection() as connection:
                self._queues = await queues.read(connection)
        except (DatabaseUnavailableError, TimeoutError):
            self._queues = ()

    def collect(self) -> Iterator[Metric]:
        yield from self._of_queues()
        yield from self._of_fleet()
        yield from self._of_database()
        yield from self._of_calls()

    def _of_queues(self) -> Iterator[Metric]:
        found = {queue.kind: queue for queue in self._queues}
        for name, text, values in (
            ("waiting", "Work that waits", {kind: queue.waiting for kind, queue in found.items()}),
            ("running", "Work that runs", {kind: queue.running for kind, queue in found.items()}),
            ("leases", "Work with a valid lease", {kind: queue.leases for kind, queue in found.items()}),
            (
                "oldest_waiting_seconds",
                "For how long the oldest waits",
                {kind: queue.oldest_seconds for kind, queue in found.items()},
            ),
        ):
            yield _gauge(f"earmark_queue_{name}", f"{text}, of all tenants and gateways.", "queue", values)

    def _of_fleet(self) -> Iterator[Metric]:
        states = self._app.trainers.states()
        available = [state.capacity for state in states if state.is_available]
        counts = {"available": len(available), "unavailable": len(states) - len(available)}
        yield _gauge("earmark_fleet_trainers", "Trainers that this gateway knows.", "state", counts)
        slots = {
            "training": sum(capacity.training_slots for capacity in available),
            "detection": sum(capacity.detection_slots for capacity in available),
            "audio": sum(capacity.audio_slots for capacity in available),
        }
        yield _gauge("earmark_fleet_slots", "Slots of the available trainers.", "kind", slots)
        free = {
            "training": sum(capacity.free_training_slots for capacity in available),
            "detection": sum(capacity.free_detection_slots for capacity in available),
            "audio": sum(capacity.free_audio_slots for capacity in available),
        }
        yield _gauge("earmark_fleet_slots_free", "Those that can take work now.", "kind", free)

    def _of_database(self) -> Iterator[Metric]:
        use, bus = self._app.system.use(), self._app.bus
        yield GaugeMetricFamily(
            "earmark_database_connections_limit", "As many as there may be.", value=use.limit
        )
        connections = {"used": use.used, "idle": use.idle}
        yield _gauge("earmark_database_connections", "Open connections of the pool.", "state", connections)
        yield GaugeMetricFamily(
            "earmark_database_waiting", "Work that waits for one of them.", value=use.waiting
        )
        yield CounterMetricFamily(
            "earmark_notifications_sent_total", "Topics sent to all gateways.", value=bus.sent
        )
        yield CounterMetricFamily(
            "earmark_notifications_received_total", "Topics received, also its own.", value=bus.received
        )

    def _of_calls(self) -> Iterator[Metric]:
        app, queue = self._app, self._app.lane.queue
        streams = {kind: app.shares.totals[kind] for kind in STREAMS}
        yield _gauge("earmark_streams_open", "Streams that are open now.", "kind", streams)
        yield GaugeMetricFamily(
            "earmark_unfinished_upload_bytes", "Bytes of unfinished uploads on disk.", value=app.scratch.used
        )
        calls = {"running": queue.running, "waiting": queue.waiting}
        yield _gauge("earmark_long_calls", "Calls that take long.", "state", calls)
        for name, text, longest in (
            ("event_loop_lag", "Largest lag of the event loop", app.loop_watch.lags.longest()),
            ("call_step", "Longest CPU time of a call without a pause", app.loop_watch.calls.longest()),
        ):
            yield GaugeMetricFamily(
                f"earmark_{name}_seconds", f"{text} in the last five minutes.", value=longest.seconds
            )
        yield GaugeMetricFamily(
            "earmark_audit_entries_waiting", "Entries that are not written yet.", value=app.audit.waiting
        )
        yield CounterMetricFamily(
            "earmark_audit_entries_lost_total", "Entries that found no room.", value=app.audit.lost
        )


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for value, number in values.items():
        family.add_metric((value,), number)
    return family
