"""Traces of requests and jobs, for whoever wants them: what `api.telemetry` offers where the environment asks for it.

They are wanted where OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_TRACES_EXPORTER is set,
and OTEL_SDK_DISABLED is not `true` (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

from collections.abc import Mapping
from typing import Any, Protocol

from api.trails import Trail
from retriever.errors import BadSettings, MissingExtra

ASKED = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN = "http/protobuf"


class Span(Protocol):
    """A request on its way."""

    @property
    def trace(self) -> str:
        """In hex; empty: nobody keeps it."""

    def end(self, route: str, status: int, trail: Trail) -> None: ...


class JobSpan(Protocol):
    """A job that is worked on."""

    def media(self, key: str, began: float, ended: float, stages: Mapping[str, float]) -> None:
        """A media of it, from and to seconds of the epoch, with seconds by stage; no key: it was set aside."""

    def end(self, state: str, counts: Mapping[str, float]) -> None: ...


class Spans(Protocol):
    """Where traces go.  Nothing here raises, and nothing waits for a network."""

    def begin(self, method: str, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> Span: ...

    def job(self, id: str) -> JobSpan: ...

    def close(self) -> None:
        """Send what is left, if it can be sent."""


def wanted(environ: Mapping[str, str]) -> Spans | None:
    """
    Raises:
        BadSettings: the environment asks for what is not spoken here.
        MissingExtra: it asks for traces, and they cannot be sent.
    """
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none"
    if off or not any(environ.get(name, "").strip() for name in ASKED):
        return None
    if exporter not in ("", "otlp"):
        raise BadSettings(f"OTEL_TRACES_EXPORTER is {exporter!r}; here it wants otlp, or none")
    protocol = next((name for name in PROTOCOLS if environ.get(name, "").strip()), "")
    if protocol and environ[protocol].strip() != SPOKEN:
        raise BadSettings(f"{protocol} is {environ[protocol]!r}; here it wants {SPOKEN}")
    try:
        from api import telemetry
    except ModuleNotFoundError as error:
        raise MissingExtra(f"traces need {error.name}: pip install 'reelseek[telemetry]', or unset OTEL_…") from error
    return telemetry.build(environ)
