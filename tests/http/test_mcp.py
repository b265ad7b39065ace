"""Tools for language models, driven by the client of the protocol's own library: over stdio, and in this process."""

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from serving import Served

pytest.importorskip("mcp", reason="mcp: the extra mcp is not installed")

from mcp import Client, StdioServerParameters, stdio_client

from api import Library, mcp
from api.client import ReelseekClient
from api.local import Local
from api.main import main
from retriever.types import Metadata

ROOT = Path(__file__).parents[2]
TOOLS = {"search", "similar", "media", "transcript", "jobs"}


@asynccontextmanager
async def process(*words: str) -> AsyncIterator[Client]:
    """`reelseek mcp …` in a process of its own, spoken to over its standard input and output."""
    command = StdioServerParameters(
        command=sys.executable, args=["-W", "error", "-m", "api.main", "mcp", *words], cwd=ROOT
    )
    async with Client(stdio_client(command)) as client:
        yield client


async def tell(client: Client, tool: str, **asked: Any) -> dict[str, Any]:
    """What a tool answers; that of a model is the same as that of a program."""
    answer = await client.call_tool(tool, asked)
    assert not answer.is_error, answer.content
    (text,) = answer.content
    assert text.type == "text"
    document: dict[str, Any] = json.loads(text.text)
    assert answer.structured_content == document
    return document


async def complaint(client: Client, tool: str, **asked: Any) -> str:
    answer = await client.call_tool(tool, asked)
    assert answer.is_error
    text = answer.content[0]
    assert text.type == "text"
    return text.text


async def looks(client: Client) -> None:
    """All that the tools do, over the library that tests share."""
    told = (await client.list_tools()).tools
    assert {tool.name for tool in told} == TOOLS
    assert all(tool.description and tool.annotations and tool.annotations.read_only_hint for tool in told)
    assert client.instructions is not None
    found = await tell(client, "search", query="blue", min_confidence=0, limit=2)
    assert found["understood"] == "blue"
    assert len(found["moments"]) == 2
    first = found["moments"][0]
    assert Path(first["path"]).name == "first.mp4"
    assert (first["start_s"], first["kind"]) == (2.0, "video")
    assert first["ref"].partition("@")[2] == "2.00-4.00"
    assert 0 <= first["confidence"] <= 1
    assert "seen (" in first["why"]
    assert any("blue" in line for line in first["lines"])
    nothing = await tell(client, "search", query="blue", filters={"duration": ["<0.1"]})
    assert nothing["moments"] == nothing["nearest"] == []
    alike = await tell(client, "similar", ref=first["ref"], min_confidence=0, limit=3)
    assert first["ref"] not in [one["ref"] for one in alike["moments"]]
    listed = await tell(client, "media", limit=2)
    assert (len(listed["media"]), listed["total"]) == (2, 3)
    rest = await tell(client, "media", limit=2, page=listed["next_page"])
    assert rest["next_page"] is None
    assert len({one["id"] for one in listed["media"] + rest["media"]}) == 3
    assert [one["kind"] for one in (await tell(client, "media", kinds=["sound"]))["media"]] == ["sound"]
    lines = (await tell(client, "transcript", media=first["ref"]))["lines"]
    assert [(line["how"], line["start_s"]) for line in lines] == sorted(
        (line["how"], line["start_s"]) for line in lines
    )
    assert {"red", "blue"} <= {word for line in lines for word in line["text"].split()}
    later = (await tell(client, "transcript", media=first["ref"], start_s=2.5))["lines"]
    assert later
    assert later == [line for line in lines if line["end_s"] > 2.5]
    (job,) = (await tell(client, "jobs"))["jobs"]
    assert (job["state"], job["counts"]["indexed"]) == ("done", 3)
    assert "at character 5" in await complaint(client, "search", query="red THEN")
    assert "less than or equal to 50" in await complaint(client, "search", query="red", limit=51)
    assert "duration is 'soon'" in await complaint(client, "search", query="red", filters={"duration": ["soon"]})
    assert "beef" in await complaint(client, "transcript", media="beef@0-1")
    assert "file" in await complaint(client, "search", query="image:red.png")


def run(work: Callable[[], Awaitable[None]]) -> None:
    anyio.run(work)


def test_a_served_library_is_told_over_stdio(shared: Served) -> None:
    async def work() -> None:
        async with process("--url", shared.url) as client:
            await looks(client)

    run(work)


def test_a_library_of_this_machine_is_told_alike(shared: Served) -> None:
    async def work() -> None:
        with Library.open("lib") as library:
            async with Client(mcp.build(Local(library))) as client:
                await looks(client)

    run(work)


def test_a_served_library_and_its_folder_tell_the_same(shared: Served) -> None:
    with Library.open("lib") as library, ReelseekClient(shared.url) as client:
        for query in ("blue", "red THEN blue", "heard:tone", 'written:"blue"'):
            told = [
                mcp.Tools(one).search(query, min_confidence=0, limit=10).model_dump(mode="json")
                for one in (Local(library), client)
            ]
            assert told[0] == told[1]
            assert told[0]["moments"]


def test_a_library_without_media_is_told_over_stdio(tmp_path: Path) -> None:
    """Of a folder, with nothing served: nothing but the protocol goes to standard output."""
    Library.open(tmp_path / "lib").close()

    async def work() -> None:
        async with process("--library", str(tmp_path / "lib")) as client:
            found = await tell(client, "search", query="a parrot")
            assert found["moments"] == found["nearest"] == []
            assert (await tell(client, "media"))["total"] == 0

    run(work)


def test_nothing_that_is_not_asked_for_is_told(own: Served) -> None:
    """A film with a thousand lines is read in parts."""
    with Library.open("lib") as library:
        library.store.set_metadata({library.media()[0].key: Metadata(title="t" * 1000)})

        class Long(Local):
            def written(self, id: str) -> str:
                return "WEBVTT\n\n" + "\n".join(
                    f"00:{second // 60:02d}:{second % 60:02d}.000 --> 01:00:00.000\nline &lt;{second}&gt;\n"
                    for second in range(500)
                )

        tools = mcp.Tools(Long(library))
        id = library.media()[0].key
        first = tools.transcript(id)
        assert [line.text for line in first.lines[:2]] == ["line <0>", "line <1>"]
        assert (len(first.lines), first.next_start_s) == (mcp.LINES_TOLD, mcp.LINES_TOLD)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--url", "nowhere"], "url is 'nowhere'; it wants http://HOST:PORT"),
        (["--url", "http://127.0.0.1:1", "--library", "lib"], "leave one out"),
        (["--library", "nothing"], "nothing"),
    ],
)
def test_what_cannot_be_told_is_complained_of(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["mcp", *words]) in (1, 2)
    told = capsys.readouterr()
    assert complaint in told.err
    assert told.out == ""


def test_what_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "api.mcp")
    monkeypatch.delattr("api.mcp")
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    assert main(["mcp", "--library", str(tmp_path)]) == 1
    assert "pip install 'reelseek[mcp]'" in capsys.readouterr().err
