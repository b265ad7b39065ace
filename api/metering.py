"""Figures of a server, as Prometheus reads them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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
        self.waiting = Gauge("reelseek_queue_depth", "At work or in line", ("queue",), registry=self._registry)
        self.held = Gauge("reelseek_library", "What the library holds", ("what",), registry=self._registry)
        self.jobs = Gauge("reelseek_jobs", "Indexing jobs", ("state",), registry=self._registry)

    def text(self) -> bytes:
        return generate_latest(self._registry)
