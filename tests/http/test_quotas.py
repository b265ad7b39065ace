"""How much may be sent: counted by key and collection, by all servers of a library together."""

import json
import socket
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import clips
import httpx
import pytest
import qdrants
from postgres import Postgres
from servers import saying, web
from serving import Served, endless_jobs, problem, serving, strict, until

from api import Library, keys, quotas, wire
from api.main import main
from retriever.quotas import Quota, Whose
from retriever.settings import Settings
from retriever.stores.local import LocalStore

COLOURS = ["red", "green", "blue", "yellow"]


@pytest.fixture
def made(folder: Path) -> dict[str, str]:
    with Library.open("lib") as library:
        return {
            name: keys.make(library.store, name, scope, collection)[1]
            for name, scope, collection in (("writer", "write", ""), ("boss", "admin", ""), ("tenant", "write", "ours"))
        }


@pytest.fixture
def kept(folder: Path, made: dict[str, str]) -> Iterator[Served]:
    settings = Settings(allow_urls="yes", allow_networks="127.0.0.1")
    with serving(partial(Library.open, folder / "lib"), settings) as served:
        yield served


def by(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def film(folder: Path, number: int) -> Path:
    return clips.film(folder / f"sent{number}.mp4", [COLOURS[number % 4], COLOURS[number // 4 % 4]])


def sends(served: Served, key: str, file: Path | bytes) -> httpx.Response:
    data = file if isinstance(file, bytes) else file.read_bytes()
    return served.client.post("/v1/media", files={"file": ("a.mp4", data)}, headers=by(key))


def set_to(served: Served, made: dict[str, str], of: str, **limits: float) -> dict[str, Any]:
    answer = served.client.put(f"/v1/quotas/{of}", json=limits, headers=by(made["boss"]))
    assert answer.status_code == 200, answer.text
    strict(wire.Quota, answer.json())
    document: dict[str, Any] = answer.json()
    return document


def own(served: Served, key: str) -> list[dict[str, Any]]:
    answer = served.client.get("/v1/quota", headers=by(key)).json()
    strict(wire.QuotaList, answer)
    found: list[dict[str, Any]] = answer["quotas"]
    return found


def over(served: Served, key: str, job: str) -> None:
    with served.client.stream("GET", f"/v1/jobs/{job}/events", headers=by(key)) as told:
        told.read()


def test_so_many_files_and_no_more(
    kept: Served, made: dict[str, str], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "reelseek.http")
    set_to(kept, made, "key/writer", most_media=2)
    first = sends(kept, made["writer"], film(folder, 0))
    assert [sends(kept, made["writer"], film(folder, number)).status_code for number in (1, 2)] == [202, 507]
    said = problem(sends(kept, made["writer"], film(folder, 3)), 507)
    assert said["detail"] == "this key may keep 2 files here, and has 2: delete some, with their files"
    full = [one.levelname for one in caplog.records if "'status': 507" in one.getMessage()]
    assert set(full) == {"WARNING"}  # it is no error of ours
    (quota,) = own(kept, made["writer"])
    assert (quota["name"], quota["media"], quota["most_media"]) == ("writer", 2, 2)
    assert len(list(Path("lib/uploads/media").rglob("*.mp4"))) == 2
    over(kept, made["writer"], first.json()["job"]["id"])
    (media, *_) = kept.client.get("/v1/media", headers=by(made["writer"])).json()["media"]
    kept.client.delete(f"/v1/media/{media['id']}", params={"file": 1}, headers=by(made["writer"]))
    assert not Path(media["path"]).exists()
    assert sends(kept, made["writer"], film(folder, 3)).status_code == 202


def test_so_many_bytes_and_no_more(kept: Served, made: dict[str, str], folder: Path) -> None:
    one = film(folder, 0)
    size = one.stat().st_size
    set_to(kept, made, "collection/ours", most_bytes=size + 10)
    assert sends(kept, made["tenant"], one).status_code == 202
    assert sends(kept, made["writer"], film(folder, 1)).status_code == 202  # into no collection
    assert problem(sends(kept, made["tenant"], b"x" * 11), 507)["title"] == "the quota is full"
    assert problem(sends(kept, made["tenant"], b"x" * (size + 11)), 413)["title"] == "larger than the quota"
    assert sends(kept, made["tenant"], b"x" * 10).status_code == 202
    assert [(one["kind"], one["bytes"]) for one in own(kept, made["tenant"])] == [
        ("key", size + 10),
        ("collection", size + 10),
    ]


def test_the_same_bytes_count_once(kept: Served, made: dict[str, str], folder: Path) -> None:
    one = film(folder, 0)
    for _ in range(3):
        job = sends(kept, made["writer"], one).json()["job"]["id"]
        over(kept, made["writer"], job)
    assert own(kept, made["writer"])[0]["media"] == 1


def test_what_comes_in_pieces_counts_from_its_beginning(kept: Served, made: dict[str, str], folder: Path) -> None:
    data = film(folder, 0).read_bytes()
    set_to(kept, made, "key/writer", most_bytes=len(data))

    def begin(length: int) -> httpx.Response:
        told = {"upload-length": str(length), "upload-metadata": f"filename {b64encode(b'a.mp4').decode()}"}
        return kept.client.post("/v1/uploads", headers=by(made["writer"]) | told)

    at = begin(len(data)).headers["location"]
    problem(begin(1), 507)
    assert kept.client.delete(at, headers=by(made["writer"])).status_code == 204
    at = begin(len(data)).headers["location"]
    headers = by(made["writer"]) | {"upload-offset": "0", "content-type": "application/offset+octet-stream"}
    answer = kept.client.patch(at, content=data, headers=headers)
    over(kept, made["writer"], answer.headers["reelseek-job"])
    assert own(kept, made["writer"])[0]["bytes"] == len(data)
    problem(begin(1), 507)


def test_what_is_fetched_counts(kept: Served, made: dict[str, str], folder: Path) -> None:
    data = film(folder, 0).read_bytes()
    set_to(kept, made, "key/writer", most_bytes=len(data) + 10)
    with web(files={"/a.mp4": data, "/b.mp4": data + b"x" * 11}) as shelf:
        for path, status in (("/b.mp4", 413), ("/a.mp4", 202), ("/b.mp4", 413)):
            answer = kept.client.post("/v1/media", json={"url": shelf.url + path}, headers=by(made["writer"]))
            assert answer.status_code == status, answer.text
        set_to(kept, made, "key/writer", most_bytes=len(data))
        shelf.asked.clear()
        problem(kept.client.post("/v1/media", json={"url": f"{shelf.url}/a"}, headers=by(made["writer"])), 507)
        assert shelf.asked == []


def test_of_two_that_are_fetched_at_once_and_have_no_room_one_leaves_nothing(
    kept: Served, made: dict[str, str], folder: Path
) -> None:
    set_to(kept, made, "key/writer", most_media=1)
    both = Barrier(2)

    def fetches(number: int) -> int:
        data = film(folder, number).read_bytes()

        def waits(line: socket.socket) -> None:
            both.wait(30)  # until both were told that there is room
            line.sendall(data)

        with saying(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data), waits) as url:
            body = {"url": f"{url}/{number}.mp4"}
            return kept.client.post("/v1/media", json=body, headers=by(made["writer"])).status_code

    with ThreadPoolExecutor(2) as crew:
        assert sorted(crew.map(fetches, range(2))) == [202, 507]
    assert own(kept, made["writer"])[0]["media"] == len(list(Path("lib/uploads").rglob("*.mp4"))) == 1


def test_so_many_seconds_a_day(kept: Served, made: dict[str, str], folder: Path) -> None:
    set_to(kept, made, "key/writer", most_s_a_day=1.0)
    over(kept, made["writer"], sends(kept, made["writer"], film(folder, 0)).json()["job"]["id"])
    while own(kept, made["writer"])[0]["s_today"] < 3.9:
        pass
    answer = sends(kept, made["writer"], film(folder, 1))
    assert problem(answer, 429)["title"] == "enough for today"
    assert 86_000 < int(answer.headers["retry-after"]) <= 86_400
    (media,) = kept.client.get("/v1/media", headers=by(made["writer"])).json()["media"]
    kept.client.delete(f"/v1/media/{media['id']}", params={"file": 1}, headers=by(made["writer"]))
    problem(sends(kept, made["writer"], film(folder, 1)), 429)  # it came today all the same


def test_what_nobody_kept_does_not_count(kept: Served, made: dict[str, str], folder: Path) -> None:
    set_to(kept, made, "key/writer", most_media=1)
    problem(sends(kept, made["writer"], b""), 422)
    problem(kept.client.post("/v1/media", files={"file": ("a.csv", b"x")}, headers=by(made["writer"])), 415)
    assert own(kept, made["writer"])[0]["media"] == 0
    assert sends(kept, made["writer"], film(folder, 0)).status_code == 202


def test_what_somebody_threw_away_counts_no_more(kept: Served, made: dict[str, str], folder: Path) -> None:
    set_to(kept, made, "key/writer", most_media=1)
    for number in (0, 1):
        over(kept, made["writer"], sends(kept, made["writer"], film(folder, number)).json()["job"]["id"])
        assert own(kept, made["writer"])[0]["media"] == 1
        for file in Path("lib/uploads/media").rglob("*.mp4"):
            file.unlink()
    listed = kept.client.get("/v1/quotas", headers=by(made["boss"])).json()["quotas"]
    assert [one["media"] for one in listed] == [0]


def test_a_file_that_was_left_when_its_media_went_is_thrown_away_later(
    kept: Served, made: dict[str, str], folder: Path
) -> None:
    set_to(kept, made, "key/tenant", most_media=1)
    over(kept, made["tenant"], sends(kept, made["tenant"], film(folder, 0)).json()["job"]["id"])
    (media,) = kept.client.get("/v1/media", headers=by(made["tenant"])).json()["media"]
    at, file = f"/v1/media/{media['id']}", Path(media["path"])

    def delete(key: str, **params: int) -> httpx.Response:
        return kept.client.delete(at, params=params, headers=by(made[key]))

    assert delete("tenant").status_code == 200
    assert file.is_file()
    problem(sends(kept, made["tenant"], film(folder, 1)), 507)  # it lies there still
    problem(delete("tenant"), 404)
    answer = delete("tenant", file=1)
    strict(wire.Deleted, answer.json())
    assert answer.json()["deleted"] == [{"id": media["id"], "path": str(file)}]
    assert not file.parent.exists()
    problem(delete("tenant", file=1), 404)
    assert sends(kept, made["tenant"], film(folder, 1)).status_code == 202


def test_nobody_throws_away_what_another_collection_left(kept: Served, made: dict[str, str], folder: Path) -> None:
    over(kept, made["writer"], sends(kept, made["writer"], film(folder, 0)).json()["job"]["id"])
    (media,) = kept.client.get("/v1/media", headers=by(made["writer"])).json()["media"]
    at = f"/v1/media/{media['id']}"
    assert kept.client.delete(at, headers=by(made["writer"])).status_code == 200
    problem(kept.client.delete(at, params={"file": 1}, headers=by(made["tenant"])), 404)
    assert Path(media["path"]).is_file()


@pytest.mark.parametrize("how", ["queued", "running", "command"])
def test_what_was_sent_for_a_job_goes_when_that_is_cancelled(
    kept: Served, made: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    endless_jobs(monkeypatch)
    first = sends(kept, made["boss"], film(folder, 1)).json()["job"]["id"]  # one after the other
    set_to(kept, made, "key/writer", most_media=1)
    job = sends(kept, made["writer"], film(folder, 0)).json()["job"]["id"]
    data = film(folder, 0).read_bytes()
    (file,) = (path for path in Path("lib/uploads/media").rglob("*.mp4") if path.read_bytes() == data)
    if how == "running":
        kept.client.post(f"/v1/jobs/{first}/cancel", headers=by(made["boss"]))
        until(lambda: kept.client.get(f"/v1/jobs/{job}", headers=by(made["writer"])).json()["state"] == "running")
    if how == "command":
        assert main(["jobs", "cancel", job]) == 0
    else:
        assert kept.client.post(f"/v1/jobs/{job}/cancel", headers=by(made["writer"])).status_code == 200
    until(lambda: own(kept, made["writer"])[0]["media"] == 0)
    assert not file.parent.exists()
    assert sends(kept, made["writer"], film(folder, 0)).status_code == 202


def test_what_another_job_wants_does_not_go_with_the_first(
    kept: Served, made: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        endless_jobs(patch)
        jobs = []
        for title in ("one", "two"):  # what is said differs, so these are two jobs over the same file
            sent = {"file": ("a.mp4", film(folder, 0).read_bytes())}
            answer = kept.client.post("/v1/media", files=sent, data={"title": title}, headers=by(made["writer"]))
            jobs.append(answer.json()["job"]["id"])
        kept.client.post(f"/v1/jobs/{jobs[0]}/cancel", headers=by(made["writer"]))
    over(kept, made["writer"], jobs[1])
    (media,) = kept.client.get("/v1/media", headers=by(made["writer"])).json()["media"]
    assert Path(media["path"]).is_file()
    endless_jobs(monkeypatch)
    again = sends(kept, made["writer"], film(folder, 0)).json()["job"]["id"]  # of what the library has by now
    assert kept.client.post(f"/v1/jobs/{again}/cancel", headers=by(made["writer"])).status_code == 200
    over(kept, made["writer"], again)
    assert kept.client.get(f"/v1/media/{media['id']}/stream", headers=by(made["writer"])).status_code == 200
    assert own(kept, made["writer"])[0]["media"] == 1


def test_what_lies_elsewhere_by_now_counts_there(
    folder: Path, made: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`media relocate` of what was sent: it counts as before, and can be thrown away as before."""
    old, new = folder / "sent", folder / "moved"
    with serving(partial(Library.open, folder / "lib"), Settings(uploads=str(old))) as before:
        set_to(before, made, "key/writer", most_media=1)
        over(before, made["writer"], sends(before, made["writer"], film(folder, 0)).json()["job"]["id"])
    old.rename(new)
    assert main(["media", "relocate", str(old), str(new)]) == 0
    monkeypatch.setattr(quotas, "ON_ITS_WAY_S", -1.0)
    with serving(partial(Library.open, folder / "lib"), Settings(uploads=str(new))) as served:
        problem(sends(served, made["writer"], film(folder, 1)), 507)
        (media,) = served.client.get("/v1/media", headers=by(made["writer"])).json()["media"]
        served.client.delete(f"/v1/media/{media['id']}", params={"file": 1}, headers=by(made["writer"]))
        assert own(served, made["writer"])[0]["media"] == 0
        assert sends(served, made["writer"], film(folder, 1)).status_code == 202


def test_two_servers_count_together(kept: Served, made: dict[str, str], folder: Path) -> None:
    set_to(kept, made, "key/writer", most_media=3)
    films = [film(folder, number) for number in range(8)]
    with serving(partial(Library.open, folder / "lib")) as second, ThreadPoolExecutor(8) as crew:
        sent = crew.map(
            lambda pair: sends(pair[0], made["writer"], pair[1]), zip([kept, second] * 4, films, strict=True)
        )
        assert sorted(one.status_code for one in sent) == [202] * 3 + [507] * 5
        assert own(second, made["writer"]) == own(kept, made["writer"])
    assert own(kept, made["writer"])[0]["media"] == 3


def test_a_command_counts_what_is_there(
    kept: Served, made: dict[str, str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the server does, wherever that keeps what it is sent."""
    set_to(kept, made, "key/writer", most_media=5)
    for number in (0, 1):
        over(kept, made["writer"], sends(kept, made["writer"], film(folder, number)).json()["job"]["id"])
    next(Path("lib/uploads/media").rglob("*.mp4")).unlink()
    capsys.readouterr()
    assert main(["keys", "quota", "writer", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["media"] == 1
    next(Path("lib/uploads/media").rglob("*.mp4")).unlink()
    assert main(["keys", "list"]) == 0
    assert "0 B, 0 of 5 files" in capsys.readouterr().out


@pytest.fixture(params=["as if", pytest.param("indeed", marks=pytest.mark.slow)])
def common(folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A library that several machines have in common; what they share is quicker in a folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "here"))
    monkeypatch.setattr(quotas, "ON_ITS_WAY_S", -1.0)
    if request.param == "as if":
        monkeypatch.setattr(LocalStore, "far", True, raising=False)
        yield Settings(library=str(folder / "lib"), uploads=str(folder / "sent"))
        return
    server: Postgres = request.getfixturevalue("postgres")
    with qdrants.serving() as vectors:
        yield Settings(library=f"{vectors.url}/clips", store_catalog=server.place, uploads=str(folder / "sent"))
    server.clear()


# FastAPI silences it for a moment, in which whoever opens Qdrant in another thread may restore what is told.
@pytest.mark.filterwarnings("ignore::pydantic.warnings.UnsupportedFieldAttributeWarning")
def test_what_lies_on_another_machine_has_not_gone(
    common: Settings, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two that keep what they are sent in folders of one name, which are not one."""
    opened = partial(Library.open, common.library, store_catalog=common.store_catalog)
    place, (first, second) = Path(common.uploads), (folder / "of-first", folder / "of-second")
    words = ["--library", common.library, "--uploads", common.uploads]
    words += ["--store-catalog", common.store_catalog] if common.store_catalog else []
    with opened() as library:
        writer = keys.make(library.store, "writer", "write", "", 0.0)[1]
        boss = keys.make(library.store, "boss", "admin", "", 0.0)[1]
    made = {"writer": writer, "boss": boss}

    def counted(served: Served) -> int:
        (one,) = served.client.get("/v1/quotas", headers=by(boss)).json()["quotas"]
        assert own(served, writer) == [one]
        return int(one["media"])

    with serving(opened, common) as served:
        set_to(served, made, "key/writer", most_media=2)
        over(served, writer, sends(served, writer, film(folder, 0)).json()["job"]["id"])
        (media,) = served.client.get("/v1/media", headers=by(writer)).json()["media"]
    place.rename(first)
    assert main(["keys", "quota", "writer", *words]) == 0  # where nothing was ever sent
    assert ", 1 of 2 files" in capsys.readouterr().out
    with serving(opened, common) as served:
        assert counted(served) == 1
        over(served, writer, sends(served, writer, film(folder, 1)).json()["job"]["id"])
        problem(sends(served, writer, film(folder, 2)), 507)
        assert counted(served) == 2
        assert served.client.delete(f"/v1/media/{media['id']}", headers=by(writer)).status_code == 200
        problem(served.client.delete(f"/v1/media/{media['id']}?file=1", headers=by(writer)), 404)
        assert counted(served) == 2
        for file in (place / "media").rglob("*.mp4"):  # its own
            file.unlink()
        assert counted(served) == 1
    place.rename(second)
    first.rename(place)
    with serving(opened, common) as served:
        gone = served.client.delete(f"/v1/media/{media['id']}?file=1", headers=by(writer)).json()["deleted"]
        assert [one["path"] for one in gone] == [media["path"]]
        assert counted(served) == 0


def test_quotas_are_shown_to_whom_they_concern(kept: Served, made: dict[str, str]) -> None:
    changed = set_to(kept, made, "key/tenant", most_bytes=1_000, most_s_a_day=2.5)
    set_to(kept, made, "collection/ours", most_media=7)
    assert (changed["most_bytes"], changed["most_media"], changed["most_s_a_day"]) == (1_000, 0, 2.5)
    assert [one["kind"] for one in own(kept, made["tenant"])] == ["key", "collection"]
    listed = kept.client.get("/v1/quotas", headers=by(made["boss"])).json()
    strict(wire.QuotaList, listed)
    assert {one["name"] for one in listed["quotas"]} == {"tenant", "ours"}
    set_to(kept, made, "collection/ours")
    assert [one["name"] for one in kept.client.get("/v1/quotas", headers=by(made["boss"])).json()["quotas"]] == [
        "tenant"
    ]
    for method, path in (("GET", "/v1/quotas"), ("PUT", "/v1/quotas/key/tenant")):
        problem(kept.client.request(method, path, json={}, headers=by(made["writer"])), 403)
    for path, body in (
        ("planet/x", {}),
        ("key/tenant", {"most_bytes": -1}),
        ("key/tenant", {"most_bytes": "9"}),
        ("key/tenant", {"bytes": 1}),
    ):
        problem(kept.client.put(f"/v1/quotas/{path}", json=body, headers=by(made["boss"])), 422)
    nobody = kept.client.put("/v1/quotas/key/nobody", json={}, headers=by(made["boss"]))
    assert problem(nobody, 404)["detail"] == "there is no key of the name or id 'nobody'"


def test_quotas_at_the_command_line(folder: Path, made: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "quota", "writer", "--most-stored", "5GB", "--most-files", "1000"]) == 0
    assert capsys.readouterr().out == "writer: 0 B of 5.0 GB, 0 of 1,000 files, 0 s today\n"
    assert main(["keys", "quota", "writer", "--seconds-a-day", "3600", "--most-files", "0"]) == 0
    assert capsys.readouterr().out == "writer: 0 B of 5.0 GB, 0 files, 0 of 3,600 s today\n"
    assert main(["keys", "quota", "--collection", "ours", "--most-files", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["most_media"] == 2
    assert main(["keys", "list"]) == 0
    told = capsys.readouterr().out
    assert "key writer: 0 B of 5.0 GB" in told
    assert "collection ours: 0 B, 0 of 2 files" in told
    for words, complaint in (
        ([], "name one of the two"),
        (["writer", "--collection", "x"], "name one of the two"),
        (["nobody"], "there is no key 'nobody'"),
        (["writer", "--most-stored", "much"], "--most-stored is 'much'; it wants a size"),
        (["writer", "--most-files", "-1"], "--most-files is '-1'; it wants a number, 0 or more"),
        (["writer", "--seconds-a-day", "nan"], "--seconds-a-day is 'nan'"),
    ):
        assert main(["keys", "quota", *words]) == 2
        assert complaint in capsys.readouterr().err
    assert main(["keys", "revoke", "writer"]) == 0
    with Library.open("lib") as library:
        assert [quota.name for quota, _ in library.store.catalog.quotas.all()] == ["ours"]
        library.store.catalog.quotas.set(Quota(Whose.COLLECTION, "ours"))
        assert library.store.catalog.quotas.all() == []
