"""Collections: what is in them, who sees them, and what goes with them."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import clips
import pytest
from serving import Served, problem, serving, strict

from api import Library, keys, wire
from retriever.types import Metadata


@pytest.fixture
def made(folder: Path) -> dict[str, str]:
    clips.film(folder / "theirs.mp4", ["green", "black"])
    with Library.open("lib") as library:
        library.index([folder / "clips"], metadata=Metadata(collection="ours/news"))
        library.index([folder / "theirs.mp4"])
        return {
            name: keys.make(library.store, name, scope, collection)[1]
            for name, scope, collection in (
                ("reader", "search", ""),
                ("boss", "admin", ""),
                ("tenant", "write", "ours/news"),
                ("stranger", "write", "others"),
            )
        }


@pytest.fixture
def kept(folder: Path, made: dict[str, str]) -> Iterator[Served]:
    with serving(partial(Library.open, folder / "lib")) as served:
        yield served


def asked(served: Served, key: str, path: str = "", method: str = "GET") -> Any:
    return served.client.request(method, f"/v1/collections{path}", headers={"authorization": f"Bearer {key}"})


def test_everybody_sees_their_own(kept: Served, made: dict[str, str]) -> None:
    document = asked(kept, made["reader"]).json()
    strict(wire.CollectionList, document)
    rest, news = document["collections"]
    assert (rest["name"], rest["media"]) == ("", 1)
    assert (news["name"], news["media"], news["kinds"]) == ("ours/news", 3, {"sound": 1, "video": 2})
    assert news["bytes"] > 0 < news["duration_s"]
    assert asked(kept, made["tenant"]).json()["collections"] == [news]
    assert asked(kept, made["stranger"]).json()["collections"] == []
    assert (
        asked(kept, made["reader"], "/ours/news").json() == asked(kept, made["tenant"], "/ours%2Fnews").json() == news
    )


def test_nobody_sees_or_takes_out_anothers(kept: Served, made: dict[str, str]) -> None:
    problem(asked(kept, made["stranger"], "/ours/news"), 403)
    problem(asked(kept, made["stranger"], "/ours/news", "DELETE"), 403)
    problem(asked(kept, made["reader"], "/ours/news", "DELETE"), 403)
    problem(asked(kept, made["boss"], "/nobodys", "DELETE"), 404)
    problem(asked(kept, made["boss"], "/", "DELETE"), 404)
    assert len(asked(kept, made["boss"]).json()["collections"]) == 2


def test_all_of_one_goes_and_nothing_else(kept: Served, made: dict[str, str], folder: Path) -> None:
    went = asked(kept, made["tenant"], "/ours/news?file=1", "DELETE")
    strict(wire.Deleted, went.json())
    assert len(went.json()["deleted"]) == 3
    assert all(Path(one["path"]).is_file() for one in went.json()["deleted"])  # they were not sent
    assert [one["name"] for one in asked(kept, made["boss"]).json()["collections"]] == [""]
    with Library.open("lib") as library:
        assert [Path(item.path).name for item in library.media()] == ["theirs.mp4"]


def sent(kept: Served, key: str, data: bytes) -> str:
    """The path of a file that was sent and looked at."""
    own = {"authorization": f"Bearer {key}"}
    job = kept.client.post("/v1/media", files={"file": ("sent.mp4", data)}, headers=own).json()["job"]
    with kept.client.stream("GET", f"/v1/jobs/{job['id']}/events", headers=own) as told:
        assert list(told.iter_lines())
    (path,) = job["request"]["paths"]
    return str(path)


def test_with_its_media_go_the_files_that_were_sent(kept: Served, made: dict[str, str], folder: Path) -> None:
    path = sent(kept, made["stranger"], clips.film(folder / "sent.mp4", ["yellow", "red"]).read_bytes())
    (gone,) = asked(kept, made["stranger"], "/others?file=1", "DELETE").json()["deleted"]
    assert gone["path"] == path
    assert not Path(gone["path"]).exists()


def test_with_it_go_the_files_that_were_left_before(kept: Served, made: dict[str, str], folder: Path) -> None:
    """Of media that went without their files, and those that could not be indexed; nobody else's."""
    senders, pairs = ("stranger", "stranger", "tenant"), (["yellow", "red"], ["green", "red"], ["blue", "red"])
    films = [clips.film(folder / f"{n}.mp4", pair).read_bytes() for n, pair in enumerate(pairs)]
    left, stays, others = (sent(kept, made[key], film) for key, film in zip(senders, films, strict=True))
    no_film = sent(kept, made["stranger"], b"x" * 100)
    own = {"authorization": f"Bearer {made['stranger']}"}
    listed = kept.client.get("/v1/media", headers=own).json()["media"]
    (id,) = (one["id"] for one in listed if one["path"] == left)
    assert kept.client.delete(f"/v1/media/{id}", headers=own).status_code == 200
    gone = asked(kept, made["stranger"], "/others?file=1", "DELETE").json()["deleted"]
    assert [one["path"] for one in gone] == [stays]
    assert [Path(path).exists() for path in (left, stays, no_film, others)] == [False, False, False, True]
    assert kept.client.get("/v1/quarantine", headers=own).json()["quarantined"] == []
    problem(asked(kept, made["stranger"], "/others?file=1", "DELETE"), 404)


def test_files_that_were_left_go_where_no_media_is(kept: Served, made: dict[str, str], folder: Path) -> None:
    path = sent(kept, made["stranger"], clips.film(folder / "sent.mp4", ["yellow", "red"]).read_bytes())
    assert asked(kept, made["stranger"], "/others", "DELETE").status_code == 200
    problem(asked(kept, made["stranger"], "/others", "DELETE"), 404)
    problem(asked(kept, made["tenant"], "/others?file=1", "DELETE"), 403)
    assert Path(path).is_file()
    (gone,) = asked(kept, made["boss"], "/others?file=1", "DELETE").json()["deleted"]
    assert (gone["path"], Path(path).exists()) == (path, False)
    assert gone["id"] == Path(path).parent.name
