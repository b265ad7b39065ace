"""The command `serve`, as somebody at a terminal has it."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from functools import partial
from itertools import islice
from pathlib import Path

import httpx
import pytest
from serving import CHILD

from api import Library, app
from api.main import main
from retriever.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]"])
def test_it_says_where_it_is_answers_and_ends(folder: Path, host: str) -> None:
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    words = ["serve", "--create", "--host", host, "--port", "0", "--json"]
    command = [sys.executable, "-c", CHILD, str(folder), *words]
    with subprocess.Popen(command, env=paths, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert server.stderr
        told = "".join(islice(server.stdout, 4))
        url = json.loads(told)["url"]
        assert url in server.stderr.readline()
        for _ in range(200):
            try:
                assert httpx.get(f"{url}/readyz", timeout=60).json()["status"] == "ready"
                break
            except httpx.TransportError:
                pass
        assert httpx.get(f"{url}/", timeout=60).headers["content-type"].startswith("text/html")
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
        assert "Traceback" not in server.stderr.read()


def test_whoever_serves_is_called_when_all_is_ready(folder: Path) -> None:
    called: list[bool] = []
    made = app.build(partial(Library.open, "lib", create=True), Settings(), ready=lambda: called.append(is_ready()))

    def is_ready() -> bool:
        return bool(made.state.serving.ready)

    async def once() -> None:
        async with made.router.lifespan_context(made):
            assert called == [True]

    asyncio.run(once())


def test_a_port_that_is_taken_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--create", "--port", str(taken.getsockname()[1])]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"reelseek: --host 127\.0\.0\.1, --port \d+: .* in use: .*--port 0 takes one that is free", line
    )


def test_a_library_that_is_not_there_is_made_only_if_that_is_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--library", "typo", "--port", "0"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    made = "reelseek index FILES --library .* makes one, --create an empty one"
    assert re.fullmatch(rf"reelseek: there is no library at .*typo: {made}", line)
    assert main(["keys", "add", "me", "--library", "typo"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(rf"reelseek: there is no library at .*typo: {made}", line)
    assert not Path("typo").exists()
    assert main(["keys", "add", "me", "--library", "other", "--create"]) == 0
    assert Path("other").exists()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--library", "typo", "--create", "--port", str(taken.getsockname()[1])]) == 1
    assert Path("typo").exists()


@pytest.mark.parametrize("within", ["", "/below"])
def test_uploads_that_can_be_no_folder_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], within: str
) -> None:
    file = folder / "file"
    file.write_text("mine")
    with Library.open("lib"):
        pass
    assert main(["serve", "--library", "lib", "--port", "0", "--uploads", f"{file}{within}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"reelseek: what is sent is to be kept in {file}{within}, and {file} is no folder: name one with --uploads"
    )


def test_a_root_that_is_not_there_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--library", "new", "--create", "--port", "0", "--roots", f"{folder}/clips:clisp"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"reelseek: --roots names {folder}/clisp, which is not there: make the folder, or leave it out"
    assert not Path("new").exists()
