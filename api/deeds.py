"""A job of a server while it is carried out, for its log and its traces."""

import logging
from collections import Counter
from collections.abc import Mapping
from time import perf_counter, time

from api.logs import tell
from api.spans import Spans
from indexer.events import Advanced, Committed, Event, Opened, SetAside, Warned

LOG = logging.getLogger("reelseek.jobs")


class Deeds:
    """Watches a run; media are told one by one, in the words of the run."""

    def __init__(self, job: str, spans: Spans | None = None) -> None:
        self.job = job
        self._began = perf_counter()
        self._span = spans.job(job) if spans else None
        self._open: dict[str, tuple[float, Counter[str]]] = {}  # by path: since when, seconds by stage
        tell(LOG, logging.INFO, "job", job=job, state="running")

    def __call__(self, event: Event) -> None:
        match event:
            case Opened():
                self._open[event.path] = time(), Counter()
            case Advanced() if event.path in self._open:
                self._open[event.path][1].update(event.stage_seconds)
            case Committed():
                self._ended(event.path, event.key)
            case SetAside():
                self._ended(event.path, "", event.reason)
            case Warned():
                tell(LOG, logging.WARNING, "job", job=self.job, warning=event.message)

    def _ended(self, path: str, key: str, reason: str = "") -> None:
        now = time()
        began, stages = self._open.pop(path, (now, Counter()))
        seconds = {name: round(took, 3) for name, took in stages.items()}
        level = logging.WARNING if reason else logging.INFO
        told = {"job": self.job, "media": key, "reason": reason, "ms": round(1000 * (now - began)), "stages_s": seconds}
        tell(LOG, level, "media", **told)
        if self._span:
            self._span.media(key, began, now, seconds)

    def end(self, state: str, counts: Mapping[str, float], error: str) -> None:
        """`state` is what became of it: done, failed, paused, cancelled, or queued if it was handed back."""
        level = logging.WARNING if state == "failed" else logging.INFO
        ms = round(1000 * (perf_counter() - self._began))
        tell(LOG, level, "job", job=self.job, state=state, ms=ms, counts=dict(counts), reason=error)
        if self._span:
            self._span.end(state, counts)
