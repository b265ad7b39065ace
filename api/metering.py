"""Figures of a server, as Prometheus reads them."""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from retriever.recent import Recent

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Meters:
    """Of one server; several in a process do not add up."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter("reelseek_requests", "Requests that were answered", labels, registry=self._registry)
        self.seconds = Histogram(
            "reelseek_request_seconds", "Until the answer began", ("route",), registry=self._registry, buckets=BUCKETS
        )
        self.searches = Histogram(
            "reelseek_search_seconds", "Of one question, without waiting", registry=self._registry, buckets=BUCKETS
        )
        self.stages = Histogram(
            "reelseek_stage_seconds",
            "Of the stages of requests that ask",
            ("stage",),
            registry=self._registry,
            buckets=BUCKETS,
        )
        self.waiting = Gauge("reelseek_queue_depth", "At work or in line", ("queue",), registry=self._registry)
        self.held = Gauge("reelseek_library", "What the library holds", ("what",), registry=self._registry)
        self.indexes = Gauge(
            "reelseek_index",
            "Of the index of a space: rows it covers, rows there are, bytes, and what it found when it was built",
            ("space", "what"),
            registry=self._registry,
        )
        self.jobs = Gauge("reelseek_jobs", "Indexing jobs", ("state",), registry=self._registry)

    def remember(self, **caches: Recent[Any, Any]) -> None:
        """These are counted, too, by their names."""
        self._registry.register(_Caches(caches))

    def request(self, method: str, route: str, status: int, seconds: float, stages: Mapping[str, float]) -> None:
        """One that was answered, `seconds` after it came."""
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)
        for name, took in stages.items():
            self.stages.labels(name).observe(took)

    def index(self, space: str, **facts: float | None) -> None:
        """What is known of the index of a space; None: nobody does."""
        for what, value in facts.items():
            if value is not None:
                self.indexes.labels(space, what).set(value)

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Caches(Collector):
    """How often what was wanted was there; whoever remembers counts."""

    def __init__(self, caches: Mapping[str, Recent[Any, Any]]) -> None:
        self._caches = caches

    def collect(self) -> Iterator[Metric]:
        made = CounterMetricFamily(
            "reelseek_cache", "Looked for among what was asked of late", labels=("cache", "found")
        )
        for name, recent in self._caches.items():
            made.add_metric((name, "yes"), recent.hits)
            made.add_metric((name, "no"), recent.misses)
        yield made
