"""The trainer's Prometheus metrics."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from earmark.trainer.service.executor import Executor


class TrainerFigures(Collector):
    """The figures of one trainer. Those of an epoch are of the last that has ended here, of any job."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def collect(self) -> Iterator[Metric]:
        executor = self._executor
        slots, free = executor.slots(), executor.free_slots()
        yield _family(GaugeMetricFamily("earmark_trainer_slots", "Slots.", labels=("kind",)), slots)
        yield _family(
            GaugeMetricFamily(
                "earmark_trainer_slots_free", "Those that can take work now.", labels=("kind",)
            ),
            free,
        )
        yield CounterMetricFamily(
            "earmark_trainer_epochs_total", "Epochs that have ended.", value=executor.epochs
        )
        if (epoch := executor.last_epoch) is not None:
            yield GaugeMetricFamily(
                "earmark_trainer_chunks_per_second", "Of the last epoch.", value=epoch.chunks_per_second
            )
            if (score := epoch.metrics.overall.f1_score) is not None:
                yield GaugeMetricFamily(
                    "earmark_trainer_f1_score", "At event level, of the last epoch.", value=score
                )
        yield _family(
            CounterMetricFamily(
                "earmark_trainer_decode_failures_total", "Audio that was not decoded.", labels=("reason",)
            ),
            executor.decode_failures,
        )


def _family(
    family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[str, float]
) -> GaugeMetricFamily | CounterMetricFamily:
    for value, number in values.items():
        family.add_metric((value,), number)
    return family
