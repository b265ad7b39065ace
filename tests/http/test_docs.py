"""docs/http.md: it names all that is served, and each of its examples does what it says."""

import re
import shlex
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import clips
import httpx
import pytest
from servers import web
from serving import Served, serving

from api import Library
from retriever.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text("utf-8")
HERE = "http://127.0.0.1:8000"
CURL = re.compile(r"^curl (?:.*\\\n)*.*$", re.MULTILINE)
"""One command, with the lines that it goes on in."""
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_all_that_is_served_is_told(shared: Served) -> None:
    paths = shared.client.get("/openapi.json").json()["paths"]
    assert [path for path in paths if path not in PAGE] == []


@pytest.fixture
def own(folder: Path) -> Iterator[Served]:
    """As ever, but that it fetches what this machine serves."""
    with Library.open("lib") as library:
        library.index([folder / "clips"], jobs=1)
    settings = Settings(roots=str(folder / "clips"), allow_urls="yes", allow_networks="127.0.0.1")
    with serving(partial(Library.open, folder / "lib"), settings) as served:
        yield served


@pytest.fixture
def known(own: Served, folder: Path) -> Iterator[dict[str, str]]:
    """What an example names, and the files that it sends."""
    shutil.copy("red.png", "lion.jpg") if Path("red.png").is_file() else clips.picture(folder / "lion.jpg", "red")
    clips.film(folder / "holiday.mp4", ["yellow", "green"])
    found = own.found("something red", limit=2)
    first = found["moments"][0]
    (job, *_) = own.client.get("/v1/jobs").json()["jobs"]
    films = own.client.get("/v1/media", params={"path": "first"}).json()["media"]
    names = {"PAGE": found["next_page"], "REF": first["ref"], "ID": films[0]["id"], "JOB": job["id"], "KEY": "rs_a_b"}
    hook = own.client.post("/v1/webhooks", json={"url": "https://example.org/hooks/reelseek"}).json()
    names["HOOK"] = hook["webhook"]["id"]
    with web(files={"/holiday.mp4": Path("holiday.mp4").read_bytes()}) as shelf:
        yield names | {"/srv/clips": str(folder / "clips"), "https://cdn.example.org": shelf.url}


def sent(client: httpx.Client, command: str, known: dict[str, str]) -> httpx.Response:
    """What curl would send: the few of its options that the page has."""
    for name, value in known.items():
        command = command.replace(f"'${name}'" if name.isupper() else name, value).replace(f"${name}", value)
    words = iter(shlex.split(command.replace("\\\n", " "), comments=True)[1:])
    url, method, out, headers = "", "", "", {}
    body: dict[str, Any] = {}
    fields: dict[str, list[str]] = {}
    for word in words:
        if word in ("-s", "-sN"):
            continue
        if not word.startswith("-"):
            url = word
            continue
        value = next(words)
        if word == "-H":
            name, _, value = value.partition(": ")
            headers[name] = value
        elif word == "-d":
            body["content"] = value.encode()
        elif word == "-F":
            name, _, value = value.partition("=")
            if value.startswith("@"):
                body["files"] = {name: (value[1:], Path(value[1:]).read_bytes())}
            else:
                fields.setdefault(name, []).append(value)
                body["data"] = fields
        elif word == "-r":
            headers["Range"] = f"bytes={value}"
        else:
            method, out = (value, out) if word == "-X" else (method, value)
            assert word in ("-X", "-o"), command
    assert url.startswith(HERE), command
    answer = client.request(method or ("POST" if body else "GET"), url.removeprefix(HERE), headers=headers, **body)
    assert not out or answer.content
    return answer


def test_every_command_is_answered(own: Served, known: dict[str, str]) -> None:
    commands = CURL.findall(PAGE)
    assert len(commands) > 20
    # Those that change nothing first: pages are of the library as it was.
    for command in sorted(commands, key=lambda one: any(word in one for word in ("PATCH", "file=@", "paths", "url"))):
        wanted = re.search(r"# (4\d\d)$", command)
        answer = sent(own.client, command, known)
        if wanted:
            assert answer.status_code == int(wanted[1]), (command, answer.text)
        else:
            assert answer.is_success, (command, answer.text)


@pytest.mark.parametrize("number", range(len(PYTHON.findall(PAGE))))
def test_every_program_runs(
    own: Served, known: dict[str, str], number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    program = PYTHON.findall(PAGE)[number]
    assert HERE in program
    exec(compile(program.replace(HERE, own.url), "docs/http.md", "exec"), {})
    if "upload" in program:
        told = capsys.readouterr().out
        assert "done 1\n" in told
        assert "422 4 the query cannot be read at character 5" in told
