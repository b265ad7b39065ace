"""Traces of a served library, sent to a collector of the test; and that nobody notices where there is none."""

import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import clips
import httpx
import pytest
from collectors import collecting
from serving import CHILD, serving, until

from api import Library, spans
from api.main import main
from retriever.errors import BadSettings
from retriever.settings import Settings

ROOT = Path(__file__).parents[2]
OUTER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def asks(url: str, **more: str) -> dict[str, str]:
    """An environment that asks for traces, soon."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "50", **more}


@pytest.fixture
def folder_served(folder: Path) -> Path:
    with Library.open("lib") as library:
        library.index([folder / "clips"], jobs=1)
    return folder


def test_a_request_and_its_stages_are_one_trace(folder_served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        for name, value in asks(collector.url, OTEL_EXPORTER_OTLP_HEADERS="x-team=clips").items():
            monkeypatch.setenv(name, value)
        opened = partial(Library.open, folder_served / "lib")
        with serving(opened, Settings(), spans.wanted(os.environ)) as served:
            body = {"query": "red", "min_confidence": 0}
            number = served.client.post("/v1/search", json=body, headers={"traceparent": OUTER}).headers["x-request-id"]
            until(lambda: collector.named("POST /v1/search"))
            (request,) = collector.named("POST /v1/search")
            assert (request.trace, request.parent) == (OUTER.split("-")[1], OUTER.split("-")[2])
            assert request.about["http.response.status_code"] == 200
            assert request.about["reelseek.request"] == number
            below = [span for span in collector.spans if span.parent == request.id]
            assert {span.name for span in below} >= {"wait", "encode", "first", "rerank", "moments"}
            assert {span.trace for span in below} == {request.trace}
            for span in below:
                assert request.began <= span.began <= span.ended <= request.ended
            own = served.client.get("/v1/nothing?secret=1")
            until(lambda: collector.named("GET"))
            (lost,) = collector.named("GET")
            assert (lost.parent, own.status_code) == ("", 404)
            assert "secret" not in str(collector.spans)
    assert collector.services == {"reelseek"}
    assert collector.asked[0]["x-team"] == "clips"


def test_who_is_not_traced_is_not_traced(folder_served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller has said so, and a wrong header says nothing."""
    with collecting() as collector:
        for name, value in asks(collector.url, OTEL_SERVICE_NAME="films").items():
            monkeypatch.setenv(name, value)
        opened = partial(Library.open, folder_served / "lib")
        with serving(opened, Settings(), spans.wanted(os.environ)) as served:
            served.client.get("/v1/jobs", headers={"traceparent": OUTER[:-1] + "0"})
            served.client.get("/v1/library", headers={"traceparent": "00-nonsense-01"})
            until(lambda: collector.named("GET /v1/library"))
    assert collector.named("GET /v1/jobs") == []
    assert collector.named("GET /v1/library")[0].parent == ""
    assert collector.services == {"films"}


def test_a_job_and_its_media_are_one_trace(folder_served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips.film(folder_served / "clips" / "third.mp4", ["yellow"])
    with collecting() as collector:
        for name, value in asks(collector.url).items():
            monkeypatch.setenv(name, value)
        settings = Settings(roots=str(folder_served / "clips"))
        with serving(partial(Library.open, folder_served / "lib"), settings, spans.wanted(os.environ)) as served:
            job = served.client.post("/v1/jobs", json={"paths": [str(folder_served / "clips")]}).json()["job"]["id"]
            served.over(job)
            until(lambda: collector.named("index"))
            (run,), (media,) = collector.named("index"), collector.named("media")
            assert (run.about["reelseek.job"], run.about["reelseek.state"]) == (job, "done")
            assert (media.parent, media.trace) == (run.id, run.trace)
            assert media.about["reelseek.decode_s"] >= 0


@pytest.mark.parametrize(
    ("way", "reason"), [("away", ": Connection refused"), ("refusing", " answers 400"), ("silent", ": timed out")]
)
def test_a_collector_that_does_not_answer_is_one_line(
    folder_served: Path, monkeypatch: pytest.MonkeyPatch, way: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with collecting() as collector, socket.create_server(("127.0.0.1", 0)) as taken:
        url = collector.url if way == "refusing" else f"http://127.0.0.1:{taken.getsockname()[1]}"
        if way == "away":
            taken.close()
        collector.fails = True
        secret = url.replace("//", "//me:secret@")
        for name, value in asks(secret, OTEL_EXPORTER_OTLP_TIMEOUT="1").items():
            monkeypatch.setenv(name, value)
        with serving(partial(Library.open, folder_served / "lib"), Settings(), spans.wanted(os.environ)) as served:
            for _ in range(3):
                assert served.search("red").status_code == 200
                time.sleep(0.2)
            until(lambda: "'state': 'lost'" in caplog.text)
            assert served.search("red").status_code == 200
    told = [record.getMessage() for record in caplog.records]
    (line,) = [line for line in told if "traces" in line]
    assert f"{url}/v1/traces{reason}" in line
    assert "secret" not in line
    assert not any("opentelemetry" in record.name for record in caplog.records)


def test_only_the_environment_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spans.wanted({}) is None
    assert spans.wanted({"OTEL_SERVICE_NAME": "x"}) is None
    assert spans.wanted(asks("http://127.0.0.1:1", OTEL_SDK_DISABLED="true")) is None
    assert spans.wanted(asks("http://127.0.0.1:1", OTEL_TRACES_EXPORTER="none")) is None
    with pytest.raises(BadSettings, match="OTEL_TRACES_EXPORTER is 'zipkin'; here it wants otlp, or none"):
        spans.wanted({"OTEL_TRACES_EXPORTER": "zipkin"})
    with pytest.raises(BadSettings, match="OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'; here it wants http/protobuf"):
        spans.wanted(asks("http://127.0.0.1:1", OTEL_EXPORTER_OTLP_PROTOCOL="grpc"))


def test_without_the_extra_it_says_what_is_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.delitem(sys.modules, "api.telemetry", raising=False)
    monkeypatch.delattr("api.telemetry", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    assert main(["serve", "--create", "--port", "0"]) == 1
    assert "pip install 'reelseek[telemetry]'" in capsys.readouterr().err


def test_what_nobody_asked_for_is_not_imported(folder: Path) -> None:
    program = CHILD.replace(
        "sys.exit(main(sys.argv[2:]))",
        """
code = main(sys.argv[2:])
heavy = ("opentelemetry.sdk", "opentelemetry.exporter", "api.telemetry")
print([name for name in sys.modules if name.startswith(heavy)])
sys.exit(code)
""",
    )
    paths = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    paths["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    command = [sys.executable, "-c", program, str(folder), "serve", "--create", "--port", "0", "--log", "json"]
    with subprocess.Popen(command, env=paths, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        assert server.stdout
        assert "ready" in server.stderr.readline() + server.stderr.readline()
        server.send_signal(signal.SIGINT)
        assert server.stdout.read().strip() == "[]"
        server.wait(60)


def test_a_command_sends_them(folder: Path) -> None:
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, "-c", CHILD, str(folder), "serve", "--create", "--port", "0", "--log", "json"]
    with collecting() as collector:
        with subprocess.Popen(command, env=paths | asks(collector.url), stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr
            url = server.stderr.readline().split('"url": "')[1].split('"')[0]
            assert "ready" in server.stderr.readline()
            assert httpx.get(f"{url}/v1/jobs", timeout=60).is_success
            line = server.stderr.readline()
            server.send_signal(signal.SIGTERM)
            server.wait(60)
        (request,) = collector.named("GET /v1/jobs")  # also what was not sent when it ended
    assert f'"trace": "{request.trace}"' in line
