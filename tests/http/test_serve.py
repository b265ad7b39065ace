"""The command `serve`, as somebody at a terminal has it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from api.main import main

ROOT = Path(__file__).parents[2]
CHILD = """
import sys
from pathlib import Path
import pytest
from end_to_end.conftest import _in
from api.main import main
_in(Path(sys.argv[1]), pytest.MonkeyPatch())
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]"])
def test_it_says_where_it_is_answers_and_ends(folder: Path, host: str) -> None:
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    words = ["serve", "--host", host, "--port", "0", "--json"]
    command = [sys.executable, "-c", CHILD, str(folder), *words]
    with subprocess.Popen(command, env=paths, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert server.stderr
        told = "".join(iter(lambda: server.stdout.readline(), "}\n")) + "}"
        url = json.loads(told)["url"]
        assert url in server.stderr.readline()
        for _ in range(200):
            try:
                assert httpx.get(f"{url}/readyz").json()["status"] == "ready"
                break
            except httpx.TransportError:
                pass
        assert httpx.get(f"{url}/").headers["content-type"].startswith("text/html")
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
        assert "Traceback" not in server.stderr.read()


def test_a_port_that_is_taken_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"reelseek: --host 127\.0\.0\.1, --port \d+: .* in use: .*--port 0 takes one that is free", line
    )
