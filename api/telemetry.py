"""OpenTelemetry traces, sent by OTLP over HTTP; the environment alone says where to, how often and how many.

    POST /v1/search                    the request; a child of the caller's `traceparent` where there is one
    ├─ wait · calibrate · encode · first · rerank · moments      as `api.stages` has them
    index                              a job
└─ media                           one that came to its end, with seconds by stage

This file is imported only where the environment asks for traces.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import requests
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode

from api.logs import tell
from api.trails import Passed, Trail

LOG = logging.getLogger("reelseek.telemetry")
PATIENCE_S = 3.0
"""That a server which ends gives to what is left to be sent; the SDK would give 30."""
SECOND = 1_000_000_000
KEEPER = "_CREDENTIAL_PROVIDER"
"""What variables end with that have the SDK make the line to a collector, with secrets that it knows of."""


def build(environ: Mapping[str, str]) -> "Traces":
    named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    silent = logging.getLogger("opentelemetry")  # it tells of each try, with a traceback; `_Sent` tells once
    silent.handlers[:], silent.propagate = [logging.NullHandler()], False
    provider = TracerProvider(
        resource=Resource.create({} if named else {"service.name": "reelseek"}), shutdown_on_exit=False
    )
    line = _Line()
    own = any(name.endswith(KEEPER) for name in environ)
    sent = _Sent(OTLPSpanExporter(session=None if own else line), line)
    provider.add_span_processor(BatchSpanProcessor(sent))
    return Traces(provider)


class Traces:
    """As `api.spans.Spans`."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("reelseek")

    def begin(self, method: str, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> "Request":
        carried = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
        about = {"http.request.method": method, "url.scheme": str(scope.get("scheme", "http"))}
        about |= {"client.address": str((scope.get("client") or ("",))[0])}
        span = self._tracer.start_span(method, propagate.extract(carried), SpanKind.SERVER, about)
        return Request(self._tracer, span)

    def job(self, id: str) -> "Job":
        return Job(self._tracer, self._tracer.start_span("index", attributes={"reelseek.job": id}))

    def close(self) -> None:
        ending = Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(PATIENCE_S)


class Request:
    """As `api.spans.Span`."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer, self._span = tracer, span

    @property
    def trace(self) -> str:
        context = self._span.get_span_context()
        return trace.format_trace_id(context.trace_id) if context.trace_flags.sampled else ""

    def end(self, route: str, status: int, trail: Trail) -> None:
        span = self._span
        if span.is_recording():
            within = trace.set_span_in_context(span)
            for one in _apart(trail.passed):
                self._tracer.start_span(one.name, within, start_time=one.began).end(one.ended)
            method = str(getattr(span, "name", ""))
            span.update_name(f"{method} {route}".strip())
            span.set_attribute("http.route", route)
            span.set_attribute("http.response.status_code", status)
            span.set_attribute("reelseek.request", trail.id)
            for name, value in (("key", trail.key), ("collection", trail.collection)):
                if value:
                    span.set_attribute(f"reelseek.{name}", value)
            _judged(span, status < 500)
        span.end()


class Job:
    """As `api.spans.JobSpan`."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer, self._span = tracer, span

    def media(self, key: str, began: float, ended: float, stages: Mapping[str, float]) -> None:
        about: dict[str, str | float] = {f"reelseek.{name}_s": seconds for name, seconds in stages.items()}
        about["reelseek.media"] = key
        within = trace.set_span_in_context(self._span)
        span = self._tracer.start_span("media", within, attributes=about, start_time=int(began * SECOND))
        _judged(span, bool(key))
        span.end(int(ended * SECOND))

    def end(self, state: str, counts: Mapping[str, float]) -> None:
        for name, number in counts.items():
            self._span.set_attribute(f"reelseek.{name}", number)
        self._span.set_attribute("reelseek.state", state)
        _judged(self._span, state != "failed")
        self._span.end()


def _judged(span: trace.Span, well: bool) -> None:
    if not well:
        span.set_status(Status(StatusCode.ERROR))


def _apart(passed: Sequence[Passed]) -> list[Passed]:
    """Stages beside one another: one that has others in it is what came behind the last of them."""
    found: list[Passed] = []
    for one in passed:
        inside = [other.ended for other in found if other.began >= one.began and other.ended <= one.ended]
        found.append(Passed(one.name, max([one.began, *inside]), one.ended))
    return found


class _Line(requests.Session):
    """The line to a collector, which knows what came of it last: the exporter tells nobody but its log."""

    went_wrong = "whoever OTEL_… names does not take them"

    def send(self, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        split = urlsplit(request.url or "")
        shown = f"{split.scheme}://{split.netloc.rpartition('@')[2]}{split.path}"  # no name, no password
        try:
            answer = super().send(request, **how)
        except Exception as error:
            self.went_wrong = f"{shown}: {_why(error)}"
            raise
        self.went_wrong = _Line.went_wrong if answer.ok else f"{shown} answers {answer.status_code}"
        return answer


def _why(error: BaseException) -> str:
    """What the system said, below all that libraries make of it."""
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


class _Sent(SpanExporter):
    """Sends, and says once that it could not, and once that it can again."""

    def __init__(self, exporter: SpanExporter, line: _Line) -> None:
        self._exporter, self._line = exporter, line
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            done = self._exporter.export(spans)
        except Exception:  # noqa: BLE001 - whatever a library makes of a network: who asks must not notice
            done = SpanExportResult.FAILURE
        fails = done is not SpanExportResult.SUCCESS
        if fails != self._fails:
            self._fails = fails
            if fails:
                tell(LOG, logging.WARNING, "traces", state="lost", reason=self._line.went_wrong)
            else:
                tell(LOG, logging.INFO, "traces", state="taken again")
        return done

    def shutdown(self) -> None:
        with suppress(Exception):
            self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
