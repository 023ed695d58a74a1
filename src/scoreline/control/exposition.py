"""The text that Prometheus reads, from samples."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from scoreline.control.samples import Sample
from scoreline.metrics import BY_NAME, COUNTER, GAUGE, HISTOGRAM, INFO, METRICS, PREFIX

FAMILIES: Final = {
    COUNTER: CounterMetricFamily,
    GAUGE: GaugeMetricFamily,
    HISTOGRAM: HistogramMetricFamily,
    INFO: InfoMetricFamily,
}


class Exposition:
    """All metrics, with what `sample` gives at each scrape; those without any value are declared all the same."""

    def __init__(self, sample: Callable[[], Iterable[Sample]]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Samples(sample))

    def text(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the form that a scraper accepts, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _Samples(Collector):
    def __init__(self, sample: Callable[[], Iterable[Sample]]) -> None:
        self._sample = sample

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Any] = {
            metric.name: FAMILIES[metric.kind](PREFIX + metric.name, metric.help, labels=metric.labels)
            for metric in METRICS
        }
        for name, labels, value in self._sample():
            if BY_NAME[name].kind == HISTOGRAM:
                families[name].add_metric(labels, *value)
            else:
                families[name].add_metric(labels, value)
        yield from families.values()
