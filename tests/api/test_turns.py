"""Those who wait, and those who are turned away; tokens of pages; names of what is sent."""

import asyncio
import io
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("fastapi", reason="fastapi: the extra serve is not installed")

from api import paging
from api.problems import Problem
from api.turns import Busy, Turns
from api.uploads import Uploads, plain_name
from retriever.errors import OverLimit, QueryError


def test_so_many_work_so_many_wait_and_the_rest_are_turned_away() -> None:
    async def ask() -> list[object]:
        turns, gate = Turns("asking", 2, 3), threading.Event()
        asked = [asyncio.create_task(turns.take(gate.wait, 10)) for _ in range(8)]
        await asyncio.sleep(0.05)
        assert turns.depth == 5
        gate.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert turns.depth == 0
        assert await turns.take(lambda: "next") == "next"
        turns.close()
        return answers

    answers = asyncio.run(ask())
    assert answers.count(True) == 5
    assert sum(isinstance(one, Busy) for one in answers) == 3


def test_nobody_waits_longer_than_is_bearable() -> None:
    """By how long work took of late: where two are at work for a second each, the third in line would begin after one
    and a half."""
    clock = [0.0]

    def work() -> None:
        clock[0] += 1.0

    async def ask() -> tuple[int, int]:
        turns, gate = Turns("asking", 2, 100, 1.0, lambda: clock[0]), threading.Event()
        await turns.take(work)
        asked = [asyncio.create_task(turns.take(gate.wait, 10)) for _ in range(9)]
        await asyncio.sleep(0.05)
        depth = turns.depth
        gate.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        turns.close()
        return depth, sum(isinstance(one, Busy) for one in answers)

    assert asyncio.run(ask()) == (4, 5)


def test_a_place_is_free_again_whatever_became_of_it() -> None:
    def fail() -> None:
        raise ValueError("no")

    async def ask() -> int:
        turns, gate = Turns("asking", 1, 1), threading.Event()
        with pytest.raises(ValueError, match="no"):
            await turns.take(fail)
        gone = asyncio.create_task(turns.take(gate.wait, 10))
        waits = asyncio.create_task(turns.take(gate.wait, 10))
        await asyncio.sleep(0.02)
        waits.cancel()  # whoever asked has gone
        await asyncio.sleep(0.02)
        gate.set()
        await gone
        depth = turns.depth
        turns.close()
        return depth

    assert asyncio.run(ask()) == 0


@given(st.text(), st.integers(0, 10**9), st.recursive(st.text() | st.integers(), st.lists, max_leaves=5))
def test_a_token_is_of_its_question_and_its_library(generation: str, first: int, asked: object) -> None:
    token = paging.token(generation, asked, first)
    assert paging.first(token, generation, asked) == first
    with pytest.raises(Problem, match="has changed"):
        paging.first(token, generation + "x", asked)
    with pytest.raises(Problem, match="another question"):
        paging.first(token, generation, [asked])


@given(st.text())
def test_what_is_no_token_is_a_problem(text: str) -> None:
    with pytest.raises(Problem):
        paging.first(text, "g", {})


@given(st.text())
def test_a_name_is_one_of_a_file_here(name: str) -> None:
    made = plain_name(name)
    assert made
    assert Path(made).name == made
    assert len(made) <= 100
    assert not made.startswith(".")
    assert not set(made) & set("/\\<>&\"'\0\n")


def test_a_file_to_ask_with_goes_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads, clock = Uploads(tmp_path, largest=10), [100.0]
    monkeypatch.setattr("api.uploads.monotonic", lambda: clock[0])
    first = uploads.example("image", "a.png", io.BytesIO(b"picture"))
    name = first.term.partition(":")[2]
    assert uploads.file_of(name).read_bytes() == b"picture"
    clock[0] += 3_601
    with pytest.raises(QueryError, match="within the last hour"):
        uploads.file_of(name)
    uploads.example("image", "b.png", io.BytesIO(b"other"))
    assert not first.path.exists()
    monkeypatch.setattr("api.uploads.MOST_ASKED", 2)
    kept = [uploads.example("image", "c.png", io.BytesIO(b"c")) for _ in range(4)]
    assert [one.path.exists() for one in kept] == [False, False, True, True]


def test_a_media_that_is_too_large_leaves_nothing(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, largest=10)
    place = uploads.place("a.mp4")
    uploads.keep(place, io.BytesIO(b"x" * 10))
    assert place.read_bytes() == b"x" * 10
    with pytest.raises(OverLimit, match=r"more than 10 bytes"):
        uploads.keep(uploads.place("a.mp4"), io.BytesIO(b"x" * 11))
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
