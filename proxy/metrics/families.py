"""Families of samples as prometheus-client has them, made from a metric of the catalogue and its rows."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import CollectorRegistry

from proxy.metrics.catalogue import Metric
from proxy.metrics.cells import BOUNDS

_LE: Final[tuple[str, ...]] = (*map(str, BOUNDS), "+Inf")  # as Go and prometheus-client write them

Row = tuple[Sequence[str], float]  # values of the labels, value


class Collected(CollectorRegistry):
    """Families that were collected already, in the form that the encoders take."""

    def __init__(self, families: list[Family]) -> None:
        super().__init__(auto_describe=False)
        self._families = families

    def collect(self) -> Iterable[Family]:
        """Give them."""
        return self._families


async def render(families: list[Family], accept: str) -> tuple[bytes, str]:
    """Write text or OpenMetrics, as ``accept`` asks, in a thread; gives the body and its content type."""
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number
        encode, content_type = choose_encoder("")
    return await asyncio.to_thread(encode, Collected(families)), content_type


def counter(metric: Metric, rows: Iterable[Row]) -> Family:
    """Make the family of a counter."""
    family = CounterMetricFamily(metric.name, metric.text, labels=metric.labels)
    for labels, value in rows:
        family.add_metric(labels, value)
    return family


def gauge(metric: Metric, rows: Iterable[Row]) -> Family:
    """Make the family of a gauge."""
    family = GaugeMetricFamily(metric.name, metric.text, labels=metric.labels)
    for labels, value in rows:
        family.add_metric(labels, value)
    return family


def histogram(metric: Metric, rows: Iterable[tuple[Sequence[str], list[int], float]]) -> Family:
    """Make the family of a histogram: counts by bucket, and the sum."""
    family = HistogramMetricFamily(metric.name, metric.text, labels=metric.labels)
    for labels, counts, total in rows:
        below = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip(_LE, counts, strict=True):
            below += count
            buckets.append((bound, below))
        family.add_metric(labels, buckets, total)
    return family
